"""The Python examples do what they say."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from programs import EXAMPLES, PUZZLES, run_example

from trm_sdk import AsyncSolver, Solver
from trm_sdk.domains.text import line_of


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_batch_solves_a_file(model: Path, solver: Solver, tmp_path: Path) -> None:
    source, target = tmp_path / "puzzles.csv", tmp_path / "answers.csv"
    source.write_text("id,puzzle\n" + "".join(f"{i},{p}\n" for i, p in enumerate(PUZZLES)))
    result = run_example("batch.py", source, target, "--model", model)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(PUZZLES)} of {len(PUZZLES)} solved\n"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["puzzle"] for row in rows] == list(PUZZLES)
    assert [row["answer"] for row in rows] == [line_of(solver.solve(p).grid) for p in PUZZLES]
    assert {row["verified"] for row in rows} == {"True"}


def test_batch_goes_on_after_a_bad_line(model: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "puzzles.txt", tmp_path / "answers.csv"
    source.write_text(f"{PUZZLES[0]}\n55{PUZZLES[0][2:]}\n{PUZZLES[1]}\n")
    result = run_example("batch.py", source, target, "--model", model)
    assert result.returncode == 1
    assert result.stdout == "2 of 3 solved\n"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "contradicting givens: 5" in rows[1]["error"]
    assert rows[2]["verified"] == "True"


def test_batch_names_what_is_missing(tmp_path: Path) -> None:
    result = run_example("batch.py", "nowhere.csv", tmp_path / "out.csv", "--model", "sudokku")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: no model named 'sudokku'")


def test_batch_does_not_write_over_what_it_reads(tmp_path: Path) -> None:
    source = tmp_path / "puzzles.txt"
    source.write_text(PUZZLES[0])
    result = run_example("batch.py", source, source)
    assert result.returncode == 2
    assert result.stderr == f"Error: {source} is the file that is read from\n"
    assert source.read_text() == PUZZLES[0]


async def ask(
    port: int, method: str, path: str, body: bytes = b"", length: int | None = None
) -> tuple[int, dict[str, Any]]:
    """One request over a socket of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + body)
    reply = await reader.read()
    writer.close()
    status, _, content = reply.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(content)


def puzzle_body(puzzle: object, **options: object) -> bytes:
    return json.dumps({"puzzle": puzzle, "options": options}).encode()


def test_service_answers_many_at_once(solver: Solver) -> None:
    service = load("service")

    async def talk() -> list[tuple[int, dict[str, Any]]]:
        async with AsyncSolver(solver) as shared, await service.serve(shared, 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await ask(port, "GET", "/health") == (200, {"domain": "sudoku", "status": "ok"})
            requests = [ask(port, "POST", "/solve", puzzle_body(p)) for p in PUZZLES * 4]
            return await asyncio.gather(*requests)

    replies = asyncio.run(talk())
    expected = [solver.solve(puzzle).grid.tolist() for puzzle in PUZZLES * 4]
    assert [status for status, _ in replies] == [200] * len(replies)
    assert [reply["answer"] for _, reply in replies] == expected
    assert all(reply["verified"] for _, reply in replies)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/solve", b"{", 400, "the body is no JSON"),
        ("POST", "/solve", b"[]", 400, 'an object with a "puzzle"'),
        ("POST", "/solve", b"[" * 100_000, 400, "the body is no JSON"),
        ("POST", "/solve", puzzle_body("[" * 100_000), 422, "JSON list"),
        ("POST", "/solve", puzzle_body("1" * 5000 + " 2" * 80), 422, "got '111"),
        ("POST", "/solve", puzzle_body("123"), 422, "81"),
        ("POST", "/solve", puzzle_body("55" + "." * 79), 422, "contradicting givens: 5"),
        ("POST", "/solve", puzzle_body(PUZZLES[0], max_stepps=3), 422, "'max_steps'"),
        ("GET", "/solve", b"", 405, "/solve does not take GET"),
        ("GET", "/solv", b"", 404, "there is no /solv"),
    ],
)
def test_service_says_what_was_wrong(
    solver: Solver, method: str, path: str, body: bytes, status: int, message: str
) -> None:
    service = load("service")

    async def talk() -> tuple[int, dict[str, Any]]:
        async with AsyncSolver(solver) as shared, await service.serve(shared, 0) as server:
            return await ask(server.sockets[0].getsockname()[1], method, path, body)

    got, reply = asyncio.run(talk())
    assert got == status
    assert message in reply["error"]


@pytest.mark.parametrize(("length", "status"), [(1_000_001, 413), (-1, 413)])
def test_service_refuses_a_body_that_is_too_large(solver: Solver, length: int, status: int) -> None:
    service = load("service")

    async def talk() -> tuple[int, dict[str, Any]]:
        async with AsyncSolver(solver) as shared, await service.serve(shared, 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await ask(port, "POST", "/solve", length=length)  # announced, and never sent

    got, reply = asyncio.run(talk())
    assert (got, reply) == (status, {"error": "at most 1000000 bytes"})
