"""Draw the pictures of the documentation: ``python docs/figures.py``, from the project's root.

``pictures/solving.gif`` is the bundled Sudoku model at work, one frame a supervision step, and
``pictures/steps.png`` some of these steps side by side. Both come from `Solver.stream`.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from trm_sdk import SolveOptions, Solver, Step, Task
from trm_sdk.render.image import draw_board

FOLDER = Path(__file__).parent / "pictures"
#: A puzzle of 17 givens that was made to take backtracking as long as possible.
PUZZLE = "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9"
#: Steps of the strip, beside the puzzle and the last.
SHOWN = (1, 2, 3, 4)


def strip(solver: Solver, task: Task, steps: list[Step], cell: int = 28) -> Image.Image:
    """Return the puzzle and some of its steps side by side, with a caption under each."""
    boards = [(draw_board(solver.domain, task, cell=cell), "puzzle")]
    for index in (*SHOWN, len(steps)):
        step = steps[index - 1]
        certainty = step.probabilities.max(-1)
        board = draw_board(solver.domain, task, step.grid, certainty, cell)
        boards.append((board, f"step {index}" + (": verified" if step.verified else "")))
    width, height = boards[0][0].size
    gap, below = cell // 2, cell + 8
    columns = 3
    rows = -(-len(boards) // columns)
    size = (columns * (width + gap) - gap, rows * (height + below))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for place, (board, caption) in enumerate(boards):
        left, top = place % columns * (width + gap), place // columns * (height + below)
        sheet.paste(board, (left, top))
        draw.text((left + 2, top + height + 4), caption, fill="#27303f", font=font)
    return sheet.quantize(64)


def main() -> None:
    """Draw both pictures."""
    FOLDER.mkdir(exist_ok=True)
    solver = Solver.from_pretrained("sudoku")
    one_attempt = SolveOptions(attempts=1)
    solution = solver.solve(PUZZLE, one_attempt)
    steps = list(solver.stream(solution.task, one_attempt))
    solution.to_gif(FOLDER / "solving.gif", steps, cell=32, milliseconds=300)
    strip(solver, solution.task, steps).save(FOLDER / "steps.png", optimize=True)


if __name__ == "__main__":
    main()
