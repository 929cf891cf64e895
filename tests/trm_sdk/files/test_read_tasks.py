"""Puzzle files in the forms that people keep them in."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import pytest

from trm_sdk import files
from trm_sdk.domains import Domain, Token, Vocabulary, get_domain
from trm_sdk.domains.text import line_of
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files import read_tasks
from trm_sdk.grid import Grid
from trm_sdk.task import Task

ONE, TWO = "1.34341..14343.1", "2.......1......."
ANSWER = "1234341221434321"


def read(text: str, domain: str = "sudoku-4x4") -> list[Task | TRMError]:
    return list(read_tasks(io.StringIO(text), get_domain(domain), "f"))


def lines(text: str) -> list[str]:
    tasks = read(text)
    assert all(isinstance(task, Task) for task in tasks), tasks
    return [line_of(task.grid) for task in tasks if isinstance(task, Task)]


def test_one_puzzle_a_line() -> None:
    assert lines(f"{ONE}\n{TWO}\n") == [ONE, TWO]
    assert lines(f"\ufeff# comment\n\n{ONE.replace('.', '0')}\r\n\n# more\n{TWO}") == [ONE, TWO]
    assert lines(" ".join(ONE) + "\n" + ",".join(TWO)) == [ONE, TWO]
    assert lines(f"{list(map(int, ONE.replace('.', '0')))}") == [ONE]
    (task,) = read(ONE)
    assert isinstance(task, Task)
    assert task.name == "f:1"


@pytest.mark.parametrize("question", ["question", "puzzle", "Puzzle", "quizzes"])
def test_csv(question: str) -> None:
    text = f"source,{question},answer,rating\na,{ONE},{ANSWER},7\n\nb,{TWO},,3\n"
    first, second = read(text)
    assert isinstance(first, Task)
    assert isinstance(second, Task)
    assert line_of(first.grid) == ONE
    assert first.answer is not None
    assert line_of(first.answer) == ANSWER
    assert first.metadata == {"source": "a", "rating": "7"}
    assert first.name == "f:2"
    assert second.answer is None
    assert lines(f"{question}\n{ONE}\n") == [ONE]
    assert lines(f"{question};answer\n# a comment\n{ONE};{ANSWER}\n") == [ONE]
    assert lines(f"id\t{question}\n1\t{ONE}\n") == [ONE]


def test_a_csv_that_names_a_column_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="f has several columns called 'rating'"):
        read(f"puzzle,rating,Rating\n{ONE},1,2\n")


def drawn(line: str) -> str:
    return "\n".join(line[i : i + 4] for i in range(0, 16, 4))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_board_may_take_several_lines_of_a_csv(end: str) -> None:
    text = f'puzzle,answer,x\n"{drawn(ONE)}","{drawn(ANSWER)}",1\n{TWO},,2\n"12",,3\n'
    one, two, bad = read(text.replace("\n", end))
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert one.answer is not None
    assert (line_of(one.grid), line_of(one.answer), one.name) == (ONE, ANSWER, "f:2")
    assert (line_of(two.grid), two.name) == (TWO, "f:9")
    assert str(bad).startswith("f:10: expected 16 cells")


def test_a_quote_that_is_never_closed_spoils_its_own_line_alone() -> None:
    bad, one, two = read(f'puzzle,x\n"{ONE},1\n{ONE},2\n{TWO},3\n')
    assert str(bad) == "f:2: not a line of CSV: a quoted field is not closed"
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert (one.name, two.name) == ("f:3", "f:4")


def test_a_row_of_a_csv_that_begins_like_a_comment_is_read() -> None:
    (task,) = read(f"id,puzzle\n#1,{ONE}\n")
    assert isinstance(task, Task)
    assert task.metadata == {"id": "#1"}
    (other,) = read(f"puzzle\n# nothing\n{ONE}\n")
    assert isinstance(other, Task)
    assert other.grid == task.grid


class Walls(Domain):
    """Boards of any size whose walls are what elsewhere begins a comment; a space is a cell."""

    name, shape, any_size, comment = "walls", (3, 4), True, None
    vocabulary = Vocabulary(
        (
            Token("pad", " ", ("pad",)),
            Token("wall", "#", ("given",)),
            Token("open", " ", ("blank", "answer")),
            Token("path", "o", ("answer",)),
        )
    )

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
        return True


def test_the_domain_says_what_a_comment_is_and_how_boards_are_written() -> None:
    def found(text: str) -> list[str]:
        tasks = list(read_tasks(io.StringIO(text), Walls(), "f"))
        assert all(isinstance(task, Task) for task in tasks), tasks
        return [Walls().format(task.grid) for task in tasks if isinstance(task, Task)]

    small, wide = "## \n # ", "##### \n      \n# # # "
    assert found(f"{small.rstrip()} \n\n{wide}\n") == ["## \n # ", wide]
    assert found("####    # ##\n            \n") == ["####\n    \n# ##", "    \n    \n    "]
    assert found(f'puzzle,answer\n"{wide}",\n####    # ##,\n') == [wide, "####\n    \n# ##"]


@pytest.mark.parametrize("first", ["my puzzles", "puz", ONE[:5], "puzzles of all kinds; more"])
def test_a_first_line_that_is_no_puzzle_spoils_itself_alone(first: str) -> None:
    bad, *tasks = read(f"{first}\n{ONE}\n{TWO}\n")
    assert [isinstance(task, Task) for task in tasks] == [True, True]
    hint = "a column called question, puzzle or quizzes"
    assert str(bad).startswith("f:1: ")
    assert (hint in str(bad)) == (first != ONE[:5])


def test_a_line_that_can_not_be_read_spoils_itself_alone() -> None:
    raw = f"{ONE}\n".encode() * 2 + b"\xff" + f"{ONE}\n{TWO}\n".encode()
    text = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", errors="surrogateescape")
    tasks = list(read_tasks(text, get_domain("sudoku-4x4"), "f"))
    assert [isinstance(task, Task) for task in tasks] == [True, True, False, True]
    assert str(tasks[2]) == "f:3 can't be read as text: it is not UTF-8"
    good, large, more = read(f"puzzle,x\n{ONE},1\n{ONE},{'a' * 140_000}\n{TWO},2\n")
    assert isinstance(good, Task)
    assert isinstance(more, Task)
    assert str(large).startswith("f:3: not a line of CSV: field larger")


def test_what_was_read_before_the_disk_failed_is_kept() -> None:
    def failing(lines: int) -> Iterator[str]:
        yield from [f"{ONE}\n"] * lines
        raise OSError("disk gone")

    *tasks, error = read_tasks(failing(2), get_domain("sudoku-4x4"), "f")
    assert all(isinstance(task, Task) for task in tasks)
    assert (len(tasks), str(error)) == (2, "f can't be read as text: disk gone")
    with pytest.raises(InvalidInputError, match="disk gone"):
        next(read_tasks(failing(0), get_domain("sudoku-4x4"), "f"))


def test_boards_drawn_over_several_lines() -> None:
    def board(line: str, rule: str = "") -> str:
        rows = [" ".join(line[i : i + 4]) for i in range(0, 16, 4)]
        return "\n".join(rows[:2] + ([rule] if rule else []) + rows[2:])

    assert lines(board(ONE)) == [ONE]
    assert lines(board(ONE, "----+----")) == [ONE]
    assert lines(f"# two\n{board(ONE)}\n\n\n{board(TWO)}\n") == [ONE, TWO]
    # A blank line between the bands of one board does not make two of it.
    rows = board(ONE).splitlines()
    assert lines("\n".join([*rows[:2], "", *rows[2:]])) == [ONE]
    good, bad = read(f"{board(ONE)}\n\n1 2 3 4\n")
    assert isinstance(good, Task)
    assert str(bad) == "f:6: expected 16 cells for a 4x4 grid; got 4 in '1 2 3 4\\n'"


def test_bad_lines_are_named_and_skipped() -> None:
    text = f"{ONE}\n11..............\n{TWO}x\n{TWO}\n"
    kinds = read(text)
    assert [isinstance(kind, Task) for kind in kinds] == [True, False, False, True]
    assert str(kinds[1]) == "f:2: contradicting givens: 1 appears 2 times in row 1"
    assert str(kinds[2]).startswith("f:3: expected 16 cells")
    _, bad, wrong = read(f"question,answer\n{ONE},{ANSWER}\n{ONE}\n{ONE},12\n")
    assert str(bad) == "f:3: expected 2 columns; got 1"
    assert str(wrong).startswith("f:4: expected 16 cells")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "+---+\n"])
def test_a_file_without_puzzles_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="f holds no puzzle"):
        read(text)


def test_lines_are_read_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for line in itertools.cycle((ONE + "\n", TWO + "\n")):
            taken += 1
            yield line

    tasks = list(itertools.islice(read_tasks(endless(), get_domain("sudoku-4x4"), "f"), 10))
    assert len(tasks) == taken == 10


def test_what_is_no_text_is_refused() -> None:
    raw = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00\x01" * 10), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="f can't be read as text"):
        list(read_tasks(raw, get_domain("sudoku-4x4"), "f"))


def test_large_boards_on_one_line_and_many() -> None:
    domain = get_domain("sudoku-16x16")
    numbers = [[(4 * (r % 4) + r // 4 + c) % 16 + 1 for c in range(16)] for r in range(16)]
    spaced = "\n".join(" ".join(map(str, row)) for row in numbers)
    for text in (spaced, spaced.replace("\n", " "), f"{spaced}\n\n{spaced}"):
        tasks = list(read_tasks(io.StringIO(text), domain, "f"))
        for task in tasks:
            assert isinstance(task, Task)
            assert task.grid.tolist() == numbers


def test_a_row_of_letters_that_are_cells_is_not_a_title() -> None:
    text = "S   \n #  \n    \n#  G\n\n GS#\n ###\n   #\n####\n"
    first, second = read(text, "maze-4x4")
    assert isinstance(first, Task)
    assert isinstance(second, Task)
    assert second.grid.tolist() == [[1, 3, 2, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    titled, _ = read(f"Maze 1: small\n{text}", "maze-4x4")
    assert isinstance(titled, Task)
    assert titled.grid == first.grid


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\npuzzle;solution\n{p};{a}\n",
        '"sep=,"\npuzzle,solution\n{p},{a}\n',
        "puzzle|solution\n{p}|{a}\n",
        "| puzzle | solution |\n|---|:-:|\n| {p} | {a} |\n",
        "puzzle,solution\n'{p},'{a}\n",
        'puzzle,solution\n"=""{p}""","=""{a}"""\n',
        "input,target\n{p},{a}\n",
    ],
)
def test_tables_as_spreadsheets_and_pages_write_them(text: str) -> None:
    puzzle = "1.34341..14343.1".replace(".", "0")
    (task,) = read_tasks(
        io.StringIO(text.format(p=puzzle, a=ANSWER)), get_domain("sudoku-4x4"), "table"
    )
    assert isinstance(task, Task)
    assert line_of(task.grid) == puzzle.replace("0", ".")
    assert task.answer is not None
    assert line_of(task.answer) == ANSWER


