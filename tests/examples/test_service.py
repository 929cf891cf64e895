"""The FastAPI service answers, limits, measures, and says what was wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from programs import EXAMPLES, PUZZLES, ROOT, UNSOLVABLE, load_example, run

from trm_sdk import SolveOptions, Solver

pytest.importorskip("fastapi", reason="needs the service extra")
pytest.importorskip("uvicorn", reason="needs the service extra")
pytest.importorskip("prometheus_client", reason="needs the service extra")
pytest.importorskip("httpx2", reason="needs the hub extra")

SERVICE = EXAMPLES / "service"


@pytest.fixture(scope="module")
def app() -> ModuleType:
    return load_example("service/app.py")


@pytest.fixture
def client(app: ModuleType, model: Path) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    settings = app.Settings(model=str(model), threads=1, max_body=10_000, max_seconds=5)
    with TestClient(app.create_app(settings)) as client:
        yield client


@pytest.fixture
def switch_interval() -> Iterator[float]:
    """Python's own, whatever other tests have set."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-3)
    yield 5e-3
    sys.setswitchinterval(before)


def test_many_at_once_are_answered_as_the_solver_does(client: Any, solver: Solver) -> None:
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda p: client.post("/solve", json={"puzzle": p}), PUZZLES * 4))
    assert {reply.status_code for reply in replies} == {200}
    for reply, puzzle in zip(replies, PUZZLES * 4, strict=True):
        expected = solver.solve(puzzle)
        facts = reply.json()
        assert facts["grid"] == expected.grid.tolist()
        assert facts["answer"] == solver.domain.to_line(expected.grid)
        assert (facts["verified"], facts["stopped_by"]) == (True, "verified")


def test_the_event_loop_gives_up_the_interpreter_sooner_than_by_default(
    app: ModuleType, model: Path, switch_interval: float
) -> None:
    from fastapi.testclient import TestClient

    with TestClient(app.create_app(app.Settings(model=str(model), threads=1))):
        assert sys.getswitchinterval() == pytest.approx(1e-4)
        assert sys.getswitchinterval() < switch_interval / 10


def test_a_puzzle_without_solution_is_said_to_have_none(app: ModuleType, client: Any) -> None:
    reply = client.post("/solve", json={"puzzle": UNSOLVABLE})
    assert reply.status_code == 200
    facts = app.SolutionReply.model_validate_json(reply.content, strict=True)
    assert (facts.stopped_by, facts.verified, facts.attempts) == ("refuted", False, 1)


def test_replies_are_what_the_interface_promises(app: ModuleType, client: Any) -> None:
    for options in ({}, {"max_steps": 1, "attempts": 1}, {"seconds": 1e-9}):
        reply = client.post("/solve", json={"puzzle": PUZZLES[0], "options": options})
        assert reply.headers["content-type"] == "application/json"
        app.SolutionReply.model_validate_json(reply.content, strict=True)
    schema = client.get("/openapi.json").json()
    promised = schema["paths"]["/solve"]["post"]["responses"]["200"]["content"]
    assert promised["application/json"]["schema"] == {"$ref": "#/components/schemas/SolutionReply"}


def test_rows_of_numbers_are_puzzles_too(client: Any, solver: Solver) -> None:
    rows = solver.parse(PUZZLES[0]).grid.tolist()
    reply = client.post("/solve", json={"puzzle": rows, "options": {"max_steps": 8}})
    assert reply.json()["verified"] is True


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 422, "JSON decode error"),
        (b"[]", 422, "body: Input should be"),
        (b"[" * 9_000, 400, "parsing the body"),
        (b'{"puzzle": {}}', 422, "body.puzzle"),
        (b'{"puzzle": "123"}', 422, "expected 81 cells"),
        (b'{"puzzle": "55' + b"." * 79 + b'"}', 422, "contradicting givens: 5"),
        (b'{"puzzle": [[' + b"9" * 5_000 + b"]]}", 400, "parsing the body"),
        (b'{"puzzle": "1", "options": {"max_stepps": 3}}', 422, "max_stepps"),
        (b'{"puzzle": "1", "options": {"max_steps": 1e9}}', 422, "less than or equal to 1000"),
        (b'{"puzzle": "1", "options": {"seconds": 0}}', 422, "greater than 0"),
        (b" " * 10_001, 413, "a body has at most 10000 bytes"),
    ],
)
def test_what_was_wrong_is_one_sentence(
    client: Any, body: bytes, status: int, message: str
) -> None:
    json_body = {"content-type": "application/json"}
    reply = client.post("/solve", content=body, headers=json_body)
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert message in reply.json()["error"]


def test_a_body_of_unknown_length_is_limited_too(client: Any) -> None:
    parts = iter([b'{"puzzle": "', *[b"." * 1000] * 20, b'"}'])
    reply = client.post("/solve", content=parts, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()) == (413, {"error": "a body has at most 10000 bytes"})


