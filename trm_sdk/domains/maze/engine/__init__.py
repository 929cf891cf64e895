"""A maze engine for training data and benchmarks, compiled by numba.

- `distances`: distance fields, the canonical shortest path, training targets, numbers of paths;
- `judge`: verdicts on answers, and answers drawn by direction fields;
- `generate`: mazes of seven kinds, by seed; `perfect`: those without loops;
- `splitmix`: the random numbers behind them.

Boards are uint8 arrays of shape (n, rows, columns) with the values of `trm_sdk.domains.maze.rules`,
which does the same without numba wherever a puzzle is solved. The compiled loops are cached on
disk, release the GIL and use one core.
"""
