"""Mazes in the paper's way: recipe maze-hard-1k, and the reference's checkpoints and metric."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from reference_runs import SMALL, reference_run

from training.evaluate import main
from training.recipe import Recipe, load_recipe
from training.run import Run, open_run
from training.state import LATEST
from training.step import train_step
from trm_sdk.persistence.checkpoint import load_model

FIVE = Path(__file__).parents[1] / "benchmarks" / "maze-hard-five.csv"
#: Tokens of the reference's data set builder: padding, then these characters.
CHARACTERS = "# SGo"
CPU = torch.device("cpu")


def recipe_of(*overrides: str) -> Recipe:
    small = (
        *SMALL,
        "compile=false",
        "batch_size=2",
        "steps=30",
        "optimizer.warmup=1",
        "optimizer.lr=3e-3",
        f"data=[{{kind: file, path: {FIVE}, augment: false}}]",
        "evaluation.files={}",
        "evaluation.sets={small: {}}",
        "evaluation.puzzles=1",
    )
    return load_recipe("maze-hard-1k", (*small, *overrides))


def test_the_recipe_starts_learns_and_goes_on_exactly(tmp_path: Path) -> None:
    run = Run.start(recipe_of(), CPU)
    losses = [train_step(run).loss for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    first = Run.start(recipe_of(), CPU)
    begun = [train_step(first).loss for _ in range(4)]
    first.save(tmp_path / LATEST)
    second = open_run(recipe_of(), tmp_path, CPU, fresh=False)
    assert begun + [train_step(second).loss for _ in range(4)] == losses[:8]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tokens_of(text: str) -> list[int]:
    return [CHARACTERS.index(character) + 1 for character in text]


def evaluated(model: Path, path: Path, out: Path) -> dict[str, Any]:
    arguments = [str(model), str(path), "--out", str(out), "--device", "cpu"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    figures: dict[str, Any] = json.loads((out / "figures.json").read_text())["figures"]
    return figures


def test_a_reference_checkpoint_is_scored_as_the_reference_does(tmp_path: Path) -> None:
    run = Run.start(recipe_of(), CPU)
    torch.manual_seed(0)
    with torch.no_grad():
        run.model.network.puzzle_emb.normal_()
        run.model.network.q_head.weight.normal_()
    path = reference_run(tmp_path / "run", run.model)
    spec, model = load_model(path)
    assert (spec.domain, spec.grid_shape) == ("maze-30x30", (30, 30))
    assert spec.model.given_tokens == ()  # nothing is kept of the question
    assert spec.model.num_puzzle_identifiers == 1

    # What the reference does: three steps, the best of six tokens in each of 900 cells.
    rows = rows_of(FIVE)
    tokens = torch.tensor([tokens_of(row["question"]) for row in rows], dtype=torch.int32)
    state = model.initial_state(5)
    with torch.inference_mode():
        for _ in range(3):
            state, logits, halt = model(tokens, state)
    found = logits.argmax(-1).numpy()
    labels = np.array([tokens_of(row["answer"]) for row in rows])
    figures = evaluated(path, FIVE, tmp_path / "out")
    assert figures["inputs"] == 5
    assert figures["cells"] == pytest.approx((found == labels).mean())
    assert figures["exact"] == figures["verified"] == 0
    assert figures["halting"] == pytest.approx((halt.numpy() <= 0).mean())


def test_label_accuracy_asks_for_the_stored_path_and_rules_for_any_shortest() -> None:
    spec = recipe_of().spec()
    domain = spec.made_for()
    rows = rows_of(FIVE)
    tasks = [domain.parse(row["question"]) for row in rows]
    answered = [
        type(task)(task.inputs, answers=(domain.parse_answer(row["answer"]),))
        for task, row in zip(tasks, rows, strict=True)
    ]
    evaluation = domain.evaluation(answered)
    (examples,) = evaluation.batches(8)
    assert examples.tokens.tolist() == [tokens_of(row["question"]) for row in rows]
    assert examples.answers.tolist() == [tokens_of(row["answer"]) for row in rows]
    answers = examples.answers.copy()
    other = _another_shortest(answers[0].reshape(30, 30), examples.tokens[0].reshape(30, 30))
    answers[0] = other.reshape(-1)
    answers[1][np.flatnonzero(answers[1] == 5)[3]] = 2  # the path is broken
    evaluation.add(examples, answers, np.array([1.0, -1.0, 1.0, 1.0, -1.0]))
    figures = evaluation.figures()
    assert (figures["exact"], figures["verified"]) == (3 / 5, 4 / 5)
    assert figures["halting"] == 3 / 5


def _another_shortest(answer: Any, question: Any) -> Any:
    """A path that takes one corner the other way round."""
    for row in range(29):
        for column in range(29):
            block = answer[row : row + 2, column : column + 2]
            free = question[row : row + 2, column : column + 2]
            if (block == 5).sum() == 3 and (block == 2).sum() == 1 and (free == 2).all():
                moved = answer.copy()
                (r,), (c,) = np.nonzero(block == 2)
                moved[row + r, column + c] = 5
                moved[row + 1 - r, column + 1 - c] = 2
                return moved
    raise AssertionError("no corner in this maze can be taken the other way")
