"""AsyncSolver: concurrent requests, cancellation, errors, and closing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from search_doubles import Counting

from trm_sdk.aio import AsyncSolver
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.text import line_of
from trm_sdk.errors import ConfigError, InvalidInputError, TRMError
from trm_sdk.options import SolveOptions
from trm_sdk.solution import Failure, Solution
from trm_sdk.solver import Solver
from trm_sdk.task import Task

Puzzles = tuple[list[str], list[str]]
STEPS = SolveOptions(max_steps=16)
#: Far more steps than any test has time for.
ENDLESS = SolveOptions(max_steps=100_000, halt_threshold=1, verify=False)


def test_concurrent_requests_share_batches_and_get_their_own_answers(
    solver: Solver, puzzles: Puzzles
) -> None:
    counting = Counting(solver.runtime)

    async def main() -> list[Solution]:
        async with AsyncSolver(Solver(counting), batch_size=16, gather_seconds=0.05) as service:
            return list(await asyncio.gather(*(service.solve(p, STEPS) for p in puzzles[0])))

    solutions = asyncio.run(main())
    expected = list(solver.solve_many(puzzles[0], STEPS))
    assert [s.grid for s in solutions] == [s.grid for s in expected]
    assert counting.batches[0] == 16
    assert len(counting.batches) < sum(s.steps for s in solutions) / 4


def test_requests_with_different_options_mix(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> list[Solution]:
        async with AsyncSolver(solver) as service:
            one = SolveOptions(max_steps=2, verify=False)
            other = SolveOptions(max_steps=5, verify=False)
            return list(
                await asyncio.gather(
                    *(service.solve(p, (one, other)[i % 2]) for i, p in enumerate(puzzles[0][:40]))
                )
            )

    assert [s.steps for s in asyncio.run(main())] == [2, 5] * 20


def test_nobody_waits_for_anothers_puzzle(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> float:
        async with AsyncSolver(solver, batch_size=4) as service:
            slow = asyncio.create_task(service.solve(puzzles[0][0], ENDLESS))
            await asyncio.sleep(0.05)
            started = perf_counter()
            await service.solve(puzzles[0][1], STEPS)
            waited = perf_counter() - started
            assert not slow.done()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            return waited

    assert asyncio.run(main()) < 1


def test_a_cancelled_request_leaves_the_batch(solver: Solver, puzzles: Puzzles) -> None:
    counting = Counting(solver.runtime)

    async def main() -> None:
        async with AsyncSolver(Solver(counting), batch_size=4) as service:
            tasks = [asyncio.create_task(service.solve(p, ENDLESS)) for p in puzzles[0][:6]]
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)
            # The service is as good as new, and its rows are free.
            solutions = await asyncio.gather(*(service.solve(p, STEPS) for p in puzzles[0][:6]))
            assert all(s.verified for s in solutions)
            await asyncio.sleep(0.05)
            before = len(counting.batches)
            await asyncio.sleep(0.05)
            assert len(counting.batches) == before  # nothing runs for nobody

    asyncio.run(main())


def test_a_timeout_is_a_cancellation(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> None:
        async with AsyncSolver(solver) as service:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(service.solve(puzzles[0][0], ENDLESS), 0.05)
            assert (await service.solve(puzzles[0][0], STEPS)).verified

    asyncio.run(main())


def test_bad_requests_fail_alone(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> list[Any]:
        async with AsyncSolver(solver) as service:
            return await asyncio.gather(
                service.solve("bad"),
                service.solve(puzzles[0][0], SolveOptions(attempts=2)),
                service.solve(puzzles[0][0], STEPS),
                return_exceptions=True,
            )

    bad, contradictory, good = asyncio.run(main())
    assert isinstance(bad, InvalidInputError)
    assert isinstance(contradictory, ConfigError)
    assert good.verified


def test_a_broken_runtime_fails_who_waits_and_no_one_after(
    solver: Solver, puzzles: Puzzles
) -> None:
    counting = Counting(solver.runtime, broken_at=3)

    async def main() -> list[Any]:
        async with AsyncSolver(Solver(counting), batch_size=8, gather_seconds=0.05) as service:
            options = SolveOptions(max_steps=10, verify=False)
            first = await asyncio.gather(
                *(service.solve(p, options) for p in puzzles[0][:4]), return_exceptions=True
            )
            counting.broken_at = -1
            return [*first, await service.solve(puzzles[0][0], STEPS)]

    *failed, good = asyncio.run(main())
    assert [str(error) for error in failed] == ["the device fell off the bus"] * 4
    assert good.verified


def test_many_stream_in_order(solver: Solver, puzzles: Puzzles) -> None:
    async def source() -> AsyncIterator[str]:
        for puzzle in puzzles[0][:30]:
            await asyncio.sleep(0)
            yield puzzle
        yield "bad"

    async def main() -> tuple[list[Any], list[Any]]:
        async with AsyncSolver(solver, batch_size=4) as service:
            many = [r async for r in service.solve_many(source(), STEPS, on_error="yield")]
            plain = [r async for r in service.solve_many(puzzles[0][:5], STEPS)]
            with pytest.raises(InvalidInputError, match="16 cells"):
                [r async for r in service.solve_many(source(), STEPS)]
            return many, plain

    many, plain = asyncio.run(main())
    assert [line_of(r.task.grid) for r in many[:-1]] == puzzles[0][:30]
    assert isinstance(many[-1], Failure)
    assert many[-1].index == 30
    assert [line_of(r.task.grid) for r in plain] == puzzles[0][:5]


def test_closing_finishes_what_is_under_way(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> None:
        service = AsyncSolver(solver, batch_size=2)
        tasks = [asyncio.create_task(service.solve(p, STEPS)) for p in puzzles[0][:10]]
        await asyncio.sleep(0)
        await service.close()
        assert all(s.verified for s in await asyncio.gather(*tasks))
        with pytest.raises(TRMError, match="closed"):
            await service.solve(puzzles[0][0])
        await service.close()
        await AsyncSolver(solver).close()  # never used

    asyncio.run(main())


def test_a_service_from_a_model_on_disk(model_folder: Path, puzzles: Puzzles) -> None:
    async def main() -> Solution:
        async with AsyncSolver.from_pretrained(
            model_folder, "torch", "cpu", threads=1, batch_size=3, precision="bfloat16"
        ) as service:
            assert service.solver.runtime.name == "torch"
            return await service.solve(puzzles[0][0], STEPS)

    assert line_of(asyncio.run(main()).grid) == puzzles[1][0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("batch_size", value) for value in (0, True, 1.5, "3", 10**12)),
        *(("gather_seconds", value) for value in (-1, float("nan"), float("inf"), 1e12, True, "1")),
    ],
)
def test_arguments_are_checked(solver: Solver, name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=rf"{name} .* got {re.escape(repr(value))}"):
        AsyncSolver(solver, **{name: value})


def test_many_check_their_arguments_at_once(solver: Solver, puzzles: Puzzles) -> None:
    service = AsyncSolver(solver)
    with pytest.raises(InvalidInputError, match="got str"):
        service.solve_many(puzzles[0][0])
    with pytest.raises(InvalidInputError, match="got 'ignore'"):
        service.solve_many([], on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="same attempt"):
        service.solve_many([], SolveOptions(attempts=2))


def test_what_a_source_raises_comes_after_what_it_gave(solver: Solver, puzzles: Puzzles) -> None:
    unreadable = TRMError("unreadable")

    def source() -> Iterator[object]:
        yield from (*puzzles[0][:3], unreadable)
        raise OSError("disk gone")

    async def main() -> list[Any]:
        async with AsyncSolver(solver) as service:
            found = service.solve_many(source(), STEPS, on_error="yield")
            results = [await anext(found) for _ in range(4)]
            with pytest.raises(OSError, match="disk gone"):
                await anext(found)
        return results

    *solved, failure = asyncio.run(main())
    assert [line_of(s.task.grid) for s in solved] == puzzles[0][:3]
    assert failure == Failure(3, unreadable)


class Quirky(Sudoku):
    """A domain with a mistake of its own, in puzzles that begin with a 4."""

    def encode(self, task: Task, index: int = 0) -> Any:
        if task.grid[0, 0] == 4:
            raise StopIteration if task.grid[0, 1] else KeyError("quirk")
        return super().encode(task, index)


@pytest.mark.parametrize(
    ("puzzle", "named"), [("4" + "." * 15, "quirk"), ("43" + "." * 14, "Stop")]
)
def test_a_domain_s_mistake_fails_its_request_alone(
    solver: Solver, puzzles: Puzzles, puzzle: str, named: str
) -> None:
    good = next(p for p in puzzles[0] if p[0] != "4")

    async def main() -> list[Any]:
        async with AsyncSolver(Solver(solver.runtime, Quirky(2, 2))) as service:
            both = (service.solve(puzzle, STEPS), service.solve(good, STEPS))
            return await asyncio.wait_for(asyncio.gather(*both, return_exceptions=True), 10)

    bad, solved = asyncio.run(main())
    assert named in repr(bad)
    assert solved.verified


def test_a_worker_that_dies_takes_nobody_along(
    solver: Solver, puzzles: Puzzles, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[Any]:
        async with AsyncSolver(solver) as service:
            with monkeypatch.context() as patch:
                patch.setattr(service, "_new_search", lambda: 1 / 0)
                asked = (service.solve(p, STEPS) for p in puzzles[0][:3])
                failed = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
            return [*failed, await service.solve(puzzles[0][0], STEPS)]

    *failed, good = asyncio.run(main())
    assert [type(error) for error in failed] == [ZeroDivisionError] * 3
    assert good.verified


def test_closing_closes_the_solver_that_it_made(model_folder: Path) -> None:
    async def main() -> AsyncSolver:
        async with AsyncSolver.from_pretrained(model_folder, threads=1) as service:
            return service

    with pytest.raises(TRMError, match="closed"):
        asyncio.run(main()).solver.solve("." * 16)


def test_leaving_solve_many_early_frees_the_batch(solver: Solver, puzzles: Puzzles) -> None:
    counting = Counting(solver.runtime)

    async def main() -> int:
        async with AsyncSolver(Solver(counting), batch_size=4) as service:
            results = service.solve_many([puzzles[0][0], *puzzles[0][:8]], STEPS)
            endless = service.solve_many([puzzles[0][0]] * 8, ENDLESS)
            assert isinstance(await anext(results), Solution)
            ahead = asyncio.ensure_future(anext(endless))
            await asyncio.sleep(0.05)
            ahead.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ahead
            await results.aclose()  # type: ignore[attr-defined]
            steps = len(counting.batches)
            await asyncio.sleep(0.1)
            return len(counting.batches) - steps

    # Nothing is left to be stepped but what was in the model at that moment.
    assert asyncio.run(asyncio.wait_for(main(), 30)) <= 2


def test_closing_ends_the_wait_for_further_requests(solver: Solver, puzzles: Puzzles) -> None:
    async def main() -> tuple[Solution, float]:
        service = AsyncSolver(solver, batch_size=4, gather_seconds=30)
        asked = asyncio.ensure_future(service.solve(puzzles[0][0], STEPS))
        await asyncio.sleep(0.05)
        started = perf_counter()
        await service.close()
        return await asked, perf_counter() - started

    solution, waited = asyncio.run(main())
    assert solution.grid == solver.solve(puzzles[0][0], STEPS).grid
    assert waited < 25
