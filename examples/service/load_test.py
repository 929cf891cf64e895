"""Load the service on this machine, and compare with the Solver's own throughput.

    python examples/service/load_test.py [--puzzles 1000] [--connections 64] [--rounds 3]

Starts the service on a free port of the loopback interface, sends it generated puzzles over so many
connections, each of which asks again as soon as it has its answer, and solves the same puzzles with
`Solver.solve_many` in between. Prints the round with the median ratio, and the processor time that
a puzzle takes of the Solver alone, of the service, and of the client, which is this process. The
model has as many threads in the service as alone; what else the service does may use another core.
Needs the extras `service` and, for the generator of Sudoku, `train`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from trm_sdk import Solver

HERE = Path(__file__).parent


@contextmanager
def service(model: str, threads: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Run the service, and give its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"MODEL": model, "THREADS": threads, "BATCH_SIZE": batch_size, "MAX_SECONDS": 3600}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "app:app"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"],
        env=os.environ | {f"TRM_{name}": str(value) for name, value in settings.items()},
    )
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except (URLError, OSError):
                if process.poll() is not None:
                    raise SystemExit("the service did not start") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: int) -> float:
    """Return the processor's time that a process has had so far; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, puzzles: list[str], connections: int) -> tuple[float, list[float], int]:
    """Return puzzles a second, the seconds that each took, and how many were verified."""
    left, seconds, verified = iter(puzzles), [], 0

    async def connection() -> None:
        nonlocal verified
        # By hand: a client library would take the processor's time from the service.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for puzzle in left:
            body = json.dumps({"puzzle": puzzle}).encode()
            head = (
                "POST /solve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            started = time.perf_counter()
            writer.write(head.encode() + body)
            status = await reader.readline()
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reply = json.loads(await reader.readexactly(length))
            seconds.append(time.perf_counter() - started)
            if b" 200 " not in status:
                raise SystemExit(f"{status.decode().strip()}: {reply}")
            verified += reply["verified"] is True
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    return len(puzzles) / (time.perf_counter() - started), seconds, verified


def alone(solver: Solver, puzzles: list[str], batch_size: int) -> float:
    """Return puzzles a second of the Solver in a loop of its own."""
    started = time.perf_counter()
    for _ in solver.solve_many(puzzles, batch_size=batch_size):
        pass
    return len(puzzles) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sudoku", help="Name or path.")
    parser.add_argument("--puzzles", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="Of the model.")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--easy", action="store_true", help="Puzzles with half of their cells given."
    )
    chosen = parser.parse_args()
    solver = Solver.from_pretrained(chosen.model, threads=chosen.threads)
    rng = np.random.default_rng(0)
    tasks = [solver.domain.generate(rng) for _ in range(chosen.puzzles)]
    puzzles = []
    for task in tasks:
        cells = task.grid.cells.copy()
        if chosen.easy and task.answer is not None:
            open_cells = np.flatnonzero(cells == 0)
            shown = rng.permutation(open_cells)[: max(0, cells.size // 2 - np.count_nonzero(cells))]
            cells.flat[shown] = task.answer.cells.flat[shown]
        puzzles.append("".join(map(str, cells.ravel())))
    own, served, seconds, verified = [], [], [], 0
    own_time = served_time = client_time = 0.0
    with service(chosen.model, chosen.threads, chosen.batch_size) as (port, process):
        asyncio.run(load(port, puzzles[: chosen.connections], chosen.connections))  # warms up
        alone(solver, puzzles[: chosen.connections], chosen.batch_size)
        for _ in range(chosen.rounds):
            own_time -= time.process_time()
            own.append(alone(solver, puzzles, chosen.batch_size))
            own_time += time.process_time()
            served_time -= processor_seconds(process)
            client_time -= time.process_time()
            rate, took, verified = asyncio.run(load(port, puzzles, chosen.connections))
            client_time += time.process_time()
            served_time += processor_seconds(process)
            served.append(rate)
            seconds += took
    rounds = sorted(zip(own, served, strict=True), key=lambda pair: pair[1] / pair[0])
    without, through = rounds[len(rounds) // 2]
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99)) * 1000
    own_ms, served_ms, client_ms = (
        1000 * total / (chosen.rounds * len(puzzles))
        for total in (own_time, served_time, client_time)
    )
    print(
        "| connections | Solver alone | service | ratio | p50 | p95 | p99 | verified "
        "| processor time a puzzle: Solver | service | client |"
    )
    print("| ---: |" + " ---: |" * 10)
    print(
        f"| {chosen.connections} | {without:.0f}/s | {through:.0f}/s "
        f"| {through / without:.0%} | {p50:.0f} ms | {p95:.0f} ms | {p99:.0f} ms "
        f"| {verified} of {len(puzzles)} | {own_ms:.2f} ms | {served_ms:.2f} ms "
        f"| {client_ms:.2f} ms |"
    )


if __name__ == "__main__":
    main()