@pytest.mark.parametrize("text", ["puzzle,solution\n", "puzzle|solution\n|---|\n", "sep=;\n"])
def test_a_table_without_rows_holds_no_puzzle(text: str) -> None:
    with pytest.raises(InvalidInputError, match="table holds no puzzle"):
        list(read_tasks(io.StringIO(text), get_domain("sudoku-4x4"), "table"))


def test_digits_of_other_scripts_in_a_file() -> None:
    puzzle = "1.34341..14343.1"
    text = "\n".join([puzzle, puzzle.translate({ord(str(i)): 0x660 + i for i in range(10)})])
    for lines in (text, "\n".join(reversed(text.splitlines()))):
        tasks = list(read_tasks(io.StringIO(lines), get_domain("sudoku-4x4"), "lines"))
        assert [line_of(one.grid) for one in tasks if isinstance(one, Task)] == [puzzle] * 2


@pytest.mark.parametrize(("name", "most"), [("_MOST_LINES", 8), ("_MOST_CHARACTERS", 40)])
def test_text_that_is_read_as_a_whole_has_an_end(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = "\n".join(ONE[place : place + 4] for place in range(0, 16, 4))
    assert lines(f"Grid 1\n{board}\nGrid 2\n{board}\n") == [ONE, ONE]
    monkeypatch.setattr(files, name, most)
    with pytest.raises(InvalidInputError, match="is too large: CSV and a puzzle a line"):
        read(f"Grid 1\n{board}\nGrid 2\n{board}\n")
    assert lines(f"{ONE}\n" * 20) == [ONE] * 20


def test_a_puzzle_is_not_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_AHEAD", 5)
    assert lines("#\n" * 5 + ONE) == [ONE]
    with pytest.raises(InvalidInputError, match="holds no puzzle in its first 6 lines"):
        lines("#\n\n" * 5 + ONE)


@pytest.mark.parametrize(
    ("head", "record"),
    [
        ("question,rating\n", "12,5\n"),
        ("", '{"puzzle": "12"}\n'),
        ("<opensudoku>\n", "<game data='12'/>\n"),
    ],
)
def test_a_file_in_which_nothing_can_be_read_is_not_an_error_a_line(head: str, record: str) -> None:
    found = read(head + record * 2000)
    assert len(found) == 10
    assert str(found[-1]) == "f: none of its 2,000 puzzles can be read"
    assert len(read(head + record * 9)) == 9
    assert str(read(head + record * 12)[-1]) == "f: none of its 12 puzzles can be read"
    good = record.replace("12", ONE)
    found = read(head + record * 500 + good + record * 5)
    assert [isinstance(one, Task) for one in found] == [False] * 500 + [True] + [False] * 5
    found = read(head + record * 2000 + good)
    assert str(found[-2]) == "f: 991 further puzzles can't be read"
    assert len(found) == 9 + 1000 + 1 + 1
    assert isinstance(found[-1], Task)
