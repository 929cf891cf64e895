"""Finding models, and downloading them from a Hub: here a small server with its habits."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trm_sdk.errors import (
    CheckpointError,
    InvalidInputError,
    ModelNotFoundError,
    TRMError,
)
from trm_sdk.info import describe
from trm_sdk.persistence import hub
from trm_sdk.persistence.cache import cache_folder
from trm_sdk.persistence.download import download_model
from trm_sdk.persistence.folder import MODEL_FILES
from trm_sdk.persistence.hub import list_pretrained, resolve
from trm_sdk.solver import Solver

COMMITS = {"main": "a" * 40, "v2/beta": "b" * 40}


class Hub:
    """What the server holds and how it misbehaves."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commits = dict(COMMITS)
        self.requests: list[tuple[str, str | None]] = []
        self.token: str | None = None
        self.damage: dict[str, bytes] = {}  # sent instead of what the listing says
        self.cut_short = 0  # so many file requests end half-way
        self.redirect_to = ""
        self.status = 0
        self.raw = b""  # sent instead of any answer
        self.lock = threading.Lock()

    def siblings(self) -> list[dict[str, Any]]:
        listed = []
        for name, data in self.files.items():
            item: dict[str, Any] = {"rfilename": name, "size": len(data)}
            if name.endswith((".onnx", ".safetensors")):
                item["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            else:
                item["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            listed.append(item)
        return listed


def handler(store: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path, token = self.path, self.headers.get("Authorization")
            with store.lock:
                store.requests.append((path, token))
            if store.raw:
                self.wfile.write(store.raw)
                return None
            if store.status:
                return self.answer(store.status)
            if store.token and not path.startswith("/cdn") and token != f"Bearer {store.token}":
                return self.answer(401)
            if path.startswith("/api/models/me/small/revision/"):
                name = path.split("/revision/")[1].split("?")[0].replace("%2F", "/")
                commit = store.commits.get(name, name if name in store.commits.values() else None)
                if commit is None:
                    return self.answer(404)
                body = json.dumps({"sha": commit, "siblings": store.siblings()})
                return self.answer(200, body.encode())
            name = path.rsplit("/", 1)[-1]
            if path.startswith("/me/small/resolve/") and store.redirect_to:
                return self.answer(302, Location=f"{store.redirect_to}/cdn/{name}")
            if name not in store.files or ("small/resolve" not in path and "/cdn/" not in path):
                return self.answer(404)
            body = store.damage.get(name, store.files[name])
            with store.lock:
                cut = store.cut_short > 0
                store.cut_short -= cut
            if not cut:
                return self.answer(200, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            return None

    return Handler


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server without anything to serve yet; set its `RequestHandlerClass`."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
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
    held = Hub(files | {"evil.py": b"raise SystemExit", "../../escape": b"x"})
    server.RequestHandlerClass = handler(held)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("TRM_SDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return held


def cached() -> set[str]:
    """Every file in the cache, whole or half."""
    root = cache_folder()
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_model_is_downloaded_once_and_solves(store: Hub) -> None:
    solver = Solver.from_pretrained("me/small", threads=1)
    assert solver.solve("1.34341..14343.1").verified
    asked = len(store.requests)
    assert asked == 5  # the listing and the model's four files, nothing else of the repository
    home = "hub/me--small"
    files = {f"{home}/{'a' * 40}/{name}" for name in MODEL_FILES}
    assert cached() == files | {f"{home}/refs/main"}
    assert resolve("me/small") == cache_folder() / home / ("a" * 40)
    assert resolve("me/small@main") == resolve("me/small@" + "a" * 40)
    assert len(store.requests) == asked
    assert all(token is None for _, token in store.requests)


def test_revisions_are_told_apart_and_refreshed(store: Hub) -> None:
    assert resolve("me/small@v2/beta").name == "b" * 40
    assert resolve("me/small").name == "a" * 40
    store.commits["main"] = "c" * 40
    assert resolve("me/small").name == "a" * 40
    assert download_model("me/small", refresh=True).name == "c" * 40
    assert resolve("me/small").name == "c" * 40
    with pytest.raises(ModelNotFoundError, match="has no me/small@v3"):
        resolve("me/small@v3")


def test_the_token_goes_to_the_hub_and_no_further(
    store: Hub, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.token = "secret"
    with pytest.raises(ModelNotFoundError, match="set HF_TOKEN"):
        resolve("me/small")
    monkeypatch.setenv("HF_TOKEN", "secret")
    # The same server by another name: what a redirect to a storage server is.
    store.redirect_to = f"http://localhost:{server.server_address[1]}"
    store.requests.clear()
    assert resolve("me/small").is_dir()
    for path, token in store.requests:
        assert token == (None if path.startswith("/cdn") else "Bearer secret")
    assert sum(path.startswith("/cdn") for path, _ in store.requests) == 4


def test_a_broken_off_download_is_tried_again_and_never_left_half(store: Hub) -> None:
    store.cut_short = 2
    assert Solver.from_pretrained("me/small", threads=1).spec.domain == "sudoku-4x4"
    before = cached()
    store.cut_short = 100
    with pytest.raises(ModelNotFoundError, match=r"config\.json broke off: \d+ of \d+ bytes"):
        resolve("me/small@v2/beta")
    assert cached() == before


@pytest.mark.parametrize("name", ["config.json", "model.onnx"])
def test_a_damaged_download_is_refused_and_not_kept(store: Hub, name: str) -> None:
    store.damage[name] = bytes(len(store.files[name]))
    with pytest.raises(CheckpointError, match=f"{name} is damaged: its checksum is not"):
        resolve("me/small")
    store.damage[name] = b"short"
    with pytest.raises(CheckpointError, match=f"{name} is damaged: expected .* bytes, got 5"):
        resolve("me/small")
    assert cached() == set()
    store.damage.clear()
    assert resolve("me/small").is_dir()


def test_several_processes_may_download_at_once(store: Hub) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(resolve("me/small"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache_folder() / "hub/me--small" / ("a" * 40)] * 6
    assert len(cached()) == 5


def test_a_cache_that_lost_a_file_is_filled_again(store: Hub) -> None:
    folder = resolve("me/small")
    (folder / "config.json").unlink()
    assert (resolve("me/small") / "config.json").is_file()


def test_offline_means_offline(store: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE forbids"):
        resolve("me/small")
    assert not store.requests
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    folder = resolve("me/small")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve("me/small") == folder


def test_what_can_not_be_had_is_said_plainly(store: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    store.token = "x"
    with pytest.raises(ModelNotFoundError, match=r"has no me/other@main \(or it is private"):
        resolve("me/other")
    store.token = None
    store.status = 503
    with pytest.raises(ModelNotFoundError, match="HTTP 503"):
        resolve("me/small")
    store.status = 0
    del store.files["model.onnx"], store.files["model.safetensors"]
    with pytest.raises(ModelNotFoundError, match="holds no model of this SDK"):
        resolve("me/small")
    store.commits["main"] = "../../etc"
    store.files["model.onnx"] = b""
    with pytest.raises(ModelNotFoundError, match="names no commit"):
        resolve("me/small")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match="can't be reached"):
        resolve("me/small")
    for address in ("file:///etc", "http://[bad", "http://a b", "http://", "http://host:x"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(InvalidInputError, match="HF_ENDPOINT must be"):
            resolve("me/small")


_OK = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (b"not HTTP at all\r\n\r\n", "can't be reached: not HTTP"),
        (_OK % 1000 + b"{", "broke off|can be read"),
        (_OK % 200_000 + b"[" * 200_000, "no listing .* can be read"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "broke off|can be read"),
    ],
)
def test_a_server_that_speaks_otherwise_is_named(store: Hub, answer: bytes, named: str) -> None:
    store.raw = answer
    with pytest.raises(ModelNotFoundError, match=named):
        resolve("me/small")


def test_settings_that_can_not_be_used_are_named(
    store: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "sec\nret")
    with pytest.raises(InvalidInputError, match="HF_TOKEN must be one word") as caught:
        resolve("me/small")
    assert "ret" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRM_SDK_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(InvalidInputError, match=r"the cache .* can't be used: .*TRM_SDK_CACHE"):
        resolve("me/small")
    monkeypatch.setenv("TRM_SDK_CACHE", "~nosuchuser/x")
    with pytest.raises(InvalidInputError, match="TRM_SDK_CACHE can't be '~nosuchuser/x'"):
        resolve("me/small")


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


@pytest.mark.parametrize(
    ("name", "error", "named"),
    [
        ("", InvalidInputError, "got ''"),
        (None, InvalidInputError, "got NoneType"),
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
