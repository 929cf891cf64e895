"""A graph from a stranger is read before it is run, and tried before it is trusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from fresh_process import ROOT, probe
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from trm_sdk.errors import CheckpointError, TRMError
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes import graph_file
from trm_sdk.runtimes.graph_file import read_graph
from trm_sdk.runtimes.graph_session import TRIAL_MEMORY
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.watchdog import run_until
from trm_sdk.solver import Solver

BUNDLED = ROOT / "trm_sdk" / "pretrained" / "sudoku-4x4" / "model.onnx"
SHARED = ROOT.parent / "shared" / "trust" / "onnx"
Change = Callable[[onnx.ModelProto], None]


def altered(path: Path, change: Change) -> Path:
    graph = onnx.load(BUNDLED)
    change(graph)
    path.write_bytes(graph.SerializeToString())
    return path


def outside(name: str = "w") -> TensorProto:
    """Weights that are said to lie in /etc/passwd."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return tensor


def body(*tensors: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.GraphProto:
    values = [helper.make_tensor_value_info("i", TensorProto.FLOAT, [4])]
    return helper.make_graph(list(nodes), "body", [], values, list(tensors))


def node(*arguments: object, **attributes: object) -> Change:
    return lambda graph: graph.graph.node.append(helper.make_node(*arguments, **attributes))


def function(domain: str, *nodes: onnx.NodeProto, name: str = "F") -> Change:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("trm", 1)]

    def change(graph: onnx.ModelProto) -> None:
        graph.functions.append(helper.make_function(domain, name, [], ["w"], list(nodes), opsets))

    return change


def without_location(graph: onnx.ModelProto) -> None:
    tensor = outside()
    tensor.ClearField("data_location")
    graph.graph.initializer.append(tensor)


def sparse(graph: onnx.ModelProto) -> None:
    one = numpy_helper.from_array(np.ones(1, np.float32), "w")
    place = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    graph.graph.sparse_initializer.append(helper.make_sparse_tensor(one, place, [2**40]))


def larger_than_held(graph: onnx.ModelProto) -> None:
    graph.graph.initializer.append(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20], raw_data=b"1234")
    )


def inner(name: str, *tensors: TensorProto) -> onnx.NodeProto:
    return helper.make_node(name, ["c"], ["i"], then_branch=body(*tensors), else_branch=body())


CONSTANT = helper.make_node("Constant", [], ["i"], value=outside())
NOT_GRAPHS: dict[str, tuple[Change, str]] = {
    "weights": (lambda g: g.graph.initializer.append(outside()), "external data"),
    "weights, unsaid": (without_location, "external data"),
    "attribute": (lambda g: g.graph.node.append(CONSTANT), "external data"),
    "attributes": (node("X", [], ["i"], values=[outside(), outside()]), "external data"),
    "subgraph": (lambda g: g.graph.node.append(inner("If", outside())), "external data"),
    "nested subgraph": (
        node("Loop", [], ["i"], body=body(nodes=(inner("If", outside()),))),
        "external data",
    ),
    "node of a subgraph": (node("Scan", [], ["i"], body=body(nodes=(CONSTANT,))), "external data"),
    "function": (function("trm", CONSTANT), "external data"),
    "sparse": (sparse, "sparse weights"),
    "size": (larger_than_held, r"shape \(1048576, 1048576\) is incomplete"),
    "operator": (node("Steal", [], ["i"], domain="evil"), "'Steal' of the domain 'evil'"),
    "contrib": (node("Gelu", ["y"], ["i"], domain="com.microsoft"), "'Gelu' of the domain 'com"),
    "deep": (node("If", [], ["i"], then_branch=body(nodes=(
        helper.make_node("X", [], [], domain="evil"),
    ))), "of the domain 'evil'"),
    "overridden": (function("", name="MatMul"), "redefines 'MatMul' of the domain ''"),
    "unknown": (node("G", [], ["i"], domain="trm"), "'G' of the domain 'trm'"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_GRAPHS)
def test_what_reaches_outside_is_refused_before_onnxruntime_sees_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, named = NOT_GRAPHS[what]
    path = altered(tmp_path / "a.onnx", change)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)  # calling it would be a TypeError
    with pytest.raises(CheckpointError, match=named) as caught:
        OnnxRuntime(path, threads=1)
    assert str(path) in str(caught.value)
    with pytest.raises(CheckpointError, match=named):
        read_graph(path)


def calls_of_calls(graph: onnx.ModelProto) -> None:
    """10 ** 9 nodes when written out."""
    for depth in range(9):
        calls = [helper.make_node(f"F{depth + 1}", [], ["w"], domain="trm")] * 10
        function("trm", *calls, name=f"F{depth}")(graph)
    function("trm", helper.make_node("Constant", [], ["w"], value_int=1), name="F9")(graph)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (node("Loop", [], ["i"], body=body()), r"control flow \(Loop"),
        (node("If", ["c"], ["i"], then_branch=body(), else_branch=body()), r"control flow \(If"),
        (node("Scan", [], ["i"], body=body()), r"control flow \(Scan"),
        (node("SequenceMap", [], ["i"], body=body()), r"control flow \(SequenceMap"),
        (node("Relu", ["y"], ["i"], body=body()), "control flow"),
        (calls_of_calls, "defines functions"),
    ],
)
def test_a_step_graph_has_no_control_flow(change: Change, named: str, tmp_path: Path) -> None:
    path = altered(tmp_path / "a.onnx", change)
    with pytest.raises(CheckpointError, match=named):
        OnnxRuntime(path, threads=1)
    assert read_graph(path).metadata["trm_mode"] == "step"


