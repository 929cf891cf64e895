"""Solve a file of puzzles and write a CSV of answers.

    python examples/batch.py puzzles.csv answers.csv [--model sudoku] [--batch-size 64]

The file holds one puzzle a line, boards with blank lines between them, or CSV with a column
`question` or `puzzle`, and perhaps `answer` to compare with. It is read and written as it goes, so
it may be larger than memory. Lines that can't be read are written with their error, and the others
are solved all the same.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from trm_sdk import Solution, Solver, TRMError
from trm_sdk.errors import InvalidInputError
from trm_sdk.files import read_file

COLUMNS = (
    "name", "puzzle", "answer", "verified", "correct", "confidence", "steps", "attempts", "error"
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("puzzles", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--model", default="sudoku", help="Name or path.")
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    solved = total = 0
    try:
        if arguments.answers.exists() and arguments.answers.samefile(arguments.puzzles):
            raise InvalidInputError(f"{arguments.answers} is the file that is read from")
        solver = Solver.from_pretrained(arguments.model)
        with arguments.answers.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            tasks = read_file(arguments.puzzles, solver.domain)
            for result in solver.solve_many(
                tasks, batch_size=arguments.batch_size, on_error="yield"
            ):
                total += 1
                if isinstance(result, Solution):
                    # Where there are no rules, by the file's own answers.
                    solved += result.verified or (result.verified is None and bool(result.correct))
                    writer.writerow(
                        {
                            "name": result.task.name,
                            "puzzle": result.domain.to_line(result.task.grid),
                            "answer": result.domain.to_line(result.grid),
                            "verified": result.verified,
                            "correct": result.correct,
                            "confidence": round(result.confidence, 4),
                            "steps": result.steps,
                            "attempts": result.attempts,
                        }
                    )
                else:
                    writer.writerow({"error": str(result.error)})
    except (TRMError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{solved} of {total} solved")
    return 0 if solved == total else 1


if __name__ == "__main__":
    sys.exit(main())
