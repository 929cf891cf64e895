"""Models for the tests: a small one trained here, small random ones, and their graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import make_puzzles, random_model, text_of

from export.exporter import export_onnx
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.solver import Solver

torch.set_num_threads(1)


def _train(model: TRM, steps: int) -> None:
    """Deep supervision on 4x4 puzzles: enough to solve most of them, in a few seconds."""
    puzzles, solutions = make_puzzles(2000, seed=1)
    rng = np.random.default_rng(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        rows = rng.integers(len(puzzles), size=64)
        tokens = torch.from_numpy(puzzles[rows] + 1)
        targets = torch.from_numpy(solutions[rows] + 1).long()
        state = model.initial_state(len(rows))
        for _ in range(3):
            state, logits, halt_logit = model(tokens, state.detach())
            wrong = model.answer(tokens, logits) != targets
            right = (~wrong.any(1)).float()
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten() - 2)
            loss = loss + 0.3 * F.binary_cross_entropy_with_logits(halt_logit, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a small trained 4x4 model: weights, config, step graph, card."""
    spec, model = random_model(L_cycles=1)
    _train(model, 60)
    folder = save_model(tmp_path_factory.mktemp("models") / "small", spec, model.state_dict())
    export_onnx(folder, folder / "model.onnx")
    (folder / "README.md").write_text("# small\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def solver(model_folder: Path) -> Solver:
    """That model on onnxruntime."""
    return Solver.from_pretrained(model_folder, runtime="onnx", threads=1)


@pytest.fixture(scope="session")
def torch_solver(model_folder: Path) -> Solver:
    """That model on PyTorch."""
    return Solver.from_pretrained(model_folder, runtime="torch", device="cpu", threads=1)


@pytest.fixture(scope="session")
def untrained() -> Solver:
    """A model that knows nothing, and so solves next to nothing."""
    spec, model = random_model()
    return Solver(TorchRuntime(model, spec, device="cpu"))


@pytest.fixture(scope="session")
def puzzles() -> tuple[list[str], list[str]]:
    """200 puzzles of 4 to 10 givens that training has not seen, and their solutions."""
    unsolved, solutions = make_puzzles(200, seed=99)
    return [text_of(row) for row in unsolved], [text_of(row) for row in solutions]
