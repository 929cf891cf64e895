"""What importing costs: nothing heavy, and never PyTorch where it is not asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import trm_sdk

HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "PIL", "asyncio")


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh Python holds after running `code`."""
    tail = "; import sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing() -> None:
    assert not modules_after("import trm_sdk") & set(HEAVY)
    assert "trm_sdk" in modules_after("import trm_sdk")


def test_the_api_comes_without_a_runtime() -> None:
    code = "from trm_sdk import " + ", ".join(trm_sdk.__all__)
    assert not modules_after(code) & {"torch", "onnx", "onnxruntime", "rich", "PIL"}


def test_solving_needs_no_torch(model_folder: Path) -> None:
    code = (
        "from trm_sdk import Solver; "
        f"s = Solver.from_pretrained({str(model_folder)!r}); "
        "assert s.solve('1.34341..14343.1').verified; "
        "assert all(x.verified for x in s.solve_many(['1.34341..14343.1'] * 3)); "
        "list(s.stream('1.34341..14343.1'))"
    )
    loaded = modules_after(code)
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "safetensors", "rich", "PIL"}


def test_the_command_line_needs_no_torch(model_folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['trm', 'solve', '1.34341..14343.1', '-m', "
        f"{str(model_folder)!r}]\n"
        "from trm_sdk.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "pass"
    )
    assert not modules_after(code) & {"torch", "onnx", "safetensors", "PIL"}


def test_everything_exported_is_there() -> None:
    assert set(trm_sdk.__all__) <= set(dir(trm_sdk))
    for name in trm_sdk.__all__:
        assert getattr(trm_sdk, name) is not None
    with pytest.raises(AttributeError, match="Slover"):
        trm_sdk.Slover  # type: ignore[attr-defined]  # noqa: B018


def test_typing_sees_what_is_loaded_lazily() -> None:
    """Every lazy name has a real import for type checkers, of the same object."""
    source = Path(trm_sdk.__file__).read_text(encoding="utf-8")
    block = source.split("if TYPE_CHECKING:")[1].split("__version__")[0]
    for name, home in trm_sdk._HOMES.items():
        assert f"from trm_sdk.{home} import" in block
        assert name in block
