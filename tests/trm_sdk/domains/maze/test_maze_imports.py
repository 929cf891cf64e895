"""Rules and text of mazes work where numba is not installed."""

from __future__ import annotations

import subprocess
import sys


def test_rules_and_text_need_no_numba() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from trm_sdk.domains.maze import rules, text\n"
        "maze = text.parse_maze('S.#/..G'.replace('/', chr(10)))[None]\n"
        "answers, lengths = rules.shortest_path(maze)\n"
        "assert lengths.tolist() == [3], lengths\n"
        "assert rules.judge(maze, answers).tolist() == [2]\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'matplotlib', 'PIL'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_numba_is_named_with_what_installs_it() -> None:
    code = "import sys; sys.modules['numba'] = None\nimport trm_sdk.domains.maze.engine.generate"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError: generating and rating puzzles needs numba" in done.stderr
    assert "pip install 'trm-sdk[train]'" in done.stderr
