"""``trm-export``: write graph files from checkpoints; inspect, verify and time them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_args

import click

from trm_sdk.choices import Explore
from trm_sdk.cli.arguments import ModelName
from trm_sdk.cli.console import ErrorHandlingGroup
from trm_sdk.limits import MAX_THREADS

from .options import BATCHES, STEPS, Functions, Groups, Mode
from .quantize import PRECISIONS

MAX_PUZZLES = 1_000_000
THREADS = click.IntRange(1, MAX_THREADS)


@click.group(cls=ErrorHandlingGroup)
def main() -> None:
    """Export Tiny Recursion Models to ONNX, and inspect, verify and time the result."""


def _batch(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "dynamic":
        return None
    # Nine digits: Python refuses to read numbers of thousands.
    if not (value.isascii() and value.isdecimal() and int(value[:9]) in BATCHES):
        raise click.BadParameter(
            f"{value!r} is neither 'dynamic' nor a number from 1 to {BATCHES[-1]}"
        )
    return int(value)


class _Size(click.ParamType):  # type: ignore[type-arg]
    """Rows and columns of a board, as in 30x30."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", value)
        if found is None:
            self.fail(f"{value!r} is not a size such as 30x30", param, ctx)
        return int(found[1]), int(found[2])


SIZE = _Size()
GROUPS = click.option(
    "--groups",
    type=click.Choice(get_args(Groups)),
    default="auto",
    show_default=True,
    help="For models of block 'message': build the groups of cells into the graph (fixed), or take "
    "them as inputs, with the model's own as the default (optional) or without one (required), so "
    "that puzzles can bring their own. auto: optional where the domain's puzzles bring groups, "
    "else fixed.",
)


def _seconds(default: float) -> Callable[[Any], Any]:
    """Return the option of how long to measure."""
    return click.option(
        "--seconds",
        type=click.FloatRange(0.01),
        default=default,
        show_default=True,
        help="Time to measure for.",
    )


CALIBRATION = click.option(
    "--calibration",
    metavar="FILE",
    help="Puzzles to find int8s's ranges on [generated ones].",
)


@main.command(short_help="Write a model as a verified ONNX graph.")
@click.argument("checkpoint", metavar="CKPT|NAME", type=ModelName())
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False), help="File to write."
)
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    default="step",
    show_default=True,
    help="One supervision step, a loop that halts, or a chain of steps without control flow.",
)
@click.option("--max-steps", type=int, help="Steps of mode 'unroll' [the model's own].")
@click.option(
    "--batch",
    callback=_batch,
    metavar="dynamic|N",
    default="dynamic",
    show_default=True,
    help="Any batch size, or exactly N.",
)
@click.option(
    "--opset", type=int, default=17, show_default=True, help="Version of the standard operators."
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="How weights are stored. int8 and int8s also multiply in integers, with activations "
    "scaled by each call's own range, or by ranges calibrated beforehand. int4n needs "
    "onnxruntime's MatMulNBits; all others use standard operators only.",
)
@click.option(
    "--functions",
    type=click.Choice(get_args(Functions)),
    default="auto",
    show_default=True,
    help="In mode 'unroll', store the step once, as a function. auto: where that saves much.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="NAME",
    help="Also output this head [in mode 'step': those that answers are decoded from].",
)
@click.option("--no-heads", is_flag=True, help="Output no such head.")
@GROUPS
@click.option("--puzzles", metavar="FILE", help="Also compare answers on its first 20 puzzles.")
@CALIBRATION
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def onnx(
    checkpoint: str,
    output: str,
    puzzles: str | None,
    calibration: str | None,
    as_json: bool,
    heads: tuple[str, ...],
    no_heads: bool,
    **options: Any,
) -> None:
    """Write a checkpoint or bundled model as an ONNX graph, once it agrees with PyTorch."""
    from .exporter import export_onnx

    if heads and no_heads:
        raise click.UsageError("--head and --no-heads exclude each other")
    options["heads"] = heads if heads or no_heads else None
    report = export_onnx(checkpoint, output, puzzles=puzzles, calibration=calibration, **options)
    check = report.verification
    if as_json:
        facts = {
            "path": str(report.path),
            "mode": report.mode,
            "precision": report.precision,
            "bytes": report.bytes,
            "parameter_bytes": report.parameter_bytes,
            "opset": report.opset,
            "ir_version": report.ir_version,
            "nodes": report.nodes,
            "verification": vars(check),
            "puzzles": vars(report.puzzles) if report.puzzles else None,
        }
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{report.path}: {report.mode}, {report.precision}, {report.bytes:,} bytes "
        f"({report.bytes / report.parameter_bytes:.3f}x its parameters), opset {report.opset}, "
        f"{report.nodes} nodes"
    )
    click.echo(describe(check))
    if report.puzzles:
        click.echo(describe_puzzles(report.puzzles))


