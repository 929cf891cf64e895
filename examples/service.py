"""A JSON service over HTTP with the standard library alone: many requests, one shared batch.

    python examples/service.py [--port 8080] [--model sudoku]
    curl localhost:8080/solve -d '{"puzzle": "53..7....6..195....98....6.8...6...34..."}'

`POST /solve` takes {"puzzle": text or array, "options": {"attempts": 8, ...}} and answers with the
solution; a puzzle that can't be taken on is a 422 that says why. `GET /health` says what runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from http import HTTPStatus
from typing import Any

from trm_sdk import AsyncSolver, Solution, SolveOptions, TRMError

LARGEST_BODY = 1_000_000
#: A caller may ask for less time than this, not for more.
LONGEST_SOLVE = 10.0
Reply = tuple[HTTPStatus, dict[str, Any]]


class RefusedError(Exception):
    """A request that is answered with an error of HTTP."""


async def solve(solver: AsyncSolver, body: bytes) -> Reply:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    if not isinstance(request, dict) or "puzzle" not in request:
        raise RefusedError(HTTPStatus.BAD_REQUEST, 'the body must be an object with a "puzzle"')
    given = request.get("options", {})
    if not isinstance(given, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, '"options" must be an object')
    try:
        options = SolveOptions(**{"seconds": LONGEST_SOLVE, **given})
        if options.seconds is None or options.seconds > LONGEST_SOLVE:
            options = options.model_copy(update={"seconds": LONGEST_SOLVE})
        return HTTPStatus.OK, as_json(await solver.solve(request["puzzle"], options))
    except TRMError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def as_json(solution: Solution) -> dict[str, Any]:
    return {
        "answer": solution.grid.tolist(),
        "verified": solution.verified,
        "confidence": solution.confidence,
        "steps": solution.steps,
        "attempts": solution.attempts,
        "seconds": solution.seconds,
        "stopped_by": solution.stopped_by,
    }


async def answer(solver: AsyncSolver, method: str, path: str, body: bytes) -> Reply:
    if path == "/health" and method == "GET":
        return HTTPStatus.OK, {"domain": solver.solver.domain.name, "status": "ok"}
    if path == "/solve" and method == "POST":
        return await solve(solver, body)
    if path in ("/health", "/solve"):
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} does not take {method}")
    raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no {path}; there are /solve and /health")


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    try:
        method, path, _ = head[0].split()
        headers = dict(line.lower().split(":", 1) for line in head[1:] if line)
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1") from None
    if not 0 <= length <= LARGEST_BODY:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST_BODY} bytes")
    return method, path.partition("?")[0], await reader.readexactly(length)


async def serve(solver: AsyncSolver, port: int) -> asyncio.Server:
    """Start listening on the local machine; port 0 takes a free one."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                request = await asyncio.wait_for(read_request(reader), timeout=30)
                status, reply = await answer(solver, *request)
            except RefusedError as refused:
                status, message = refused.args
                reply = {"error": message}
            text = json.dumps(reply).encode()
            writer.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(text)}\r\nconnection: close\r\n\r\n".encode()
                + text
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the caller went away, or never made a request
        finally:
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", port)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--model", default="sudoku", help="Name or path.")
    arguments = parser.parse_args()
    async with AsyncSolver.from_pretrained(arguments.model, batch_size=32) as solver:
        server = await serve(solver, arguments.port)
        port = server.sockets[0].getsockname()[1]
        print(f"listening on http://127.0.0.1:{port}", flush=True)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
    except TRMError as error:
        raise SystemExit(f"Error: {error}") from None
