"""The page, in a real browser: it solves what Python solves, and can be used by everyone.

One run of `page.mjs` does all that needs a browser; the tests below judge what it saw.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_domains import Latin, Walls
from programs import PACKAGES, PUZZLES, run

from export import web
from export.errors import ExportError
from export.exporter import export_onnx
from export.page_folder import DEFAULT_RUNTIME, RUNTIME_FILES
from export.web import export_web
from trm_sdk import SolveOptions, Solver
from trm_sdk.domains import get_domain, registry
from trm_sdk.domains.text import line_of
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.persistence.spec import ModelSpec


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def site(model: Path, node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The exported folder, served."""
    folder = tmp_path_factory.mktemp("web")
    export_web(model, folder, runtime=PACKAGES / "onnxruntime-web" / "dist")
    address, server = serve(folder)
    yield address
    server.shutdown()
    server.server_close()


def serve(
    folder: Path, handler: type[SimpleHTTPRequestHandler] = _Quiet
) -> tuple[str, ThreadingHTTPServer]:
    """Serve a folder, and return its address."""
    serving = functools.partial(handler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/", server


@pytest.fixture(scope="session")
def other_sites(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Exported folders of other domains, served: the last two with random weights."""
    folder = tmp_path_factory.mktemp("others")
    runtime = PACKAGES / "onnxruntime-web" / "dist"
    sources: dict[str, Path | str] = {"small": "sudoku-4x4", "maze": "maze", "jigsaw": "jigsaw"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_made", {})
        for domain in (Latin(), Walls()):
            patch.setitem(registry._registered, domain.name, type(domain))
            vocabulary = domain.vocabulary
            config = ModelConfig(
                vocab_size=len(vocabulary),
                seq_len=domain.seq_len,
                mixer="structured",
                structure=domain.structure,
                hidden_size=8,
                ffn_size=16,
                L_layers=1,
                H_cycles=1,
                L_cycles=2,
                answer_tokens=vocabulary.answer_tokens,
                given_tokens=vocabulary.given_tokens,
            )
            torch.manual_seed(0)
            spec = ModelSpec.for_domain(domain, config, SolveOptions(max_steps=3))
            short = domain.name.partition("-")[0]
            sources[short] = save_model(folder / domain.name, spec, TRM(config).state_dict())
        for name, source in sources.items():
            export_web(source, folder / name, runtime=runtime)
    served = {name: serve(folder / name) for name in sources}
    yield {name: address for name, (address, _) in served.items()}
    for _, server in served.values():
        server.shutdown()
        server.server_close()


class Seen(dict[str, Any]):
    """What `page.mjs` saw; asking for a scenario that failed in the browser fails the test."""

    def __getitem__(self, scenario: str) -> Any:
        report = super().__getitem__(scenario)
        if isinstance(report, dict) and "failed" in report:
            pytest.fail(f"in the browser: {report['failed']}")
        return report


@pytest.fixture(scope="session")
def browser(node: str) -> str:
    """Chromium, with what drives it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("Chromium is not installed: run examples/setup.sh")
    if not (PACKAGES / "playwright-core").is_dir():
        pytest.skip("no playwright-core: run examples/setup.sh")
    return found


@pytest.fixture(scope="session")
def seen(site: str, node: str, browser: str) -> Seen:
    """What `page.mjs` saw."""
    script = Path(__file__).with_name("page.mjs")
    result = run(node, script, browser, site, json.dumps(PUZZLES), timeout=600)
    assert result.returncode == 0, result.stderr
    return Seen(json.loads(result.stdout))


@pytest.fixture(scope="session")
def others(other_sites: dict[str, str], node: str, browser: str) -> Seen:
    """What `other_pages.mjs` saw."""
    script = Path(__file__).with_name("other_pages.mjs")
    result = run(node, script, browser, json.dumps(other_sites), timeout=300)
    assert result.returncode == 0, result.stderr
    return Seen(json.loads(result.stdout))


# --- solving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(PUZZLES)))
def test_the_page_solves_what_python_solves(seen: Seen, solver: Solver, number: int) -> None:
    visit, solution = seen["solve"][number], solver.solve(PUZZLES[number])
    assert solution.verified
    assert visit["answer"] == line_of(solution.grid)
    assert visit["rules"] == "verified ✓"
    assert visit["steps"] == str(solution.steps)
    assert re.fullmatch(r"[\d.]+ m?s", visit["time"])
    steps = "1 step" if solution.steps == 1 else f"{solution.steps} steps"
    assert visit["status"] == f"Solved in {steps} and {visit['time']}, verified by the rules."


def test_a_puzzle_without_solution_is_said_to_have_none(seen: Seen, solver: Solver) -> None:
    visit, steps = seen["refuted"], solver.options.max_steps
    assert visit["status"] == f"No solution: proven by the rules, after {steps} steps."
    assert (visit["steps"], visit["attempt"], visit["rules"]) == (str(steps), "1", "no solution")
    assert visit["over"]


def test_the_module_solves_several_at_once(seen: Seen, solver: Solver) -> None:
    expected = [line_of(solver.solve(puzzle).grid) for puzzle in PUZZLES]
    assert seen["together"]["answers"] == expected


def test_nothing_is_complained_about(seen: Seen) -> None:
    visits = [
        *seen["solve"],
        seen["refuted"],
        seen["together"],
        seen["think"],
        seen["pause"],
        seen["keyboard"],
        seen["entering"],
    ]
    assert [visit["complaints"] for visit in visits] == [[]] * len(visits)


def test_thinking_shows_every_step(seen: Seen, solver: Solver) -> None:
    visit = seen["think"]
    steps = list(solver.stream(PUZZLES[0]))
    assert visit["before"] == PUZZLES[0]
    assert visit["first"] == visit["replayed"] == line_of(steps[0].grid)
    assert visit["last"] == line_of(steps[-1].grid)
    assert visit["after"] == PUZZLES[0], "reset brings the bare puzzle back"


def test_every_open_cell_shows_how_sure_it_is(seen: Seen, solver: Solver) -> None:
    first = next(iter(solver.stream(PUZZLES[0])))
    expected = [
        p for p, c in zip(first.probabilities.max(-1).flat, PUZZLES[0], strict=True) if c == "."
    ]
    assert seen["think"]["confidences"] == pytest.approx(expected, abs=2e-3)
    labels = seen["think"]["labels"]
    assert labels[0] == "row 1, column 1: 5, given"
    assert re.fullmatch(r"row 1, column 3: \d, \d+ percent sure(, clashes)?", labels[2])


def test_thinking_can_be_paused(seen: Seen) -> None:
    visit = seen["pause"]
    assert visit["speed"] == "1 / s"
    assert visit["thinking"] == ["Thinking …", "Pause"]
    assert re.fullmatch(r"Paused after \d steps?\.", visit["paused"][0])
    assert visit["paused"][1] == "Think"
    assert visit["before"] == visit["after"]


# --- entering a puzzle ------------------------------------------------------------------------


def test_the_keyboard_alone_is_enough(seen: Seen, solver: Solver) -> None:
    visit = seen["keyboard"]
    assert visit["visited"][0] == "row 1, column 1: empty", "the board is the first stop"
    assert visit["ring"] == "3px"
    assert visit["typed"] == PUZZLES[1]
    assert visit["atEnd"].startswith("row 1, column 9")
    assert visit["wrapped"].startswith("row 9, column 9")
    assert visit["step"].startswith(("Paused after 1 step.", "Solved in 1 step"))
    assert visit["answer"] == line_of(solver.solve(PUZZLES[1]).grid)
    assert visit["status"].startswith("Solved in ")
    # From the board on, Tab reaches every control.
    controls = ("play", "reset", "timeline", "speed", "examples", "text", "copy", "clear")
    assert [name for name in controls if name not in visit["visited"]] == []


def test_cells_are_filled_by_keypad_paste_and_example(seen: Seen) -> None:
    visit = seen["entering"]
    assert visit["keypad"] == "." * 40 + "5" + "." * 40
    assert visit["pasted"] == PUZZLES[2]
    assert visit["example"] not in (PUZZLES[2], "." * 81)
    assert visit["cleared"] == "." * 81


def test_what_is_wrong_with_a_puzzle_is_said(seen: Seen) -> None:
    visit = seen["entering"]
    assert "Contradicting givens: 5 appears 2 times in row 5." in visit["clash"]
    assert visit["clashing"] == 2
    assert not visit["playable"]
    assert visit["mended"]
    assert '"x" in place 3 is not a cell' in visit["noPuzzle"]
    assert visit["kept"] == PUZZLES[2], "a bad text leaves the board alone"


def test_what_can_t_be_loaded_is_said(seen: Seen) -> None:
    visits = seen["failing"]
    assert "model.onnx can't be fetched: HTTP 404" in visits["noModel"]["problem"]
    assert "model.onnx" in visits["brokenModel"]["problem"] or (
        "model.json can't be run" in visits["brokenModel"]["problem"]
    )
    assert "onnxruntime-web can't be loaded" in visits["noRuntime"]["problem"]
    assert "model.json can't be fetched: 404" in visits["noDescription"]["problem"]
    assert not any(visit["playable"] for visit in visits.values())


# --- how it looks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["phone", "small", "dark", "desktop", "still"])
def test_nothing_is_wider_than_the_screen(seen: Seen, name: str) -> None:
    layout = seen["layout"][name]
    assert layout["scrolls"] <= layout["width"]
    width, height = layout["board"]
    assert width == pytest.approx(height, abs=1)
    assert layout["complaints"] == []


def test_a_phone_shows_board_and_button_at_once(seen: Seen) -> None:
    phone = seen["layout"]["phone"]
    assert phone["board"][0] >= 0.9 * phone["width"]
    assert phone["play"] <= 844


@pytest.mark.parametrize("name", ["phone", "small", "desktop"])
def test_controls_are_named_and_large_enough_to_touch(seen: Seen, name: str) -> None:
    assert seen["layout"][name]["unnamed"] == []
    assert seen["layout"][name]["lowestButton"] >= 44


def test_who_wants_no_motion_gets_none(seen: Seen) -> None:
    assert seen["layout"]["still"]["animated"] == "none"
    assert seen["layout"]["desktop"]["animated"] == "settle"


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour, as WCAG defines it."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["phone", "dark"])
def test_text_stands_out_from_its_ground(seen: Seen, name: str) -> None:
    for text, ground in seen["layout"][name]["colours"]:
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_dark_is_dark(seen: Seen) -> None:
    assert luminance(seen["layout"]["dark"]["colours"][0][1]) < 0.1
    assert luminance(seen["layout"]["phone"]["colours"][0][1]) > 0.8


# --- the folder -------------------------------------------------------------------------------


def test_the_folder_waits_for_npm_install(model: Path, tmp_path: Path) -> None:
    report = export_web(model, tmp_path / "page")
    assert report.domain == "sudoku"
    assert "npm install" in report.next_steps
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"{DEFAULT_RUNTIME}/ort.wasm.bundle.min.mjs" in page
    assert not (tmp_path / "page" / "ort").exists()
    assert {path.name for path in (tmp_path / "page").iterdir()} == set(report.files)


def test_onnxruntime_may_come_from_a_server(model: Path, tmp_path: Path) -> None:
    address = "https://example.org/onnxruntime-web/dist"
    export_web(model, tmp_path, runtime=f"{address}/")
    page = (tmp_path / "index.html").read_text()
    assert f'"onnxruntime-web": "{address}/ort.wasm.bundle.min.mjs"' in page
    assert DEFAULT_RUNTIME not in page


def _dist(folder: Path) -> Path:
    """Something that looks like onnxruntime-web's files."""
    folder.mkdir()
    for name in RUNTIME_FILES:
        (folder / name).write_bytes(name.encode())
    return folder


def _sha384(data: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(data).digest()).decode()}"


def test_what_a_server_sends_is_pinned_by_a_copy_or_by_hashes(model: Path, tmp_path: Path) -> None:
    address = "https://example.org/onnxruntime-web@1/dist"
    hashes = {name: _sha384(name.encode()) for name in RUNTIME_FILES}
    for number, given in enumerate((_dist(tmp_path / "dist"), hashes)):
        folder = tmp_path / f"page-{number}"
        report = export_web(model, folder, runtime=address, integrity=given)
        assert (report.pinned, report.unpinned) == (True, False)
        page = (folder / "index.html").read_text()
        (script,) = re.findall(r'<script type="importmap">(.*?)</script>', page, re.DOTALL)
        imports = json.loads(script)
        assert imports["imports"]["onnxruntime-web"] == f"{address}/{RUNTIME_FILES[0]}"
        assert imports["integrity"] == {
            f"{address}/{name}": value for name, value in hashes.items() if name.endswith(".mjs")
        }
        link = re.search(r'<link rel="modulepreload"[^>]*>', page)
        assert link is not None
        # An import map must come before what loads modules.
        assert link.start() > page.index('type="importmap"')
        assert 'crossorigin="anonymous"' in link[0]
        assert f'integrity="{hashes[RUNTIME_FILES[0]]}"' in link[0]
        assert f'href="{address}/{RUNTIME_FILES[0]}"' in link[0]
        # The policy allows the script as it now stands.
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page
        described = json.loads((folder / "model.json").read_text())
        assert described["runtime"] == {"integrity": hashes}


def test_hashes_that_are_none_or_too_few_are_refused(model: Path, tmp_path: Path) -> None:
    address = "https://example.org/dist"
    good = {name: _sha384(b"") for name in RUNTIME_FILES}
    first, *others = RUNTIME_FILES
    for integrity, message in (
        ({first: good[first]}, f"integrity lacks {', '.join(others)}"),
        (good | {"ort.js": good[first]}, "integrity names 'ort.js'"),
        (good | {first: "sha384-AAAA"}, f"integrity of {first} must be sha256-"),
        (good | {first: 'sha384-"><script>'}, f"integrity of {first} must be sha256-"),
        (good | {first: "md5-AAAA"}, f"integrity of {first} must be sha256-"),
        (tmp_path, f"it lacks {first}"),
    ):
        with pytest.raises(ExportError, match=re.escape(message)):
            export_web(model, tmp_path / "page", runtime=address, integrity=integrity)
    for runtime in (None, _dist(tmp_path / "dist")):
        with pytest.raises(ExportError, match="integrity is for a runtime that a server sends"):
            export_web(model, tmp_path / "page", runtime=runtime, integrity=good)
    assert not (tmp_path / "page").exists()


def test_the_command_pins_and_says_where_nothing_is_pinned(model: Path, tmp_path: Path) -> None:
    runtime = ("--runtime", "https://example.org/dist")
    command = [sys.executable, "-m", "export.cli", "web", "sudoku", *runtime]
    done = run(*command, "-o", tmp_path / "loose")
    assert done.returncode == 0, done.stderr
    assert "warning: the page runs whatever https://example.org/dist sends" in done.stderr
    assert "integrity" not in (tmp_path / "loose" / "index.html").read_text()
    hashes = [f"--integrity={name}={_sha384(b'')}" for name in RUNTIME_FILES]
    done = run(*command, "-o", tmp_path / "pinned", *hashes)
    assert (done.returncode, done.stderr) == (0, "")
    assert _sha384(b"") in (tmp_path / "pinned" / "index.html").read_text()
    done = run(*command, "-o", tmp_path / "folder", "--integrity", _dist(tmp_path / "dist=1"))
    assert (done.returncode, done.stderr) == (0, "")


class _FromElsewhere(_Quiet):
    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def test_a_browser_runs_what_is_pinned_and_nothing_else(
    model: Path, node: str, browser: str, tmp_path: Path
) -> None:
    dist = PACKAGES / "onnxruntime-web" / "dist"
    address, elsewhere = serve(dist, _FromElsewhere)
    true = {name: _sha384((dist / name).read_bytes()) for name in RUNTIME_FILES}
    given = {
        "pinned": true,
        "other-module": true | {RUNTIME_FILES[0]: _sha384(b"another")},
        "other-wasm": true | {RUNTIME_FILES[1]: _sha384(b"another")},
    }
    sites, servers = {}, [elsewhere]
    try:
        for name, integrity in given.items():
            export_web(model, tmp_path / name, runtime=address, integrity=integrity)
            sites[name], server = serve(tmp_path / name)
            servers.append(server)
        script = Path(__file__).with_name("pinned_pages.mjs")
        result = run(node, script, browser, json.dumps(sites), timeout=600)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["pinned"] == {"ready": True, "problem": ""}
    for name in ("other-module", "other-wasm"):
        assert seen[name]["ready"] is False
        assert "onnxruntime-web can't be loaded" in seen[name]["problem"]


def test_the_command_says_what_it_wrote_and_what_is_next(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    done = run(sys.executable, "-m", "export.cli", "web", "sudoku", "-o", page)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    size = (model / "model.onnx").stat().st_size
    assert f"{page / 'model.onnx'}: {size:,} bytes" in lines
    assert lines[-1] == f"Open it: cd {page} && npm install && python3 -m http.server 8000"
    done = run(sys.executable, "-m", "export.cli", "web", "sudokku", "-o", tmp_path / "other")
    assert done.returncode == 2
    assert "no model named 'sudokku'; did you mean 'sudoku'?" in done.stderr


def test_a_folder_that_is_no_runtime_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / RUNTIME_FILES[0]).touch()
    with pytest.raises(ExportError, match=re.escape(f"it lacks {RUNTIME_FILES[1]}")):
        export_web(model, tmp_path / "page", runtime=tmp_path)
    assert not (tmp_path / "page").exists()


def test_only_step_graphs_are_taken(model: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    export_onnx(model, loop, "loop")
    with pytest.raises(ExportError, match="mode 'loop'"):
        export_web(loop, tmp_path / "page")


def test_a_folder_may_be_written_again(model: Path, tmp_path: Path) -> None:
    first = export_web(model, tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    again = export_web(tmp_path / "model.onnx", tmp_path)
    assert again == first
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_an_unknown_domain_gets_a_page_by_what_its_model_says(node: str, tmp_path: Path) -> None:
    """Where its package is not installed: symbols are by position, and there are no rules."""
    config = ModelConfig(
        vocab_size=4, seq_len=16, hidden_size=16, L_cycles=1, H_cycles=1, answer_tokens=(2, 3)
    )
    spec = ModelSpec(
        domain="lights", vocabulary=("pad", "empty", "off", "on"), grid_shape=(4, 4), model=config
    )
    weights = save_model(tmp_path / "model", spec, TRM(config).state_dict())
    report = export_web(weights, tmp_path / "web")
    assert "python3 -m http.server" in report.next_steps
    described = json.loads((tmp_path / "web" / "model.json").read_text())
    assert "domain" not in described
    assert described["examples"] == []
    answer = run(
        node, Path(__file__).with_name("trm.mjs"), "steps", tmp_path / "web/model.json", "." * 16
    )
    assert answer.returncode == 0, answer.stderr
    steps = json.loads(answer.stdout)["steps"]
    assert len(steps) == config.halt_max_steps
    assert {step["verified"] for step in steps} == {None}


def test_examples_come_from_the_domain(model: Path, tmp_path: Path) -> None:
    export_web(model, tmp_path / "nine")
    shown = json.loads((tmp_path / "nine" / "model.json").read_text())["examples"]
    assert [tuple(one) for one in shown] == list(get_domain("sudoku").showcase)
    assert len(shown) == 5
    for _, line in shown:
        get_domain("sudoku").parse(line)


def test_a_domain_may_bring_rules_for_javascript(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the domain's own: the exported folder has it, and the solver asks it."""
    package = tmp_path / "parity"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from trm_sdk.domains.base import Domain\n"
        "from trm_sdk.domains.vocabulary import Token, Vocabulary\n"
        "class Parity(Domain):\n"
        "    name, shape = 'parity-2x2', (2, 2)\n"
        "    vocabulary = Vocabulary((Token('open', '.', ('blank',)),\n"
        "        Token('even', 'e', ('given', 'answer')),\n"
        "        Token('odd', 'o', ('given', 'answer'))))\n"
        "    def verify(self, task, answer, index=0):\n"
        "        return True\n"
    )
    (package / "web.js").write_text(
        "export const verify = (puzzle, answer, domain) => answer.length === domain.cells;\n"
        "export const decode = (values) => values.map(() => 2);\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    domain = importlib.import_module("parity").Parity
    monkeypatch.setitem(registry._registered, "parity-2x2", domain)
    monkeypatch.setattr(registry, "_made", {})
    config = ModelConfig(vocab_size=3, seq_len=4, hidden_size=16, L_cycles=1, H_cycles=1)
    spec = ModelSpec.for_domain(domain(), config)
    weights = save_model(tmp_path / "model", spec, TRM(config).state_dict())
    report = export_web(weights, tmp_path / "web")
    assert report.files["domain.js"] == (package / "web.js").stat().st_size
    answer = run(
        node, Path(__file__).with_name("trm.mjs"), "steps", tmp_path / "web/model.json", "...e"
    )
    assert answer.returncode == 0, answer.stderr
    (step,) = json.loads(answer.stdout)["steps"]
    assert (step["text"], step["verified"]) == ("oooo", True)
    # Rules from elsewhere are not loaded.
    described = json.loads((tmp_path / "web" / "model.json").read_text())
    described["rules"] = "../parity/web.js"
    (tmp_path / "web" / "model.json").write_text(json.dumps(described))
    answer = run(node, Path(__file__).with_name("trm.mjs"), "load", tmp_path / "web/model.json")
    assert "names rules that are not a file beside it" in json.loads(answer.stdout)["message"]


def test_the_policy_allows_the_page_s_own_scripts_alone(model: Path, tmp_path: Path) -> None:
    export_web(model, tmp_path, runtime="https://example.org/onnxruntime-web/dist")
    page = (tmp_path / "index.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe-inline" not in policy[1]
    assert rules["connect-src"] == "'self' https://example.org"
    scripts = re.findall(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert len(hashes) == 2
    assert all(f"'sha256-{one}'" in rules["script-src"] for one in hashes)


# --- other domains ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "latin", "walls", "jigsaw"])
def test_other_domains_have_a_page(others: Seen, name: str) -> None:
    visit = others[name]
    assert visit["complaints"] == []
    assert visit["ready"].startswith("Ready: ")
    assert re.match(r"(Solved|Not solved|Answered) in ", visit["status"])
    assert visit["scrolls"] <= visit["width"]


def test_keys_and_fills_are_the_domain_s(others: Seen) -> None:
    assert others["small"]["keys"] == ["1", "2", "3", "4", "Empty the cell"]
    assert others["latin"]["keys"] == ["red", "gold", "blue", "teal", "Empty the cell"]
    assert others["walls"]["keys"] == ["wall", "Empty the cell"]
    fills = others["latin"]["fills"]
    assert fills.count("#d04a3a") >= 1
    assert others["small"]["fills"] == ["transparent"] * 16
    assert others["latin"]["edges"] == 0
    assert others["small"]["edges"] == 7, "cells along the lines between boxes, but not the frame"


def test_the_regions_of_a_jigsaw_are_drawn_and_obeyed(others: Seen) -> None:
    domain = get_domain("jigsaw")
    task = domain.parse(domain.showcase[0][1])
    regions = task.metadata["regions"].cells
    edged = np.zeros((9, 9), bool)
    edged[:, :-1] |= regions[:, 1:] != regions[:, :-1]
    edged[:-1] |= regions[1:] != regions[:-1]
    visit = others["jigsaw"]
    assert visit["edges"] == edged.sum()
    assert visit["status"].endswith("verified by the rules.")


def test_groups_that_a_page_can_t_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "DOMAIN_RULES", "not-there.js")
    with pytest.raises(ExportError, match=r"it has no not-there.js with `ownGroups`"):
        export_web("jigsaw", tmp_path)


def test_the_page_takes_boards_of_any_size(others: Seen) -> None:
    assert others["walls"]["size"] == ["2", "5"]
    assert others["walls"]["cells"] == 10
    assert "there are no rules here to check it by" in others["walls"]["status"]


def test_mazes_are_drawn_by_mouse_finger_and_keys(others: Seen) -> None:
    drawn = others["drawn"]
    assert drawn["complaints"] == []
    assert drawn["wall"].splitlines() == ["S    ", "#### ", "     ", "     ", "    G"]
    assert drawn["again"].splitlines()[1] == "## # "
    assert drawn["finger"].splitlines()[3] == "###  "
    assert drawn["carried"].splitlines()[:2] == ["     ", "##S# "], "what it passed over is back"
    assert drawn["blocked"].splitlines()[2:] == ["#    ", "###  ", "   #G"]
    assert drawn["keyed"].splitlines()[0] == "    G"
    assert drawn["keyed"].count("G") == 1, "an end stands once"
    assert drawn["scrolled"] == 0, "a finger on the board draws, and scrolls nothing"
    assert drawn["status"].startswith("Solved in ")


def test_a_bad_address_opens_the_first_example(others: Seen) -> None:
    assert others["badHash"]["complaints"] == []
    assert others["badHash"]["ready"].startswith("Ready: ")
