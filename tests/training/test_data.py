"""Sudoku data: right, disjoint from what is held out, resumable."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from training.data.files import FileSource, read_csv
from training.data.mixture import Mixture
from training.settings import Generated, PuzzleFile
from trm_sdk.domains import get_domain
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.errors import ConfigError, InvalidInputError

NINE, FOUR = Sudoku(), Sudoku(2, 2)


def _held_out(domain: Sudoku, clues: int, n: int) -> Examples:
    return domain.examples(n, HELD_OUT_SEED, {"clues_added": (clues, clues)})


def _csv(path, examples: Examples, domain: Sudoku):
    rows = ["source,question,answer,rating"]
    for tokens, answer in zip(examples.tokens, examples.answers, strict=True):
        question = domain.to_line(domain.decode(tokens))
        rows.append(f"made,{question},{domain.to_line(domain.decode(answer))},12")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_generated_examples_are_puzzles_with_their_solutions():
    stream = Mixture((Generated(clues_added=(0, 14)),), NINE, 1, ())
    examples = stream.draw(40, 0.0)
    assert NINE.verify_tokens(examples.tokens, examples.answers).all()
    counts, _, solutions = engine.solve_count((examples.tokens - 1).astype(np.uint8))
    assert (counts == 1).all()
    assert np.array_equal(solutions, examples.answers - 1)


def test_hard_examples_are_harder_than_random_minimal_ones():
    sources = (Generated(hard=True, pool=60),)
    hard = Mixture(sources, NINE, 1, ()).draw(30, 0.0)
    easy = Mixture((Generated(),), NINE, 1, ()).draw(30, 0.0)
    assert NINE.verify_tokens(hard.tokens, hard.answers).all()
    ratings = [
        engine.rate((examples.tokens - 1).astype(np.uint8), seed=0).mean()
        for examples in (hard, easy)
    ]
    assert ratings[0] > 2 * ratings[1]


def test_a_pool_may_have_families_and_a_ceiling():
    options = {"hard": True, "pool": 12, "first_rounds": 20, "rounds": 1, "lifetime": 24}
    source = NINE.source(NINE.generator_options({**options, "families": 3, "ceiling": 4.0}), 1)
    drawn = source.draw(20)
    assert NINE.verify_tokens(drawn.tokens, drawn.answers).all()
    again = NINE.source(NINE.generator_options({**options, "families": 3, "ceiling": 4.0}), 1)
    again.load_state_dict(source.state_dict())
    assert np.array_equal(again.draw(20).tokens, source.draw(20).tokens)
    # Other pools: neither option goes unheard.
    for fewer in ({"families": 3}, {"ceiling": 4.0}):
        other = NINE.source(NINE.generator_options({**options, **fewer}), 1)
        assert not np.array_equal(other.draw(20).tokens, drawn.tokens)
    with pytest.raises(ConfigError, match="families must divide the pool of 12; got 5"):
        NINE.generator_options({**options, "families": 5})
    with pytest.raises(ConfigError, match="families applies only to pools of hard puzzles"):
        NINE.generator_options({"families": 3})


def test_what_is_held_out_is_never_drawn_not_even_under_a_symmetry(tmp_path):
    held = _held_out(NINE, 0, 40)
    rng = np.random.default_rng(0)
    turned = []
    for tokens, answers in zip(held.tokens[:20], held.answers[:20], strict=True):
        symmetry = NINE.random_symmetry(rng)
        turned.append(
            [NINE.encode_grid(symmetry.apply(NINE.decode(row))) for row in (tokens, answers)]
        )
    tokens, answers = (np.stack(column) for column in zip(*turned, strict=True))
    fresh = _held_out(NINE, 3, 20)
    both = Examples.concatenate([Examples.of(tokens, answers, NINE.shape), fresh])
    path = _csv(tmp_path / "mixed.csv", both, NINE)
    stream = Mixture((PuzzleFile(kind="file", path=str(path)),), NINE, 1, (held,))
    drawn = stream.draw(100, 0.0)
    prints = engine.fingerprint((drawn.tokens - 1).astype(np.uint8))
    allowed = engine.fingerprint((fresh.tokens - 1).astype(np.uint8))
    assert set(prints) <= set(allowed)
    assert stream.dropped == 20


def test_a_source_that_is_held_out_as_a_whole_is_named():
    held = _held_out(FOUR, 0, 500)  # all 36 minimal 4x4 puzzles, many times
    stream = Mixture((Generated(),), FOUR, 1, (held,))
    with pytest.raises(ConfigError, match="data source 1 gives only puzzles that are held out"):
        stream.draw(1, 0.0)


def test_a_stream_goes_on_exactly_where_it_was():
    sources = (
        Generated(clues_added=(0, 3)),
        Generated(hard=True, clues_added=(0, 1), pool=50, first_rounds=5),
    )
    stream = Mixture(sources, FOUR, 5, ())
    stream.draw(37, 0.0)
    state = stream.state_dict()
    expected = stream.draw(100, 0.0)
    other = Mixture(sources, FOUR, 5, ())
    other.load_state_dict(state)
    got = other.draw(100, 0.0)
    assert np.array_equal(got.tokens, expected.tokens)
    assert np.array_equal(got.answers, expected.answers)


def test_a_curriculum_takes_its_sources_by_progress():
    sources = (
        Generated(clues_added=(30, 30), end=0.5),
        Generated(clues_added=(0, 0), start=0.5),
    )
    stream = Mixture(sources, NINE, 1, ())
    early, late = ((stream.draw(8, progress).tokens > 1).sum(1) for progress in (0.2, 0.9))
    assert early.min() > 45 > 35 > late.max()
    gap = Mixture((Generated(end=0.5),), NINE, 1, ())
    with pytest.raises(ConfigError, match="90%"):
        gap.draw(1, 0.9)


def test_sudoku_extreme_files_are_read_with_their_metadata(tmp_path):
    held = _held_out(NINE, 2, 3)
    tasks = read_csv(_csv(tmp_path / "three.csv", held, NINE), NINE)
    assert [NINE.encode(task).tokens.tolist() for task in tasks] == held.tokens.tolist()
    assert tasks[0].metadata == {"source": "made", "rating": "12"}
    assert tasks[1].name is not None
    assert tasks[1].name.endswith("three.csv:3")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("puzzle\n" + "." * 81 + "\n", r"faulty\.csv:2: no answer"),
        ("question,answer\n", "holds no puzzle"),
        ("question,answer\n12,34\n", r"faulty\.csv:2"),
        ("question,answer\n" + "1" * 81 + "," + "1" * 81 + "\n", "contradicting"),
        ("question,answer\n" + "." * 81 + "," + "1" * 81 + "\n", "does not solve"),
    ],
)
def test_a_faulty_file_is_answered_with_its_line(tmp_path, text, fault):
    path = tmp_path / "faulty.csv"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=fault):
        read_csv(path, NINE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"absent\.csv"):
        read_csv(tmp_path / "absent.csv", NINE)


def test_a_few_of_many_puzzles_are_drawn_without_a_look_at_the_others(tmp_path):
    held = _held_out(NINE, 2, 8)
    path = _csv(tmp_path / "eight.csv", held, NINE)
    path.write_text(path.read_text() + "no,puzzle,at,all\n")
    chosen = [read_csv(path, NINE, limit=3, seed=seed) for seed in (1, 1, 2)]
    assert [task.name for task in chosen[0]] == [task.name for task in chosen[1]]
    assert [task.name for task in chosen[0]] != [task.name for task in chosen[2]]
    assert len(chosen[0]) == 3


def test_boards_of_a_file_that_are_not_square_are_turned_into_boards_of_their_shape(tmp_path):
    maze = get_domain("maze-5x8")
    made = maze.examples(6, 1)
    rows = ["source,question,answer"]
    for tokens, answers in zip(made.tokens, made.answers, strict=True):
        lines = [maze.to_line(maze.decode(part)) for part in (tokens, answers)]
        rows.append(",".join(["made", *lines]))
    path = tmp_path / "mazes.csv"
    path.write_text("\n".join(rows) + "\n")
    stream = Mixture((PuzzleFile(kind="file", path=str(path)),), maze, 1, ())
    drawn = stream.draw(60, 0.0)
    assert drawn.shape == stream.shape_at(0.0) == (5, 8)
    assert maze.verify_tokens(drawn.tokens, drawn.answers, drawn.shape).all()
    assert len({row.tobytes() for row in drawn.tokens}) > 6


def test_a_file_whose_puzzles_have_several_solutions_is_taught_with_a_warning(tmp_path):
    one, answer = "1.34341..14343.1", "1234341221434321"
    path = tmp_path / "some.csv"
    path.write_text(f"question,answer\n{one},{answer}\n..343412..434321,{answer}\n")
    source = PuzzleFile(kind="file", path=str(path))
    domain, nothing = get_domain("sudoku-4x4"), np.zeros(0, np.uint64)
    with pytest.warns(UserWarning, match=r"some\.csv: 1 puzzles of 2 have several solutions"):
        FileSource(source, domain, 0, nothing)
    path.write_text(f"question,answer\n{one},{answer}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FileSource(source, domain, 0, nothing)
