"""Both runtimes keep one protocol, agree with each other, and refuse what they can't run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from small_models import random_model

from export.exporter import export_onnx
from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError, TRMError
from trm_sdk.runtimes.base import Runtime, StepInterruptedError
from trm_sdk.runtimes.graph_file import graph_metadata
from trm_sdk.runtimes.noise import GaussianTable
from trm_sdk.runtimes.onnx import OnnxRuntime, rows_a_call
from trm_sdk.runtimes.select import open_runtime, save_runtime
from trm_sdk.runtimes.torch import TorchRuntime

MIXERS = ("structured", "mlp_t", "attention")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A step graph of a random model of every mixer, and graphs that are none."""
    folder = tmp_path_factory.mktemp("graphs")
    for mixer in MIXERS:
        export_onnx(random_model(mixer), folder / f"{mixer}.onnx")
    export_onnx(random_model(), folder / "loop.onnx", "loop")
    export_onnx(random_model(), folder / "fixed.onnx", batch=2)
    return {path.stem: path for path in folder.glob("*.onnx")}


@pytest.fixture(params=[(kind, mixer) for kind in ("onnx", "torch") for mixer in MIXERS], ids=str)
def runtime(request: pytest.FixtureRequest, graphs: dict[str, Path]) -> Runtime:
    kind, mixer = request.param
    if kind == "onnx":
        return OnnxRuntime(graphs[mixer], threads=1)
    spec, model = random_model(mixer)
    return TorchRuntime(model, spec, device="cpu")


def some_tokens(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 6, (rows, 16), dtype=np.int32)


def run(runtime: Runtime, state: Any, steps: int) -> tuple[Any, list[np.ndarray]]:
    seen = []
    for _ in range(steps):
        state, logits, halt, _ = runtime.step(state)
        seen.append(np.concatenate((logits.reshape(len(logits), -1), halt[:, None]), 1))
    return state, seen


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_runtimes_agree(graphs: dict[str, Path], mixer: str) -> None:
    spec, model = random_model(mixer)
    one, other = OnnxRuntime(graphs[mixer], threads=1), TorchRuntime(model, spec, device="cpu")
    assert one.spec == other.spec
    tokens = some_tokens(3)
    _, by_onnx = run(one, one.start(tokens), 4)
    _, by_torch = run(other, other.start(tokens), 4)
    # A random mlp_t amplifies rounding from step to step; see test_golden.
    for a, b in list(zip(by_onnx, by_torch, strict=True))[: 1 if mixer == "mlp_t" else 4]:
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


def test_outputs_have_the_stated_types(runtime: Runtime) -> None:
    model = runtime.spec.model
    _, logits, halt, _ = runtime.step(runtime.start(some_tokens(2)))
    assert (logits.dtype, logits.shape) == (np.float32, (2, 16, model.outputs))
    assert (halt.dtype, halt.shape) == (np.float32, (2,))


def test_a_row_is_its_own(runtime: Runtime) -> None:
    """However rows are restarted, chosen and joined, each goes on as if it were alone."""
    tokens = some_tokens(5)
    # One step is compared, so that a chaotic random model does not magnify rounding.
    alone = []
    for row in range(5):
        state, *_ = runtime.step(runtime.start(tokens[row : row + 1]))
        alone.append(run(runtime, state, 1)[1][0][0])
    first = [run(runtime, runtime.start(tokens[row : row + 1]), 1)[1][0][0] for row in (3, 4)]

    state, *_ = runtime.step(runtime.start(tokens[:3]))
    state = runtime.select(state, np.array([2, 0, 0, 1]))
    other, *_ = runtime.step(runtime.start(tokens[4:]))
    state = runtime.concatenate([state, other])
    state = runtime.restart(state, np.array([1, 3]), tokens[3:5])
    _, (seen,) = run(runtime, state, 1)
    expected = [alone[2], first[0], alone[0], first[1], alone[4]]
    np.testing.assert_allclose(seen, np.stack(expected), atol=1e-3, rtol=1e-3)