def describe_puzzles(check: Any) -> str:
    """Return a comparison on puzzles in words."""
    settled = check.puzzles - check.unsettled
    text = (
        f"on {check.puzzles} puzzles, at most {check.steps} steps each: equal answers "
        f"{check.answers} of {settled}, equal halting steps {check.halting} of {settled}"
    )
    return text + (f"; rounding decides {check.unsettled} more" if check.unsettled else "")


def describe(check: Any) -> str:
    """Return a verification in words."""
    parts = [
        f"against PyTorch, {check.examples} inputs: {check.steps} steps "
        f"{check.final_difference:.1e}"
    ]
    if check.max_difference is not None:
        parts.append(f"{check.passes} passes {check.max_difference:.1e}")
    if check.noise is not None:
        parts.append(f"PyTorch's own rounding {check.noise:.1e}")
    parts.append(f"equal answers {check.answers:.1%}")
    if check.halting is not None:
        parts.append("equal halting steps" if check.halting else "DIFFERENT halting steps")
    return ", ".join(parts)


@main.command(short_help="Check a graph file against PyTorch.")
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="CKPT|NAME", help="Compare with this model's weights.")
@click.option(
    "--examples",
    type=click.IntRange(1, BATCHES[-1]),
    help="Random puzzles [4, or the graph's own batch].",
)
@click.option(
    "--steps",
    type=click.IntRange(1, STEPS[-1]),
    help="Supervision steps [3, or the graph's own].",
)
@click.option("--puzzles", metavar="FILE", help="Also compare answers on the puzzles of a file.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_PUZZLES),
    default=20,
    show_default=True,
    help="Maximum puzzles.",
)
def verify(
    file: str,
    against: str | None,
    examples: int | None,
    steps: int | None,
    puzzles: str | None,
    limit: int,
) -> None:
    """Check that a graph file is valid, has its weights intact, and agrees with PyTorch."""
    from .errors import ExportError
    from .exporter import load_source, rounded_model, state_arrays, verify_shallow
    from .graph_file import check_weights, fixed_batch, load_graph, metadata, model_of
    from .puzzles import read_puzzles
    from .verify import verify_graph
    from .verify_puzzles import verify_puzzles

    graph = load_graph(file)
    precision: Any = metadata(graph)["precision"]
    if not against and precision != "fp32":
        raise ExportError(
            f"{file} stores its weights as {precision}: name the model to compare it with "
            "(--against CKPT)"
        )
    spec, model = load_source(against) if against else model_of(graph, file)
    weights = state_arrays(model)
    check_weights(graph, weights.sha256, file)
    model = rounded_model(spec, model, precision)
    if examples is None and not fixed_batch(graph):
        examples = 4
    result = verify_graph(graph, model, examples=examples, steps=steps)
    result = verify_shallow(result, graph, spec, weights, model)
    click.echo(f"{file}: {result.mode}, {result.precision}; {describe(result)}")
    result.require()
    if puzzles:
        check = verify_puzzles(graph, model, read_puzzles(puzzles, spec, limit))
        click.echo(describe_puzzles(check))
        check.require()


