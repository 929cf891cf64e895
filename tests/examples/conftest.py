"""What the tests of the examples share: the bundled models, and Node."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from programs import PACKAGES

from trm_sdk import Solver, list_pretrained
from trm_sdk.persistence.hub import BUNDLED


@pytest.fixture(scope="session")
def model() -> Path:
    """The folder of the bundled model `sudoku`."""
    if "sudoku" not in list_pretrained():
        pytest.skip("the bundled model 'sudoku' is not in this tree")
    return BUNDLED / "sudoku"


@pytest.fixture(scope="session")
def maze() -> Path:
    """The folder of the bundled model `maze`."""
    if "maze" not in list_pretrained():
        pytest.skip("the bundled model 'maze' is not in this tree")
    return BUNDLED / "maze"


@pytest.fixture(scope="session")
def solver(model: Path) -> Solver:
    """The same on onnxruntime."""
    return Solver.from_pretrained(model, runtime="onnx", threads=1)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of examples/package.json beside the examples."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed")
    if not (PACKAGES / "onnxruntime-node").is_dir():
        pytest.skip("no npm packages: run examples/setup.sh")
    return program