def test_other_paths_and_methods_are_answered_in_the_same_form(client: Any) -> None:
    assert client.get("/solve").status_code == 405
    reply = client.get("/solv")
    assert (reply.status_code, reply.json()) == (404, {"error": "Not Found"})


def test_a_caller_may_ask_for_less_than_the_limits_and_not_for_more(app: ModuleType) -> None:
    settings, defaults = app.Settings(max_seconds=5, max_attempts=8), SolveOptions(attempts=4)

    def bounded(**asked: Any) -> SolveOptions:
        return app.bounded(app.Options(**asked), settings, defaults)

    assert bounded(seconds=100, attempts=100).seconds == 5
    assert bounded(seconds=100, attempts=100).attempts == 8
    assert (bounded(seconds=0.5).seconds, bounded(attempts=2).attempts) == (0.5, 2)
    assert bounded().seconds == 5
    assert bounded().model_fields_set == {"seconds"}


def test_the_models_own_attempts_are_limited_too(app: ModuleType) -> None:
    settings, defaults = app.Settings(max_attempts=8), SolveOptions(attempts=256)
    assert app.bounded(app.Options(), settings, defaults).attempts == 8
    assert app.bounded(app.Options(attempts=3), settings, defaults).attempts == 3
    own = Solver.from_pretrained("sudoku", threads=1).options  # left as they are by default
    assert app.bounded(app.Options(), app.Settings(), own).model_fields_set == {"seconds"}


def test_a_body_sent_as_a_form_is_told_the_content_type(client: Any) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}  # what curl -d says
    reply = client.post("/solve", content=b'{"puzzle": "12"}', headers=form)
    assert reply.status_code == 422
    assert "send it with content-type: application/json" in reply.json()["error"]
    reply = client.post("/solve", json=[1])
    assert "content-type" not in reply.json()["error"]


def test_more_requests_than_allowed_are_told_to_come_again(app: ModuleType, model: Path) -> None:
    from fastapi.testclient import TestClient

    settings = app.Settings(model=str(model), threads=1, max_waiting=1, max_seconds=30)
    # Noise alone gets nowhere with it, so that it takes all of its second.
    hardest = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."
    endless = {"seconds": 1, "attempts": 1000, "max_steps": 1000, "explore": "noise"}
    slow = {"puzzle": hardest, "options": endless}
    with TestClient(app.create_app(settings)) as client, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: client.post("/solve", json=slow), range(4)))
    assert sorted({reply.status_code for reply in replies}) == [200, 503]
    refused = next(reply for reply in replies if reply.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.json() == {"error": "too many requests are waiting"}


def test_health_and_metrics_say_what_happens(client: Any, model: Path) -> None:
    health = client.get("/health").json()
    assert health == {"status": "ok", "model": str(model), "domain": "sudoku", "waiting": 0}
    for puzzle in (*PUZZLES, "123"):
        client.post("/solve", json={"puzzle": puzzle})
    text = client.get("/metrics").text
    assert 'trm_replies_total{status="200"} 3.0' in text
    assert 'trm_replies_total{status="422"} 1.0' in text
    assert 'trm_solved_total{stopped_by="verified"} 3.0' in text
    assert "trm_seconds_count 4.0" in text
    assert "trm_in_flight 0.0" in text


def test_the_interface_is_documented(client: Any) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/solve", "/health"}
    assert set(schema["paths"]["/solve"]["post"]["responses"]) == {"200", "413", "422", "503"}


def test_settings_come_from_the_environment(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRM_MODEL", "sudoku-4x4")
    monkeypatch.setenv("TRM_MAX_WAITING", "7")
    settings = app.Settings.from_environment()
    assert (settings.model, settings.max_waiting, settings.threads) == ("sudoku-4x4", 7, None)


def test_under_uvicorn_it_serves_many_connections() -> None:
    pytest.importorskip("numba", reason="the load test generates its puzzles")
    result = run(
        sys.executable, SERVICE / "load_test.py", "--puzzles", "40", "--connections", "8",
        "--rounds", "1", "--easy", env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.search(r"\| 8 \| \d+/s \| \d+/s \| \d+% .* 40 of 40 \|", result.stdout)


def test_the_image_and_the_unit_start_this_service() -> None:
    dockerfile = (SERVICE / "Dockerfile").read_text("utf-8")
    unit = (SERVICE / "trm.service").read_text("utf-8")
    for text in (dockerfile, unit):
        assert "uvicorn" in text
        assert "app:app" in text
    # What is copied exists, and PyTorch is not in the image.
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source
    assert "USER " in dockerfile
    assert "HEALTHCHECK" in dockerfile
    assert "torch" not in re.sub(r"#.*", "", dockerfile)
    analyze = "/usr/bin/systemd-analyze"
    if os.access(analyze, os.X_OK):
        done = subprocess.run(
            [analyze, "verify", "--man=no", str(SERVICE / "trm.service")],
            capture_output=True, text=True,
        )  # fmt: skip
        assert "Unknown" not in done.stderr, done.stderr