def test_rows_inherit_the_latents_of_others_and_keep_their_tokens(runtime: Runtime) -> None:
    tokens = some_tokens(3)
    state, *_ = runtime.step(runtime.start(tokens))
    kept = [runtime.select(state, np.array([row])) for row in range(3)]
    _, (expected,) = run(runtime, state, 1)

    # Rows that start with the same tokens, and inherit the latents, go on as those did.
    parents = runtime.concatenate([kept[2], kept[0]])
    heirs = runtime.inherit(runtime.start(tokens), np.array([2, 0]), parents)
    _, (seen,) = run(runtime, heirs, 1)
    np.testing.assert_allclose(seen[[0, 2]], expected[[0, 2]], atol=1e-3, rtol=1e-3)
    _, (anew,) = run(runtime, runtime.start(tokens), 1)
    np.testing.assert_allclose(seen[1], anew[1], atol=1e-3, rtol=1e-3)
    # With other tokens they don't; and the parents are as they were.
    heirs = runtime.inherit(runtime.start(tokens[[1, 1, 1]]), np.array([2, 0]), parents)
    _, (others,) = run(runtime, heirs, 1)
    assert not np.allclose(others[[0, 2]], expected[[0, 2]], atol=1e-2)
    _, (again,) = run(runtime, parents, 1)
    np.testing.assert_allclose(again, expected[[2, 0]], atol=1e-3, rtol=1e-3)


def test_tokens_given_are_not_changed(runtime: Runtime) -> None:
    tokens = some_tokens(2)
    before = tokens.copy()
    state, *_ = runtime.step(runtime.start(tokens[:1]))
    runtime.restart(state, np.array([0]), tokens[1:])
    assert (tokens == before).all()


def test_noise_reaches_its_rows_alone_and_comes_from_their_generators(runtime: Runtime) -> None:
    tokens = some_tokens(3)

    def after(scale: list[float], seeds: list[int], rows: list[int]) -> np.ndarray:
        rngs = [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]
        state = runtime.start(tokens[rows])
        state = runtime.perturb(state, np.array(scale, np.float32), rngs)
        return run(runtime, state, 1)[1][0]

    plain = after([0, 0, 0], [1, 2, 3], [0, 1, 2])
    noisy = after([0, 0.3, 0.3], [1, 2, 3], [0, 1, 2])
    # Compared by where each row's differences lie, for a batch changes the order of sums.
    moved = np.abs(noisy - plain).max(1)
    assert moved[0] < 1e-4
    assert (moved[1:] > 1e-2).all()
    alone = after([0.3], [2], [1])
    np.testing.assert_allclose(alone[0], noisy[1], atol=1e-3)
    assert np.abs(after([0.3], [5], [1])[0] - noisy[1]).max() > 1e-2


def test_the_table_of_noise_is_gaussian() -> None:
    table = GaussianTable((100, 200))
    rng = np.random.default_rng(0)
    draws = np.stack([table.draw(rng) for _ in range(50)])
    assert draws.dtype == np.float32
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert abs((np.abs(draws) < 1.96).mean() - 0.95) < 0.005
    assert abs(np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1]) < 0.05
    assert (draws[0] != draws[1]).any()
    with pytest.raises(ValueError, match="read-only"):
        table.draw(rng)[0, 0] = 1