# --- text and bytes -------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"tokens", b"trm_spec", b"logits", b"batch", b"MatMul"])
def test_text_that_is_not_utf8_is_refused(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(BUNDLED.read_bytes().replace(text, b"\xff\xfe" + text[2:]))
    with pytest.raises(CheckpointError, match="text that is not UTF-8"):
        OnnxRuntime(path, threads=1)


def test_a_graph_in_ort_format_is_refused_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x18\x00\x00\x00ORTM" + bytes(100))
    with pytest.raises(CheckpointError, match="ORT format"):
        OnnxRuntime(path, threads=1)


def test_a_file_larger_than_an_onnx_file_can_be_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # takes no room on the disk
    with pytest.raises(CheckpointError, match="larger than an ONNX file can be"):
        OnnxRuntime(path, threads=1)


def test_graphs_within_graphs_are_walked_to_a_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = body()
    for _ in range(4):
        nested = body(nodes=(helper.make_node("If", ["c"], ["i"], then_branch=nested),))
    path = altered(tmp_path / "a.onnx", node("If", ["c"], ["i"], then_branch=nested))
    assert read_graph(path).metadata["trm_mode"] == "step"
    monkeypatch.setattr(graph_file, "_DEEPEST", 8)
    with pytest.raises(CheckpointError, match="nested too deep"):
        OnnxRuntime(path, threads=1)


def test_more_nodes_than_any_model_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_file, "_MOST_NODES", 100)
    with pytest.raises(CheckpointError, match="more than 100 nodes"):
        OnnxRuntime(BUNDLED, threads=1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_graphs_raise_our_errors_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(BUNDLED.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            whole[place] = data.draw(st.integers(0, 255))
        else:
            del whole[place : place + data.draw(st.integers(1, 50))]
    path = tmp_path_factory.mktemp("damaged") / "a.onnx"
    path.write_bytes(whole)
    with suppress(TRMError):
        Solver.from_pretrained(path, threads=1).solve("1.34341..14343.1")


# --- the trial step -------------------------------------------------------------------------


def replace_output(name: str, *nodes: onnx.NodeProto, shape: tuple[object, ...] | None) -> Change:
    """Make an output of its former value, which goes under the name ``old``."""

    def change(graph: onnx.ModelProto) -> None:
        for one in graph.graph.node:
            one.output[:] = ["old" if value == name else value for value in one.output]
        graph.graph.node.extend(nodes)
        kept = [value for value in graph.graph.output if value.name != name]
        del graph.graph.output[:]
        kept.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        graph.graph.output.extend(kept)

    return change


def then(name: str, *steps: tuple[str, object], shape: tuple[object, ...] | None = None) -> Change:
    """Apply operators with one constant each to an output."""

    def change(graph: onnx.ModelProto) -> None:
        nodes, before = [], "old"
        for number, (op, constant) in enumerate(steps):
            after = name if number == len(steps) - 1 else f"between{number}"
            inputs = [before]
            if constant is not None:
                tensor = numpy_helper.from_array(np.array(constant), f"constant{number}")
                graph.graph.initializer.append(tensor)
                inputs.append(tensor.name)
            nodes.append(helper.make_node(op, inputs, [after]))
            before = after
        replace_output(name, *nodes, shape=shape)(graph)

    return change


def beside(*steps: tuple[str, object]) -> Change:
    """Add to the halting logit nothing at all, computed in so many steps."""

    def change(graph: onnx.ModelProto) -> None:
        then("halt_logit", *steps)(graph)
        for one in graph.graph.node:
            one.output[:] = ["made" if value == "halt_logit" else value for value in one.output]
        graph.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
        graph.graph.node.extend(
            [
                helper.make_node("ReduceMax", ["made"], ["largest"], keepdims=0),
                helper.make_node("Mul", ["largest", "nothing"], ["zero"]),
                helper.make_node("Add", ["old", "zero"], ["halt_logit"]),
            ]
        )
        graph.graph.output[-1].type.tensor_type.shape.dim.add().dim_param = "batch"

    return change


def as_often_as(source: str, times: int) -> Change:
    """Repeat the halting logit 1 + times * the largest number of an input."""

    def change(graph: onnx.ModelProto) -> None:
        for name, constant in (("times", [times]), ("one", [1])):
            tensor = numpy_helper.from_array(np.array(constant, np.int64), name)
            graph.graph.initializer.append(tensor)
        nodes = [
            helper.make_node("Cast", [source], ["whole"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["whole"], ["largest"], keepdims=0),
            helper.make_node("Ceil", ["largest"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["number"], to=TensorProto.INT64),
            helper.make_node("Mul", ["number", "times"], ["more"]),
            helper.make_node("Add", ["more", "one"], ["often"]),
            helper.make_node("Tile", ["old", "often"], ["halt_logit"]),
        ]
        replace_output("halt_logit", *nodes, shape=None)(graph)

    return change


MANY = TRIAL_MEMORY  # floats: four times what may be
BOMBS: dict[str, tuple[Change, str]] = {
    "scalar": (then("halt_logit", ("ReduceSum", [0])), "'halt_logit' has shape"),
    "unknown": (
        then("halt_logit", ("Reshape", [1, 1, -1]), ("Squeeze", None), shape=None),
        r"'halt_logit' of one row is float32 of shape \(\)",
    ),
    "rank": (then("logits", ("Unsqueeze", [0])), "output 'logits' has shape"),
    "expand": (beside(("Expand", [MANY, 1])), "one row takes more than 256 MB"),
    "tile": (beside(("Tile", [MANY])), "more than 256 MB"),
    "tokens": (as_often_as("tokens", 1), "'halt_logit' of one row is float32 of shape"),
    "tokens, many": (as_often_as("tokens", MANY // 4), "more than 256 MB"),
    "product": (
        beside(("Expand", [2**14, 1]), ("MatMul", np.ones((1, 2**14), np.float32))),
        "more than 256 MB",
    ),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_graph_that_gives_or_takes_something_else_is_refused_at_loading(
    what: str, tmp_path: Path
) -> None:
    change, named = BOMBS[what]
    path = altered(tmp_path / "a.onnx", change)
    with pytest.raises(CheckpointError, match=named):
        OnnxRuntime(path, threads=1)


def test_a_graph_that_gives_other_sizes_later_is_an_error_of_ours(tmp_path: Path) -> None:
    """In the trial step y is zeros; in the second step of a puzzle it no longer is."""
    path = altered(tmp_path / "a.onnx", as_often_as("y", 1))
    solver = Solver.from_pretrained(path, threads=1)
    with pytest.raises(TRMError, match=r"'halt_logit' has shape \(\d+,\), not \(1,\)"):
        solver.solve("1.34341..14343.1", SolveOptions(verify=False, max_steps=2))


def test_a_step_that_takes_for_ever_is_refused(tmp_path: Path) -> None:
    """Ten thousand products of 1000 x 1000 matrices: minutes."""
    square = np.full((1000, 1000), 1 / 1000, np.float32)

    def change(graph: onnx.ModelProto) -> None:
        products = [("MatMul", np.float32(0))] * 10_000
        beside(("Expand", [1000, 1000]), *products)(graph)
        del graph.graph.initializer[-10_001:]
        graph.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
        graph.graph.initializer.append(numpy_helper.from_array(square, "square"))
        for one in graph.graph.node:
            if one.op_type == "MatMul" and one.input[1].startswith("constant"):
                one.input[1] = "square"

    path = altered(tmp_path / "a.onnx", change)
    with pytest.raises(CheckpointError, match=r"one row was not done after 1\.5 s"):
        OnnxRuntime(path, threads=1)


def test_a_run_ends_at_its_deadline() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [500, 500]) for name in "xy"]
    names = ["x", *(f"v{i}" for i in range(20_000)), "y"]
    nodes = [helper.make_node("MatMul", ["x", a], [b]) for a, b in pairwise(names)]
    graph = helper.make_graph(nodes, "long", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    began = time.perf_counter()
    with (
        pytest.raises(Exception, match="terminate flag"),
        run_until(onnxruntime, began + 0.2) as run_options,
    ):
        session.run(None, {"x": np.zeros((500, 500), np.float32)}, run_options)
    assert time.perf_counter() - began > 0.19


def test_a_model_that_works_is_not_held_to_the_trial_s_memory() -> None:
    """Thousands of rows at once take more than the trial step may."""
    runtime = OnnxRuntime(BUNDLED, threads=1)
    runtime._by_rows = False  # one call for the whole batch
    rows = TRIAL_MEMORY // (16 * 4 * 2 * runtime.spec.model.swiglu_size * 4) + 1000
    output = runtime.step(runtime.start(np.zeros((rows, 16), np.int32)))
    assert len(output.halt_logit) == rows


# --- the inputs of an audit -----------------------------------------------------------------


PROBE = """
import sys
from trm_sdk import Solver
from trm_sdk.errors import CheckpointError
try:
    Solver.from_pretrained(sys.argv[1], threads=1)
except CheckpointError as error:
    assert "\\n" not in str(error)
else:
    sys.exit("opened")
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
assert int(peak.split()[1]) < 500 * 1024
"""


@pytest.mark.skipif(not SHARED.is_dir(), reason="no inputs of the audit")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*")), ids=lambda path: path.name)
def test_graphs_of_the_audit_are_refused_in_one_sentence(path: Path) -> None:
    assert probe(PROBE, path) == ""