@main.command(short_help="Time a graph file under onnxruntime.")
@click.argument("file", metavar="FILE")
@click.option(
    "--batch",
    type=click.IntRange(1, BATCHES[-1]),
    default=1,
    show_default=True,
    help="Puzzles per call.",
)
@click.option("--threads", type=THREADS, default=1, show_default=True, help="CPU threads.")
@click.option(
    "--steps",
    type=click.IntRange(1, STEPS[-1]),
    help="Steps of mode 'loop' [the model's own]; in other modes the graph fixes them.",
)
@_seconds(3.0)
@click.option(
    "--board",
    type=SIZE,
    metavar="ROWSxCOLUMNS",
    help="Board size, for graphs that take any [the model's usual one].",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Device to run on.",
)
@click.option(
    "--spin", is_flag=True, help="Let threads spin within a call; only for an idle machine."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(
    file: str,
    batch: int,
    threads: int,
    steps: int | None,
    seconds: float,
    board: tuple[int, int] | None,
    device: str,
    spin: bool,
    as_json: bool,
) -> None:
    """Time a graph file under onnxruntime: percentiles of one call's latency."""
    from .bench import bench_graph
    from .graph_file import load_graph

    timing = bench_graph(
        load_graph(file),
        batch=batch,
        threads=threads,
        steps=steps,
        seconds=seconds,
        device=device,
        spin=spin,
        board=board,
    )
    if as_json:
        click.echo(json.dumps(vars(timing)))
        return
    click.echo(
        f"{file}: {timing.mode}, batch {timing.batch}, {timing.threads} threads, "
        f"{timing.steps} supervision steps a call, {timing.calls} calls: "
        f"p50 {timing.p50:.3f} ms, p90 {timing.p90:.3f} ms, p99 {timing.p99:.3f} ms; "
        f"{timing.p50 / timing.steps / timing.batch:.3f} ms per step and puzzle"
    )


@main.command(short_help="Compare the precisions of a model.")
@click.argument("checkpoint", metavar="CKPT|NAME", type=ModelName())
@click.option(
    "--puzzles",
    metavar="FILE",
    help="CSV with question and answer [generated puzzles that training holds out].",
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_PUZZLES),
    default=500,
    show_default=True,
    help="Maximum puzzles.",
)
@click.option(
    "--max-steps", type=click.IntRange(1, STEPS[-1]), help="Supervision steps [the model's own]."
)
@click.option("--threads", type=THREADS, default=2, show_default=True, help="CPU threads.")
@_seconds(10.0)
@CALIBRATION
@click.option("-o", "--output", type=click.Path(), help="Also write OUTPUT.md and OUTPUT.json.")
def report(checkpoint: str, output: str | None, **options: Any) -> None:
    """Compare the precisions: file size, exact accuracy on held-out puzzles, speed.

    Speed is that of one supervision step at batch 1; all precisions and eager PyTorch take turns.
    """
    from .report import compare, markdown, report_files, write_report

    if output is not None:
        report_files(output)  # refused now, rather than after minutes of measuring
    rows = compare(checkpoint, **options)
    click.echo(markdown(rows))
    if output is not None:
        write_report(rows, output)


