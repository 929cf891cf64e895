"""Finding models, and downloading them from a Hub: here a small server with its habits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

import trm_sdk
from trm_sdk.errors import (
    CheckpointError,
    InvalidInputError,
    MissingDependencyError,
    ModelNotFoundError,
    TRMError,
)
from trm_sdk.info import describe
from trm_sdk.persistence import hub
from trm_sdk.persistence.cache import cache_folder
from trm_sdk.persistence.folder import MODEL_FILES
from trm_sdk.persistence.hub import list_pretrained, resolve
from trm_sdk.persistence.hub_client import push_to_hub
from trm_sdk.solver import Solver

COMMITS = {"main": "a" * 40, "v2/beta": "b" * 40}
NEW = "https://huggingface.co/me/new"
PUZZLE = "1.34341..14343.1"


class Hub:
    """What the server holds and how it misbehaves."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commits = dict(COMMITS)
        self.requests: list[tuple[str, str, str | None]] = []
        self.posts: list[tuple[str, bytes]] = []
        self.token: str | None = None
        self.damage: dict[str, bytes] = {}  # sent instead of what the headers say
        self.cut_short = 0  # so many downloads end half-way
        self.redirect_to = ""
        self.refuse: dict[str, list[int]] = {"HEAD": [], "GET": []}  # answers, one a request
        self.always = 0  # or this one, to all
        self.stall = 0.0  # seconds before an answer
        self.answers_with = ""  # another commit than was asked for
        self.size: str | None = None  # stated instead of the true one
        self.digest: str | None = None
        self.lock = threading.Lock()

    def digest_of(self, name: str) -> str:
        data = self.files[name]
        if self.digest is not None:
            return self.digest
        if name.endswith((".onnx", ".safetensors")):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def handler(store: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content_Length": str(len(body)), **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path, token = self.path.split("?")[0], self.headers.get("Authorization")
            with store.lock:
                store.requests.append((self.command, path, token))
                refusals = store.refuse[self.command]
                status = refusals.pop(0) if refusals else store.always
            threading.Event().wait(store.stall)
            if status:
                return self.answer(status, **{"Retry-After": "0"})
            if path.startswith("/cdn/"):
                return self.send_file(path.removeprefix("/cdn/"))
            if store.token and token != f"Bearer {store.token}":
                return self.answer(401, X_Error_Code="RepoNotFound")
            start = "/me/small/resolve/"
            if not path.startswith(start):
                return self.answer(404, X_Error_Code="RepoNotFound")
            revision, _, name = path.removeprefix(start).partition("/")
            revision = revision.replace("%2F", "/")
            commits = store.commits
            commit = commits.get(revision, revision if revision in commits.values() else None)
            if commit is None:
                return self.answer(404, X_Error_Code="RevisionNotFound")
            if name not in store.files:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            size = store.size or str(len(store.files[name]))
            facts = {
                "X_Repo_Commit": store.answers_with or commit,
                "X_Linked_Etag": f'"{store.digest_of(name)}"',
                "X_Linked_Size": size,
            }
            if store.redirect_to:
                return self.answer(302, Location=f"{store.redirect_to}/cdn/{name}", **facts)
            if self.command == "HEAD":
                return self.answer(200, Content_Length=size, **facts)
            return self.send_file(name)

        def send_file(self, name: str) -> None:
            body = store.damage.get(name, store.files[name])
            with store.lock:
                cut = store.cut_short > 0 and self.command == "GET"
                store.cut_short -= cut
            if not cut:
                return self.answer(200, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return None

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with store.lock:
                store.posts.append((self.path, body))
            if self.headers.get("Authorization") != "Bearer secret":
                return self.answer(401)
            if self.path == "/api/repos/create":
                reply: dict[str, Any] = {"url": NEW}
            elif self.path.startswith("/api/models/me/new/preupload/"):
                files = json.loads(body)["files"]
                modes = {"uploadMode": "regular", "shouldIgnore": False}
                reply = {"files": [{"path": file["path"], **modes} for file in files]}
            else:
                reply = {
                    "commitUrl": f"{NEW}/commit/1",
                    "commitOid": "1" * 40,
                    "success": True,
                }
            return self.answer(
                200, json.dumps(reply).encode(), **{"Content-Type": "application/json"}
            )

    return Handler


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server without anything to serve yet; set its `RequestHandlerClass`."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    httpd.daemon_threads = True
    httpd.block_on_close = False
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def store(
    server: ThreadingHTTPServer,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Hub:
    """A Hub that holds the small model as me/small, and an empty cache."""
    files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    held = Hub(files | {"evil.py": b"raise SystemExit"})
    server.RequestHandlerClass = handler(held)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("TRM_SDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Its pauses between two tries.
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    return held


def cached() -> set[str]:
    """Every file of a model in the cache."""
    return {path.name for path in cache_folder().rglob("snapshots/**/*") if path.is_file()}


def test_a_model_is_downloaded_once_and_solves(store: Hub) -> None:
    solver = Solver.from_pretrained("me/small", threads=1)
    assert solver.solve(PUZZLE).verified
    assert cached() == set(MODEL_FILES)  # nothing else of the repository
    folder = resolve("me/small")
    assert folder.name == "a" * 40
    downloads = [path for method, path, _ in store.requests if method == "GET"]
    assert len(downloads) == 4
    store.requests.clear()
    assert resolve("me/small@main") == folder
    assert [method for method, _, _ in store.requests] == ["HEAD"]  # where the branch stands
    store.requests.clear()
    assert resolve("me/small@" + "a" * 40) == resolve("me/small", revision="a" * 40) == folder
    assert store.requests == []


def test_a_branch_that_moves_is_followed(store: Hub) -> None:
    assert resolve("me/small@v2/beta").name == "b" * 40
    assert resolve("me/small", revision="v2/beta").name == "b" * 40
    assert resolve("me/small").name == "a" * 40
    store.commits["main"] = "c" * 40
    assert resolve("me/small").name == "c" * 40
    assert resolve("me/small", local_files_only=True).name == "c" * 40
    with pytest.raises(ModelNotFoundError, match="has no me/small@v3"):
        resolve("me/small@v3")
    with pytest.raises(InvalidInputError, match="two revisions are named"):
        resolve("me/small@v3", revision="v2")


def test_a_pinned_commit_is_the_one_that_comes(store: Hub) -> None:
    store.answers_with = "d" * 40
    with pytest.raises(CheckpointError, match="answers with the commit 'dddd"):
        resolve("me/small@" + "a" * 40)
    store.answers_with = "../../etc"
    with pytest.raises(ModelNotFoundError, match="names no commit"):
        resolve("me/small")
    assert cached() == set()


def test_a_model_may_lie_in_a_folder(store: Hub) -> None:
    store.files = {f"onnx/small/{name}": data for name, data in store.files.items()}
    with pytest.raises(ModelNotFoundError, match="subfolder= names another folder"):
        resolve("me/small")
    folder = resolve("me/small", subfolder="onnx/small")
    assert folder.parts[-3:] == ("a" * 40, "onnx", "small")
    assert Solver.from_pretrained("me/small", subfolder="onnx/small").solve(PUZZLE).verified
    assert resolve("me/small", subfolder="onnx/small", local_files_only=True) == folder


def test_the_cache_may_be_named(store: Hub, tmp_path: Path) -> None:
    folder = resolve("me/small", cache_dir=tmp_path / "mine")
    assert folder.is_relative_to(tmp_path / "mine")
    assert cached() == set()
    with pytest.raises(InvalidInputError, match="cache_dir must be a path; got 5"):
        resolve("me/small", cache_dir=5)  # type: ignore[arg-type]


def test_a_download_may_be_forced(store: Hub) -> None:
    folder = resolve("me/small")
    (folder / "README.md").resolve().write_bytes(b"edited")
    assert (resolve("me/small") / "README.md").read_bytes() == b"edited"
    assert (resolve("me/small", force_download=True) / "README.md").read_bytes() == b"# small\n"


def test_the_token_goes_to_the_hub_and_no_further(
    store: Hub, server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.token = "secret"
    with pytest.raises(ModelNotFoundError, match="private: set HF_TOKEN or call `hf auth login`"):
        resolve("me/small")
    # The same server by another name: what a redirect to a storage server is.
    store.redirect_to = f"http://localhost:{server.server_address[1]}"
    store.requests.clear()
    assert resolve("me/small", token="secret").is_dir()
    for _, path, token in store.requests:
        assert token == (None if path.startswith("/cdn") else "Bearer secret")
    assert sum(path.startswith("/cdn") for _, path, _ in store.requests) == 4
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")  # of `hf auth login`
    assert resolve("me/small").is_dir()
    (tmp_path / "token").unlink()
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert resolve("me/small").is_dir()


def test_a_broken_off_download_is_tried_again_and_never_left_half(store: Hub) -> None:
    store.cut_short = 2
    assert Solver.from_pretrained("me/small", threads=1).spec.domain == "sudoku-4x4"
    store.cut_short = 1000
    with pytest.raises(ModelNotFoundError, match=r"me/small@v2/beta can't be downloaded"):
        resolve("me/small@v2/beta", force_download=True)
    store.cut_short = 0
    assert resolve("me/small@v2/beta").is_dir()


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_server_that_is_overloaded_is_asked_again(store: Hub, method: str, status: int) -> None:
    store.refuse[method] = [status, status]
    assert resolve("me/small").is_dir()


def test_a_server_that_stays_overloaded_is_named(store: Hub) -> None:
    folder = resolve("me/small")
    store.always = 503
    assert resolve("me/small") == folder  # what is there does
    with pytest.raises(ModelNotFoundError, match=r"v2/beta can't be downloaded .*: HTTP 503"):
        resolve("me/small@v2/beta")


def test_a_server_that_stalls_is_given_up(store: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, 0.2)
    store.stall = 1.0
    with pytest.raises(ModelNotFoundError, match="me/small@main can't be downloaded"):
        resolve("me/small")


@pytest.mark.parametrize("name", ["config.json", "model.onnx"])
def test_a_damaged_download_is_refused_and_not_kept(store: Hub, name: str) -> None:
    store.damage[name] = bytes(len(store.files[name]))
    with pytest.raises(CheckpointError, match=f"{name} is damaged: its checksum is not"):
        resolve("me/small")
    assert name not in cached()
    store.damage.clear()
    assert Solver.from_pretrained("me/small", threads=1).solve(PUZZLE).verified


@pytest.mark.parametrize("more", [1, 1 << 20])
def test_a_file_longer_than_announced_is_refused(store: Hub, more: int) -> None:
    store.damage["config.json"] = store.files["config.json"] + bytes(more)
    with pytest.raises(TRMError, match=r"more than the .* bytes it announced|should be of size"):
        resolve("me/small")
    assert cached() == set()


def test_a_server_that_lies_about_sizes_and_checksums_is_named(store: Hub) -> None:
    store.size = str(2**40)
    with pytest.raises(CheckpointError, match="is too large: 1099511627776 bytes"):
        resolve("me/small")
    store.size, store.digest = None, "W/weak"
    with pytest.raises(CheckpointError, match="states no checksum of me/small@main/config"):
        resolve("me/small")
    assert cached() == set()


def test_several_threads_may_download_at_once(store: Hub) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(resolve("me/small"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert Solver.from_pretrained("me/small", threads=1).solve(PUZZLE).verified


def test_a_cache_that_lost_a_file_is_filled_again(store: Hub) -> None:
    folder = resolve("me/small")
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match="is not in the cache, and downloading"):
        resolve("me/small", local_files_only=True)
    assert (resolve("me/small") / "config.json").is_file()


def test_offline_means_offline(store: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match="and downloading is switched off"):
        resolve("me/small")
    assert not store.requests
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    folder = resolve("me/small")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store.requests.clear()
    assert resolve("me/small") == folder
    assert not store.requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert resolve("me/small") == folder


def test_what_can_not_be_had_is_said_plainly(store: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelNotFoundError, match=r"has no me/other@main \(or it is private"):
        resolve("me/other")
    del store.files["model.onnx"], store.files["model.safetensors"]
    with pytest.raises(ModelNotFoundError, match="holds no model of this SDK"):
        resolve("me/small")
    monkeypatch.setenv("HF_ENDPOINT", "http://user:password@127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match=r"from http://127\.0\.0\.1:9: ") as caught:
        resolve("me/small")
    assert "password" not in str(caught.value)
    for address in ("file:///etc", "http://[bad", "http://a b", "http://", "http://host:x"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(InvalidInputError, match="HF_ENDPOINT must be"):
            resolve("me/small")


@pytest.mark.parametrize(
    "name",
    ["me/..", "me/a--b", "a--b/c", "me/.hidden", "me/x@..", "me/x@.", "me/x@a/../b", "me/x@/a"],
)
def test_a_name_that_leads_elsewhere_is_refused(store: Hub, name: str, tmp_path: Path) -> None:
    with pytest.raises(TRMError):
        resolve(name)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    with pytest.raises(InvalidInputError, match="subfolder must be"):
        resolve("me/small", subfolder="../other")


def test_settings_that_can_not_be_used_are_named(
    store: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRM_SDK_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(InvalidInputError, match=r"the cache .* can't be used: .*TRM_SDK_CACHE"):
        resolve("me/small")
    monkeypatch.setenv("TRM_SDK_CACHE", "~nosuchuser/x")
    with pytest.raises(InvalidInputError, match="TRM_SDK_CACHE can't be '~nosuchuser/x'"):
        resolve("me/small")


def test_the_usual_variables_apply(store: Hub, tmp_path: Path) -> None:
    """HF_HOME holds the cache and the token of ``hf auth login``; nothing else is written."""
    store.token = "secret"
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text("secret", encoding="utf-8")
    code = f"from trm_sdk import Solver; Solver.from_pretrained('me/small').solve({PUZZLE!r})"
    root = str(Path(trm_sdk.__file__).parents[1])
    environment = {**os.environ, "HF_HOME": str(home), "HOME": str(tmp_path), "PYTHONPATH": root}
    del environment["TRM_SDK_CACHE"]
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(list(home.glob("hub/models--me--small/snapshots/*/model.onnx"))) == 1


@pytest.mark.parametrize("call", [resolve, lambda name: push_to_hub(name, name)])
def test_without_huggingface_hub_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trm-sdk\[hub\]'"):
        call("me/small")


def test_a_bundled_model_needs_no_huggingface_hub() -> None:
    code = (
        "import sys; sys.modules['huggingface_hub'] = None; from trm_sdk import Solver; "
        f"assert Solver.from_pretrained('sudoku-4x4').solve({PUZZLE!r}).verified"
    )
    root = str(Path(trm_sdk.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=True)


@pytest.mark.parametrize("from_solver", [False, True])
def test_a_model_is_uploaded(
    store: Hub, model_folder: Path, tmp_path: Path, from_solver: bool
) -> None:
    with pytest.raises(InvalidInputError, match="is not a model folder"):
        push_to_hub(tmp_path, "me/new")
    with pytest.raises(InvalidInputError, match=r"refused 'me/new': HTTP 401"):
        push_to_hub(model_folder, "me/new", token="wrong")
    store.posts.clear()
    given = Solver.from_pretrained(model_folder, "onnx") if from_solver else model_folder
    address = push_to_hub(given, "me/new", token="secret", message="First")
    assert address == f"{NEW}/commit/1"
    path, commit = store.posts[-1]
    assert path.startswith("/api/models/me/new/commit/main")
    entries = [json.loads(line) for line in commit.splitlines()]
    assert entries[0]["value"]["summary"] == "First"
    assert {entry["value"]["path"] for entry in entries[1:]} == set(MODEL_FILES)


# --- names and folders ----------------------------------------------------------------------


def test_a_bundled_name_comes_before_a_path(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "bundled"
    (bundled / "nothing").mkdir(parents=True)
    (bundled / "small").symlink_to(model_folder)
    monkeypatch.setattr(hub, "BUNDLED", bundled)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert list_pretrained() == ["small"]
    assert resolve("small") == bundled / "small"
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        resolve(Path("small"))
    with pytest.raises(ModelNotFoundError, match=r"did you mean 'small'\?.*bundled: small"):
        resolve("smal")


class BytesPath(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"x"


@pytest.mark.parametrize(
    ("name", "error", "named"),
    [
        ("", InvalidInputError, "got ''"),
        (None, InvalidInputError, "got NoneType"),
        (BytesPath(), InvalidInputError, "got b'x'"),
        ("~nosuchuser/x", InvalidInputError, "can't be '~nosuchuser/x'"),
        ("a" * 300, ModelNotFoundError, r"no model named 'aaa.*\.\.\. "),
        ("é/é", ModelNotFoundError, "no model named 'é/é'"),
    ],
)
def test_what_is_no_name_is_refused(name: Any, error: type[TRMError], named: str) -> None:
    with pytest.raises(error, match=named):
        resolve(name)


def test_the_cache_has_a_place_on_every_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRM_SDK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    monkeypatch.setenv("HOME", "/home/me")
    for platform, expected in (
        ("linux", "/x/trm_sdk"),
        ("darwin", "/home/me/Library/Caches/trm_sdk"),
        ("win32", "/local/trm_sdk"),
    ):
        monkeypatch.setattr("sys.platform", platform)
        assert cache_folder() == Path(expected)
    monkeypatch.setenv("TRM_SDK_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_a_model_is_described(model_folder: Path) -> None:
    facts = describe(model_folder)
    assert facts["domain"] == "sudoku-4x4"
    assert facts["graph"].startswith("step, ")
    assert len(facts["weights_sha256"]) == 64
    assert set(facts["files"]) == set(MODEL_FILES)
    for name in ("model.onnx", "model.safetensors"):
        assert describe(model_folder / name)["mixer"] == "structured"
    assert issubclass(ModelNotFoundError, TRMError)
