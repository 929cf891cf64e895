"""The notebook runs from top to bottom, and shows what its text says."""

from __future__ import annotations

import os
from typing import Any

import pytest
from programs import EXAMPLES, ROOT

nbformat = pytest.importorskip("nbformat", reason="needs the notebook extra")
nbclient = pytest.importorskip("nbclient", reason="needs the notebook extra")
pytest.importorskip("ipykernel", reason="needs the notebook extra")
pytest.importorskip("PIL", reason="needs the image extra")
NOTEBOOK = EXAMPLES / "tour.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[Any]:
    """The cells of code after a run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    client.execute(env={**os.environ, "PYTHONPATH": paths})
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_shows_a_solved_board_and_an_animation(cells: list[Any]) -> None:
    assert cells[0].outputs[0].text.startswith("True ")
    assert "image/png" in cells[0].outputs[-1].data
    assert "image/gif" in cells[2].outputs[-1].data


def test_more_attempts_solve_what_one_does_not(cells: list[Any]) -> None:
    text = "".join(output.text for output in cells[3].outputs)
    one, _, most = (int(line.split()[2]) for line in text.splitlines())
    assert one < most == 4, text


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