@main.command(short_help="Describe a graph file.")
@click.argument("file", metavar="FILE")
def info(file: str) -> None:
    """Describe a graph file: its metadata, inputs, outputs, operators, size and cost."""
    from collections import Counter

    import onnx as onnx_package

    from trm_sdk.model.cost import step_flops
    from trm_sdk.persistence.spec import ModelSpec

    from .bench import memory
    from .graph_file import load_graph, metadata, model_nodes

    graph = load_graph(file)
    for key, value in metadata(graph).items():
        click.echo(f"{key}: {value}")
    counts = Counter(node.op_type for node in model_nodes(graph))
    click.echo("operators: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()))
    for kind, values in (("input", graph.graph.input), ("output", graph.graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            dims = [str(dim.dim_value or dim.dim_param) for dim in tensor.shape.dim]
            dtype = onnx_package.TensorProto.DataType.Name(tensor.elem_type).lower()
            click.echo(f"{kind}: {value.name} {dtype} ({', '.join(dims)})")
    stored = sum(tensor.ByteSize() for tensor in graph.graph.initializer)
    click.echo(f"bytes: {graph.ByteSize():,}, of which weights and constants {stored:,}")
    flops = step_flops(ModelSpec.from_json(metadata(graph)["trm_spec"], file).model)
    needs = memory(graph)
    click.echo(
        f"memory for one puzzle, at least: {needs.total:,} bytes (weights {needs.weights:,}, "
        f"activations {needs.activations:,}), and the runtime's own"
    )
    click.echo(f"matrix FLOPs a supervision step and puzzle: {flops:,}")


@main.command(short_help="Write a model folder for Solver.")
@click.argument("checkpoint", metavar="CKPT|NAME", type=ModelName())
@click.option("-o", "--output", "folder", required=True, help="Folder to write.", metavar="FOLDER")
@click.option("--max-steps", type=int, help="Default steps per attempt of the model.")
@click.option("--later-steps", type=int, help="Default steps of attempts but the first.")
@click.option("--attempts", type=int, help="Default attempts per puzzle.")
@click.option(
    "--explore",
    type=click.Choice(get_args(Explore)),
    help="Default for how later attempts differ from the first.",
)
@click.option("--noise", type=float, help="Default standard deviation of the noise.")
@click.option("--patience", type=int, help="Default steps that the first attempt runs alone.")
@click.option("--width", type=int, help="Default attempts in flight per puzzle.")
@GROUPS
def bundle(checkpoint: str, folder: str, groups: Any, **solve: Any) -> None:
    """Write a model folder for Solver.from_pretrained: description, weights, graph."""
    from trm_sdk.options import SolveOptions

    from .bundle import export_bundle
    from .exporter import load_source

    given = SolveOptions(**{name: value for name, value in solve.items() if value is not None})
    spec, model = load_source(checkpoint)
    report = export_bundle((spec, model), folder, given.over(spec.solve), groups)
    click.echo(
        f"{folder}: graph of {report.bytes:,} bytes, {report.parameter_bytes // 4:,} parameters, "
        f"differs from PyTorch by {report.max_difference:.1e}"
    )


@main.command(short_help="Write a folder for the browser.")
@click.argument("model", metavar="CKPT|NAME", type=ModelName())
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder to write."
)
@click.option(
    "--runtime",
    metavar="DIR|URL",
    help="onnxruntime-web's dist: a folder to copy, or a URL to load it from [./node_modules/...].",
)
@click.option(
    "--integrity",
    metavar="DIR|FILE=HASH",
    multiple=True,
    help="With a URL: a folder of the same files, or FILE=sha384-... for each of them. The page "
    "then refuses others.",
)
def web(model: str, output: str, runtime: str | None, integrity: tuple[str, ...]) -> None:
    """Write a folder that runs a model in the browser: graph, ES module, and a page."""
    from .web import export_web

    pinned: str | dict[str, str] | None = None
    if len(integrity) == 1 and not re.search("=sha[0-9]+-", integrity[0]):
        pinned = integrity[0]
    elif integrity:
        pinned = {name: value for name, _, value in (one.partition("=") for one in integrity)}
    report = export_web(model, output, runtime=runtime, integrity=pinned)
    if report.unpinned:
        click.echo(
            f"warning: the page runs whatever {report.runtime} sends; --integrity DIR, a folder of "
            "the same files, pins them",
            err=True,
        )
    for name, size in report.files.items():
        click.echo(f"{report.path / name}: {size:,} bytes")
    click.echo(report.next_steps)


@main.command(short_help="Convert a graph to the ORT format.")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to write.")
def ort(file: str, output: str) -> None:
    """Convert a graph to the ORT format, with the operator list for a minimal mobile build."""
    from .targets import to_ort

    _say_converted(to_ort(file, output))


@main.command(short_help="Convert a graph to OpenVINO's IR.")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to write.")
def openvino(file: str, output: str) -> None:
    """Convert a graph to OpenVINO's IR, compared with onnxruntime first."""
    from .targets import to_openvino

    _say_converted(to_openvino(file, output))


def _say_converted(converted: Any) -> None:
    for path in converted.files:
        click.echo(f"{path}: {path.stat().st_size:,} bytes")
    click.echo(f"logits differ from the ONNX file's by {converted.difference:.1e}")


if __name__ == "__main__":
    main()
