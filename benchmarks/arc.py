"""How many ARC tasks are solved by learning each on its own: ``python -m benchmarks.arc``.

Every task is learned from scratch for so many seconds, on one thread, from its own demonstrations;
nothing is pre-trained, and answers are only looked at to score. A task is solved when every one of
its test inputs is (ARC's rule); ``per input`` is the mean over tasks of the share of test inputs,
which is what TRM's evaluator reports. Tasks whose sizes follow no rule count as not solved.

Tasks are taken in an order drawn once, so that the first N are a fair sample, and each is a line of
``--lines`` when it is done: a run that is stopped goes on there. Answers at shorter times are what
the snapshots until then vote for, in one run planned for the whole time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Literal

import click

from benchmarks.machine import describe
from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.arc import read_tasks
from trm_sdk.errors import InvalidInputError
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.adapt.training import Snapshot
    from trm_sdk.grid import Grid

RESULTS = Path(__file__).parent / "results"
#: Of the order of tasks. Planning looked at the first 60 evaluation tasks in this order.
SEED, LOOKED_AT = 20261125, 60
#: Shares of the time at which answers are scored, too.
SHARES = (0.125, 0.25, 0.5, 1.0)
#: Upper ends of the classes of size: nodes (cells times colours) of all demonstrations.
SIZES = (500, 1000, 2000, 4000, 8000)
#: How often what a network sees in a view has changed: a line of before is measured anew.
REVISIONS = {"zoom": 2}


def in_order(tasks: list[Task]) -> list[Task]:
    """Return tasks in the one random order that every run uses."""
    ordered = sorted(tasks, key=lambda task: task.name or "")
    random.Random(SEED).shuffle(ordered)
    return ordered


def measure(task: Task, options: AdaptOptions) -> dict[str, Any]:
    """Learn one task, and return what came of it as plain data."""
    facts: dict[str, Any] = {"task": task.name, "inputs": len(task.inputs)}
    try:
        coding = Coding(task)
        for grid in task.inputs:
            coding.output_shape(grid)
    except InvalidInputError as error:
        return facts | {"kind": "none", "expressible": False, "why": str(error)}
    from trm_sdk.adapt.training import learn
    from trm_sdk.adapt.votes import rank, read_out

    nodes = coding.batch(*zip(*task.demonstrations, strict=True)).nodes
    answers = task.answers
    assert answers is not None
    started = perf_counter(), process_time()
    snapshots = learn(coding, task, options)
    wall, cpu = perf_counter() - started[0], process_time() - started[1]
    read = read_out(coding, snapshots, task.inputs, options.depths)
    solved: dict[str, list[list[bool]]] = {}
    for share in SHARES:
        end = share * snapshots[-1].seconds + 1e-3
        count = max(1, sum(one.seconds <= end for one in snapshots))
        ranked = [rank(snapshots[:count], given[:count]) for given in read]
        solved[str(share)] = [
            [answer in [one.grid for one in several[:k]] for k in (1, 2)]
            for answer, several in zip(answers, ranked, strict=True)
        ]
    return facts | {
        "kind": coding.rule.kind,
        "view": coding.view.kind,
        "revision": REVISIONS.get(coding.view.kind, 1),
        "expressible": True,
        "nodes": nodes,
        "colours": len(coding.palette),
        "demonstrations": len(task.demonstrations),
        "solved": solved,
        "ever": all(
            answer in [one.grid for one in several]
            for answer, several in zip(answers, ranked, strict=True)
        ),
        "fitted": all(several[0].accuracy == 1 for several in ranked),
        "confidence": min(several[0].share for several in ranked),
        "accuracy": max(max(one.accuracy) for one in snapshots),
        "steps": snapshots[-1].steps,
        "runs": snapshots[-1].run + 1,
        "votes": _votes(snapshots, read, answers),
        "wall": round(wall, 2),
        "cpu": round(cpu, 2),
    }


def _votes(
    snapshots: list[Snapshot], read: list[list[tuple[Grid, ...]]], answers: tuple[Grid, ...]
) -> list[list[Any]]:
    """Return for each snapshot: run, seconds, progress, accuracies, and answers to each input.

    An answer is a number for each depth, 0 for the right one: with these, other ways to weigh votes
    can be tried without learning anew.
    """
    numbers = [{answer: 0} for answer in answers]
    for known, given in zip(numbers, read, strict=True):
        for several in given:
            for grid in several:
                known.setdefault(grid, len(known))
    return [
        [
            one.run,
            round(one.seconds, 3),
            round(one.progress, 3),
            [round(each, 3) for each in one.accuracy],
            [
                [known[grid] for grid in given[place]]
                for known, given in zip(numbers, read, strict=True)
            ],
        ]
        for place, one in enumerate(snapshots)
    ]


def is_solved(one: dict[str, Any], attempts: int, share: float = 1.0) -> bool:
    """Return whether every test input of a task was solved."""
    return one["expressible"] and all(
        of_input[attempts - 1] for of_input in one["solved"][str(share)]
    )


def summary(lines: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the figures of the tasks that are done."""

    def group(name: Callable[[dict[str, Any]], str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for one in lines:
            nothing = {"tasks": 0, "pass@1": 0, "pass@2": 0, "steps": 0, "cpu": 0.0}
            entry = found.setdefault(name(one), nothing)
            entry["tasks"] += 1
            entry["steps"] += one.get("steps", 0)
            entry["cpu"] = round(entry["cpu"] + one.get("cpu", 0.0), 2)
            entry["pass@1"] += is_solved(one, 1)
            entry["pass@2"] += is_solved(one, 2)
        return dict(sorted(found.items()))

    learned = [one for one in lines if one["expressible"]]
    count = max(1, len(lines))
    return {
        "tasks": len(lines),
        "expressible": len(learned),
        "pass@1": sum(is_solved(one, 1) for one in lines) / count,
        "pass@2": sum(is_solved(one, 2) for one in lines) / count,
        "pass@2 per input": sum(
            sum(each[1] for each in one["solved"]["1.0"]) / one["inputs"] for one in learned
        )
        / count,
        "right answer among all votes": sum(one["ever"] for one in learned) / count,
        "curve": {
            f"{share * seconds:g}": [
                sum(is_solved(one, k, share) for one in lines) / count for k in (1, 2)
            ]
            for share in SHARES
        },
        "fitted": {
            str(fitted): {
                "tasks": sum(one["fitted"] is fitted for one in learned),
                "pass@2": sum(one["fitted"] is fitted and is_solved(one, 2) for one in learned),
            }
            for fitted in (True, False)
        },
        "by kind": group(lambda one: one["kind"]),
        "by view": group(lambda one: one.get("view", "none")),
        "by nodes": group(_size_class),
        "seconds": {
            "wall": round(sum(one["wall"] for one in learned), 1),
            "cpu": round(sum(one["cpu"] for one in learned), 1),
        },
    }


def _size_class(one: dict[str, Any]) -> str:
    if not one["expressible"]:
        return "none"
    for end in SIZES:
        if one["nodes"] <= end:
            return f"up to {end:>4}"
    return f"over {SIZES[-1]}"


def is_current(one: dict[str, Any]) -> bool:
    """Return whether a line still holds: what a network sees in its view has not changed since."""
    return bool(one.get("revision", 1) == REVISIONS.get(one.get("view", "none"), 1))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of tasks that are done; a last line that was cut off is left out."""
    found = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
    return found


def run(
    tasks: list[Task], options: AdaptOptions, processes: int, until: float
) -> Iterator[dict[str, Any]]:
    """Yield each task's line as it is done; no task is begun after `until` (`perf_counter`)."""
    if processes == 1:
        for task in tasks:
            if perf_counter() >= until:
                return
            yield measure(task, options)
        return
    waiting = iter(tasks)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        asked: set[Future[dict[str, Any]]] = set()
        while True:
            while len(asked) < processes and perf_counter() < until:
                following = next(waiting, None)
                if following is None:
                    break
                asked.add(pool.submit(measure, following, options))
            if not asked:
                return
            done, asked = wait(asked, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"{result['tasks']} tasks, {result['expressible']} with a size rule: "
        f"pass@1 {result['pass@1']:.1%}, pass@2 {result['pass@2']:.1%} "
        f"({result['pass@2 per input']:.1%} per input)",
        "",
        "| seconds | pass@1 | pass@2 |",
        "| ---: | ---: | ---: |",
        *(f"| {at} | {a:.1%} | {b:.1%} |" for at, (a, b) in result["curve"].items()),
    ]
    for title in ("fitted", "by kind", "by view", "by nodes"):
        lines += ["", f"| {title} | tasks | solved (2 attempts) |", "| --- | ---: | ---: |"]
        lines += [
            f"| {name} | {one['tasks']} | {one['pass@2']} |" for name, one in result[title].items()
        ]
    return "\n".join(lines)


@click.command(cls=ErrorHandlingCommand)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder with arc-agi_SPLIT_challenges.json and arc-agi_SPLIT_solutions.json.",
)
@click.option("--split", type=click.Choice(["training", "evaluation"]), default="training")
@click.option("--seconds", type=float, default=36.0, show_default=True, help="A task.")
@click.option("--clock", type=click.Choice(["cpu", "wall"]), default="cpu", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option("--first", type=click.IntRange(0), default=0, help="Leave out so many tasks.")
@click.option("--tasks", "count", type=click.IntRange(1), help="How many tasks. Default: all.")
@click.option("--kind", type=click.Choice(["same", "constant", "ratio"]), help="Only these.")
@click.option(
    "--view",
    type=click.Choice(["same", "blocks", "zoom", "corner"]),
    help="Only these.",
)
@click.option("--nodes", type=click.IntRange(1), help="Only tasks of at most so many nodes.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--lines", type=click.Path(path_type=Path), help="Where each task becomes a line.")
@click.option("--resume/--no-resume", default=False, help="Leave out what --lines has.")
@click.option("--stop-after", type=float, help="Minutes after which no task is begun.")
@click.option("--set", "settings", multiple=True, help="NAME=VALUE of AdaptOptions, for trials.")
@click.option("--name", help="Of the result: results/arc-NAME.json. Default: not written.")
def main(
    data: Path,
    split: str,
    seconds: float,
    clock: Literal["wall", "cpu"],
    seed: int,
    first: int,
    count: int | None,
    kind: str | None,
    view: str | None,
    nodes: int | None,
    processes: int,
    lines: Path | None,
    resume: bool,
    stop_after: float | None,
    settings: tuple[str, ...],
    name: str | None,
) -> None:
    """Learn and answer ARC tasks one by one, and write down what share is solved."""
    changed = {key: json.loads(value) for key, value in (one.split("=", 1) for one in settings)}
    options = AdaptOptions(seconds=seconds, clock=clock, seed=seed, **changed)
    tasks = in_order(read_tasks(data / f"arc-agi_{split}_challenges.json"))
    if kind is not None:
        tasks = [task for task in tasks if _kind(task) == kind]
    if view is not None or nodes is not None:
        tasks = [task for task in tasks if is_like(task, view, nodes)]
    tasks = tasks[first : None if count is None else first + count]
    lines = lines or Path("runs") / f"arc-{split}-{seconds:g}.jsonl"
    if lines.exists() and not resume:
        raise InvalidInputError(f"{lines} is there already: --resume goes on with it")
    lines.parent.mkdir(parents=True, exist_ok=True)
    about = {"split": split, "options": options.model_dump(mode="json")}
    names = {task.name for task in tasks}
    done = [one for one in read_lines(lines) if one.get("about") == about]
    done = [one for one in done if one["task"] in names and is_current(one)]
    left = [task for task in tasks if task.name not in {one["task"] for one in done}]
    until = float("inf") if stop_after is None else perf_counter() + 60 * stop_after
    with lines.open("a", encoding="utf-8") as file:
        if lines.stat().st_size and not lines.read_text(encoding="utf-8").endswith("\n"):
            file.write("\n")  # after a line that was cut off
        for one in run(left, options, processes, until):
            one["about"] = about
            file.write(json.dumps(one) + "\n")
            file.flush()
            done.append(one)
            click.echo(_said(one, len(done), len(tasks)), err=True)
    result = {"machine": describe(1), **about, **summary(done, seconds), "of": len(tasks)}
    if split == "evaluation":
        looked_at = {task.name for task in in_order(_all(data, split))[:LOOKED_AT]}
        for title, inside in (("looked at while planning", True), ("not looked at", False)):
            part = [one for one in done if (one["task"] in looked_at) is inside]
            result[title] = summary(part, seconds)
    click.echo(table(result))
    click.echo(f"\n{result['machine']}; `python -m benchmarks.arc`.")
    if name is not None:
        text = json.dumps(result, indent=1) + "\n"
        (RESULTS / f"arc-{name}.json").write_text(text, encoding="utf-8")


def _all(data: Path, split: str) -> list[Task]:
    return read_tasks(data / f"arc-agi_{split}_challenges.json")


def _kind(task: Task) -> str | None:
    from trm_sdk.adapt.sizes import find_rule

    rule = find_rule([(before.shape, after.shape) for before, after in task.demonstrations])
    return None if rule is None else rule.kind


def is_like(task: Task, view: str | None, nodes: int | None) -> bool:
    """Return whether a task is seen in this view, and has at most so many nodes."""
    try:
        coding = Coding(task)
        seen = coding.batch(*zip(*task.demonstrations, strict=True)).nodes
    except InvalidInputError:
        return False
    return view in (None, coding.view.kind) and (nodes is None or seen <= nodes)


def _said(one: dict[str, Any], number: int, of: int) -> str:
    if not one["expressible"]:
        return f"{number}/{of} {one['task']}: no size rule"
    verdict = "solved" if is_solved(one, 2) else "-"
    return (
        f"{number}/{of} {one['task']}: {one['kind']}, {one['nodes']} nodes, {one['steps']} steps, "
        f"{one['runs']} runs, {'fitted' if one['fitted'] else 'not fitted'}, {verdict}"
    )


if __name__ == "__main__":
    main()