def test_several_threads_may_run_one_runtime(runtime: Runtime) -> None:
    tokens = some_tokens(4)
    expected = [run(runtime, runtime.start(tokens[i : i + 1]), 3)[1] for i in range(4)]
    wrong: list[object] = []

    def work(i: int) -> None:
        for _ in range(20):
            _, seen = run(runtime, runtime.start(tokens[i : i + 1]), 3)
            if not all(np.array_equal(a, b) for a, b in zip(seen, expected[i], strict=True)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- what can't be run ----------------------------------------------------------------------


def altered(source: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    graph = onnx.load(source)
    change(graph)
    onnx.save(graph, target)
    return target


def set_metadata(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        kept = {prop.key: prop.value for prop in graph.metadata_props if prop.key != key}
        del graph.metadata_props[:]
        onnx.helper.set_model_props(graph, kept if value is None else kept | {key: value})

    return change


def rename_input(graph: onnx.ModelProto) -> None:
    for value in graph.graph.input:
        if value.name == "z":
            value.name = "latent"
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            if name == "z":
                node.input[place] = "latent"


def test_graphs_that_are_no_step_graph_are_refused(graphs: dict[str, Path], tmp_path: Path) -> None:
    step = graphs["structured"]
    (tmp_path / "noise.onnx").write_bytes(b"\x00\x01nothing" * 50)
    (tmp_path / "half.onnx").write_bytes(step.read_bytes()[: step.stat().st_size // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    other = {"seq_len": 25, "structure": None, "mixer": "mlp_t"}
    spec = OnnxRuntime(step).spec
    model = spec.model.model_copy(update=other)
    larger = spec.model_copy(update={"grid_shape": (5, 5), "model": model})
    for path, named in (
        (tmp_path / "none.onnx", "no graph at"),
        (tmp_path / "noise.onnx", "not a runnable ONNX graph"),
        (tmp_path / "half.onnx", "not a runnable ONNX graph"),
        (tmp_path / "empty.onnx", "not a runnable ONNX graph"),
        (graphs["loop"], "mode 'loop'.*mode 'step'"),
        (graphs["fixed"], "fixed batch of 2"),
        (altered(step, tmp_path / "a.onnx", set_metadata("trm_mode", None)), "'trm_mode'"),
        (altered(step, tmp_path / "b.onnx", set_metadata("trm_spec", None)), "'trm_spec'"),
        (altered(step, tmp_path / "c.onnx", set_metadata("trm_spec", "{")), "no valid model desc"),
        (altered(step, tmp_path / "d.onnx", set_metadata("trm_format", "99")), "format '99'"),
        (altered(step, tmp_path / "e.onnx", set_metadata("trm_format", "x")), "format 'x'"),
        (altered(step, tmp_path / "h.onnx", set_metadata("trm_format", "²")), "format '²'"),
        (altered(step, tmp_path / "f.onnx", rename_input), "'latent'"),
        (
            altered(step, tmp_path / "g.onnx", set_metadata("trm_spec", larger.to_json())),
            "input 'tokens' has shape",
        ),
    ):
        with pytest.raises(CheckpointError, match=named) as caught:
            OnnxRuntime(path)
        assert str(path) in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_metadata_is_read_from_graphs_of_every_mode(graphs: dict[str, Path]) -> None:
    assert graph_metadata(graphs["loop"])["trm_mode"] == "loop"
    assert graph_metadata(graphs["fixed"])["trm_mode"] == "step"
    with pytest.raises(CheckpointError, match="no graph at"):
        graph_metadata("nowhere.onnx")


def test_a_call_of_a_small_model_takes_as_many_rows_as_fit_the_cache() -> None:
    assert rows_a_call(81 * 9, 48) == 4  # of the bundled Sudoku model
    assert rows_a_call(30 * 30, 64) == 2  # mazes
    assert rows_a_call(4 * 4 * 4, 64) == 16  # no more than that, however small
    assert rows_a_call(1000 * 1000, 64) == 1  # no fewer, however large


def test_rows_of_a_batch_are_answered_whole_whatever_the_calls(graphs: dict[str, Path]) -> None:
    # 37 rows are calls of 16, 16 and 5 of one thread; of 12, 12 and 13 of three.
    tokens = some_tokens(37)
    runtimes = [OnnxRuntime(graphs["structured"], threads=threads) for threads in (1, 3)]
    singly = [runtimes[0].step(runtimes[0].start(row[None])) for row in tokens]
    for runtime in runtimes:
        found = runtime.step(runtime.start(tokens))
        np.testing.assert_allclose(
            found.logits, np.concatenate([one.logits for one in singly]), atol=1e-4
        )
        np.testing.assert_allclose(
            found.halt_logit, np.concatenate([one.halt_logit for one in singly]), atol=1e-4
        )


def test_devices_and_threads_are_checked(graphs: dict[str, Path]) -> None:
    path = graphs["structured"]
    spec, model = random_model()

    def both(device: str, threads: int | None) -> list[Callable[[], Runtime]]:
        return [
            lambda: OnnxRuntime(path, device, threads),
            lambda: TorchRuntime(model, spec, device, threads),
        ]

    for device in ("tpu", None, "cuda:²"):
        for make in both(device, None):  # type: ignore[arg-type]
            with pytest.raises(InvalidInputError, match=rf"'cuda.*got {device!r}"):
                make()
    with pytest.raises(InvalidInputError, match=r"got 'cuda:1'; .* runtime='torch'"):
        OnnxRuntime(path, "cuda:1")
    for threads in (0, 1025, True, 1.5, "2"):
        for make in both("cpu", threads):  # type: ignore[arg-type]
            with pytest.raises(InvalidInputError, match=f"from 1 to 1024; got {threads!r}"):
                make()
    with pytest.raises(InvalidInputError, match=r"precision .* got 'int4'"):
        TorchRuntime(model, spec, "cpu", precision="int4")
    assert OnnxRuntime(path, "cpu", 1).device == "cpu"


def test_providers_are_chosen_honestly(
    graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    path = graphs["structured"]
    available = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with pytest.raises(
        InvalidInputError, match=r"'cuda' is unavailable: .* supports only CPU \(missing: CUDA\)"
    ):
        OnnxRuntime(path, "cuda", 1)
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(InvalidInputError, match=r"'tensorrt' .*\(missing: Tensorrt\)"):
        OnnxRuntime(path, "tensorrt", 1)

    # A provider that is compiled in may still fail to load, which onnxruntime only warns of.
    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, data: bytes, options: Any, providers: list[str], **more: Any) -> None:
            if providers != ["CPUExecutionProvider"]:  # the trial step's
                asked.append(providers)
            super().__init__(data, options, providers=["CPUExecutionProvider"], **more)

    asked: list[list[str]] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(InvalidInputError, match=r"'cuda' .* CUDA could not be loaded"):
        OnnxRuntime(path, "cuda", 1)
    available.insert(0, "TensorrtExecutionProvider")
    with pytest.raises(InvalidInputError, match="could not be loaded"):
        OnnxRuntime(path, "tensorrt", 1)
    assert asked == [available[1:], available]
    with pytest.warns(RuntimeWarning, match="could not be loaded.*on the CPU"):
        assert OnnxRuntime(path, "auto", 1).device == "cpu"
    assert OnnxRuntime(path, "cpu", 1).device == "cpu"


def test_bfloat16_stays_close(graphs: dict[str, Path]) -> None:
    spec, model = random_model()
    exact = TorchRuntime(model, spec, device="cpu")
    rough = TorchRuntime(model, spec, device="cpu", precision="bfloat16")
    tokens = some_tokens(2)
    _, (a,) = run(exact, exact.start(tokens), 1)
    state, (b,) = run(rough, rough.start(tokens), 1)
    assert 0 < np.abs(a - b).max() < 0.2
    assert str(state.z.dtype) == "torch.float32"


def test_a_step_that_can_not_be_compiled_runs_uncompiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E.g. a machine without a compiler: the model still runs, and a warning says why."""

    def broken(*arguments: object) -> None:
        raise RuntimeError("no C++ compiler here\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda function, **options: broken)
    spec, model = random_model()
    plain = TorchRuntime(model, spec, device="cpu")
    compiled = TorchRuntime(model, spec, device="cpu", compile=True)
    tokens = some_tokens(3)
    state = compiled.start(tokens)
    with pytest.warns(RuntimeWarning, match="torch.compile failed.*no C.. compiler here$"):
        state, logits, *_ = compiled.step(state)
    expected = plain.step(plain.start(tokens)).logits
    assert np.array_equal(logits, expected)
    compiled.step(state)  # no second warning: it would be an error


def test_a_padded_batch_gives_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled step rounds batches up; the spare rows must not show."""
    sizes = []

    def compiled(function: Callable[..., Any], **options: object) -> Callable[..., Any]:
        def call(x: Any, y: Any, z: Any) -> Any:
            sizes.append(len(x))
            return function(x, y, z)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    spec, model = random_model()
    runtime = TorchRuntime(model, spec, device="cpu", compile=True)
    plain = TorchRuntime(model, spec, device="cpu")
    for rows in (1, 3, 4, 5):
        tokens = some_tokens(rows)
        _, seen = run(runtime, runtime.start(tokens), 2)
        _, expected = run(plain, plain.start(tokens), 2)
        np.testing.assert_allclose(seen[1], expected[1], atol=1e-4)
    assert sizes == [1, 1, 4, 4, 4, 4, 8, 8]


def test_states_share_the_buffers_of_a_compiled_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that live in buffers of fixed size, and move out for others, are what they were."""
    # The buffers are what is tested; compiling takes minutes and is PyTorch's own affair.
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    spec, model = random_model()
    tokens, index = some_tokens(7), np.array([2, 0])
    scale = np.array([0, 0.1, 0.2], np.float32)

    def work(runtime: TorchRuntime) -> list[np.ndarray]:
        rngs = [np.random.Generator(np.random.SFC64(seed)) for seed in range(3)]
        seen = []
        one, other = runtime.start(tokens[:3]), runtime.start(tokens[3:6])
        for _ in range(3):  # both want the buffers for four rows
            one, *a, _ = runtime.step(one)
            one = runtime.perturb(one, scale, rngs)
            other, *b, _ = runtime.step(other)
            seen += [*a, *b]
        one, *a, _ = runtime.step(one)
        one = runtime.restart(one, np.array([1]), tokens[6:])
        one = runtime.inherit(one, np.array([1]), runtime.select(other, np.array([0])))
        both = runtime.concatenate([runtime.select(one, index), other])
        both, *b, _ = runtime.step(both)
        one, *c, _ = runtime.step(one)  # it was not used up by `select`, which copies
        return [*seen, *a, *b, *c]

    expected = work(TorchRuntime(model, spec, device="cpu"))
    found = work(TorchRuntime(model, spec, device="cpu", compile=True))
    assert [value.shape for value in found] == [value.shape for value in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_a_step_is_really_compiled() -> None:
    spec, model = random_model()
    runtime = TorchRuntime(model, spec, device="cpu", compile=True)
    plain = TorchRuntime(model, spec, device="cpu")
    tokens = some_tokens(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # that it ran uncompiled is a warning
        _, found = run(runtime, runtime.start(tokens), 2)
    _, expected = run(plain, plain.start(tokens), 2)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_states_survive_when_compiling_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new batch size may be the first that the compiler can't take."""

    def compiled(function: Callable[..., Any], **options: object) -> Callable[..., Any]:
        def call(x: Any, y: Any, z: Any) -> Any:
            if len(x) > 4:
                raise RuntimeError("too large")
            return function(x, y, z)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    spec, model = random_model()
    tokens = some_tokens(9)
    seen = []
    for compile in (False, True):
        runtime = TorchRuntime(model, spec, device="cpu", compile=compile)
        few, *_ = runtime.step(runtime.start(tokens[:3]))
        many = runtime.start(tokens[3:])
        if compile:
            with pytest.warns(RuntimeWarning, match="torch.compile failed.*too large"):
                many, *a, _ = runtime.step(many)
        else:
            many, *a, _ = runtime.step(many)
        few, *b, _ = runtime.step(few)
        seen.append([*a, *b])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("compile", [False, True])
def test_cuda_graphs_give_what_the_cpu_gives(compile: bool) -> None:
    spec, model = random_model()
    exact = TorchRuntime(random_model()[1], spec, device="cpu")
    runtime = TorchRuntime(model, spec, device="cuda", compile=compile)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that it ran without is a warning
        for rows in (1, 3, 5, 70):
            tokens = some_tokens(rows)
            _, found = run(runtime, runtime.start(tokens), 4)
            _, expected = run(exact, exact.start(tokens), 4)
            np.testing.assert_allclose(found[0], expected[0], atol=1e-3)


def test_the_runtime_fits_what_is_there(model_folder: Path, tmp_path: Path) -> None:
    assert open_runtime(model_folder, "auto", "auto", 1).name == "onnx"
    assert open_runtime(model_folder / "model.onnx", "auto", "cpu", 1).name == "onnx"
    assert open_runtime(model_folder / "model.safetensors", "auto", "cpu", 1).name == "torch"
    assert open_runtime(model_folder, "torch", "cpu", 1).name == "torch"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model_folder / name).read_bytes())
    assert open_runtime(tmp_path, "auto", "cpu", 1).name == "torch"
    for path, runtime, named in (
        (tmp_path, "onnx", "there is no model.onnx in"),
        (model_folder / "model.safetensors", "onnx", "needs a .onnx graph"),
        (model_folder / "model.onnx", "torch", "is a graph"),
    ):
        with pytest.raises(CheckpointError, match=named):
            open_runtime(path, runtime, "cpu", 1)
    assert open_runtime(model_folder, "auto", "cpu", 1, "bfloat16").name == "torch"
    with pytest.raises(InvalidInputError, match="are for runtime='torch'"):
        open_runtime(model_folder, "onnx", "cpu", 1, "bfloat16")
    with pytest.raises(InvalidInputError, match="'auto', 'onnx' or 'torch'; got 'jax'"):
        open_runtime(model_folder, "jax", "cpu", 1)


def test_a_folder_s_config_has_its_say(model_folder: Path, tmp_path: Path) -> None:
    """Defaults for solving are the config's; it must be of the graph's model in all else."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    config = folder / "config.json"
    facts = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**facts, "solve": {"max_steps": 3}}), encoding="utf-8")
    assert open_runtime(folder, "onnx", "cpu", 1).spec.solve.max_steps == 3
    assert open_runtime(folder, "torch", "cpu", 1).spec.solve.max_steps == 3
    other = {**facts["model"], "L_cycles": 5}
    for text, named in (
        (json.dumps({**facts, "domain": "sudoku"}), "differ in domain: 'sudoku' and 'sudoku-4x4'"),
        (json.dumps({**facts, "model": other}), "differ in model.L_cycles: 5 and 1"),
        ("", "no valid model description"),
        ("{}", "no valid model description"),
    ):
        config.write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError, match=named) as caught:
            open_runtime(folder, "auto", "cpu", 1)
        assert str(config) in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "runtime", "named"),
    [
        ("torch", "torch", r"needs PyTorch to run.*trm-sdk\[torch\]"),
        ("safetensors", "torch", r"needs torch and safetensors: .*trm-sdk\[torch\]"),
        ("onnxruntime", "onnx", "needs onnxruntime: pip install onnxruntime"),
    ],
)
def test_a_missing_package_is_named_with_its_cure(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str, runtime: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "safetensors":
        monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(MissingDependencyError, match=named):
        open_runtime(model_folder, runtime, "cpu", 1)
    if missing != "onnxruntime":  # and the other runtime does without
        assert open_runtime(model_folder, "auto", "auto", 1).name == "onnx"


def test_a_runtime_without_a_file_is_refused_without_torch(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = OnnxRuntime(model_folder / "model.onnx", threads=1)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInputError, match="it has no file to save"):
        save_runtime(runtime, None, tmp_path)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_step_past_its_deadline_is_given_up_and_changes_nothing(
    model_folder: Path, rows: int
) -> None:
    runtime = OnnxRuntime(model_folder / "model.onnx", threads=2)
    tokens = some_tokens(rows)
    plain, tried = runtime.start(tokens), runtime.start(tokens)
    for _ in range(2):
        with pytest.raises(StepInterruptedError, match="still running at its deadline"):
            runtime.step(tried, perf_counter() - 1)
        plain, expected, *_ = runtime.step(plain)
        tried, found, *_ = runtime.step(tried, perf_counter() + 3600)
        np.testing.assert_array_equal(found, expected)
    runtime.close()
    with pytest.raises(TRMError, match="closed"):
        runtime.step(tried, perf_counter() + 3600)


def test_a_forked_process_has_a_watchdog_of_its_own(model_folder: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    code = (
        "import os, sys, time, numpy as np\n"
        "from trm_sdk.runtimes.onnx import OnnxRuntime\n"
        "from trm_sdk.runtimes.watchdog import run_until\n"
        f"r = OnnxRuntime({str(model_folder / 'model.onnx')!r}, threads=1)\n"
        "s = r.start(np.ones((1, 16), np.int32))\n"
        "r.step(s, time.perf_counter() + 3600)\n"
        "if not os.fork():\n"
        "    with run_until(r._ort, time.perf_counter() + 0.1) as options:\n"
        "        while not options.terminate: time.sleep(0.01)\n"
        "    sys.exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "7"
