"""Mazes by plain Python that shares nothing with the code under test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Down, left, right, up.
STEPS = {"D": (1, 0), "L": (0, -1), "R": (0, 1), "U": (-1, 0)}

Cell = tuple[int, int]


def board(*rows: str) -> np.ndarray:
    """A board from rows of ``# SGo``."""
    return np.array([["# SGo".index(mark) for mark in row] for row in rows], np.uint8)


def place(maze: np.ndarray, value: int) -> Cell:
    row, column = np.argwhere(maze == value)[0].tolist()
    return row, column


def neighbours(maze: np.ndarray, cell: Cell) -> Iterator[tuple[str, Cell]]:
    for letter, (down, right) in STEPS.items():
        near = cell[0] + down, cell[1] + right
        if 0 <= near[0] < maze.shape[0] and 0 <= near[1] < maze.shape[1] and maze[near]:
            yield letter, near


def distances_from(maze: np.ndarray, source: Cell) -> dict[Cell, int]:
    """Distances of all cells that can be reached, wave by wave."""
    known = {source: 0}
    wave = {source}
    while wave:
        wave = {near for cell in wave for _, near in neighbours(maze, cell)} - set(known)
        known.update(dict.fromkeys(wave, max(known.values()) + 1))
    return known


def all_shortest_paths(maze: np.ndarray) -> list[tuple[str, list[Cell]]]:
    """Every shortest path from start to goal as its letters and its cells, by trying all moves."""
    start, goal = place(maze, 2), place(maze, 3)
    left = distances_from(maze, goal)
    if start not in left:
        return []
    paths = [("", [start])]
    for remaining in range(left[start] - 1, -1, -1):
        paths = [
            (word + letter, [*cells, near])
            for word, cells in paths
            for letter, near in neighbours(maze, cells[-1])
            if left.get(near) == remaining
        ]
    return paths


def random_boards(n: int, shape: tuple[int, int], seed: int, share: float = 0.35) -> np.ndarray:
    """Random walls, start and goal wherever they fall, whether or not there is a way."""
    rng = np.random.default_rng(seed)
    boards = (rng.random((n, *shape)) >= share).astype(np.uint8)
    flat = boards.reshape(n, -1)
    for one in flat:
        one[rng.choice(flat.shape[1], 2, replace=False)] = 2, 3
    return boards
