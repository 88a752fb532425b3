"""`dtgd-edge peers`: bundles and other programs' ONNX files side by side, and their distance to the limit."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dtgd_edge.atomic import written_whole
from dtgd_edge.cli.console import OUT, Json, Threads, Workspace, print_json, say, table, train_extra
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.errors import DataError
from dtgd_edge.workspace import newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.benchmarks.comparison import Comparison
    from dtgd_edge.benchmarks.contestant import Contestant

REFERENCE = "stfpm_r18"
TABLE_MD, TABLE_JSON = "peers.md", "peers.json"


def peers(
    folder: Annotated[Path, typer.Argument(help="A folder with ONNX files of one float32 input each.")],
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="A bundle, as PATH or NAME=PATH; may be repeated; default: the newest."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help=f"Name that ratios are relative to; default: {REFERENCE}, else the first peer."),
    ] = None,
    accuracy: Annotated[
        list[Path] | None,
        typer.Option(help="JSON with results of methods called as the graphs; may be repeated."),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="Counted frames of each; Ctrl-C ends them and keeps what was counted.")
    ] = 40,
    warm_up: Annotated[int, typer.Option(min=1, help="Frames of each before the clock counts.")] = 5,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help=f"Folder to write {TABLE_MD} and {TABLE_JSON} to.")] = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Time bundles and other programs' graphs in ONNX Runtime (on the GPU, too) and OpenVINO, in turn."""
    from dtgd_edge.benchmarks.peers import compare
    from dtgd_edge.benchmarks.tables import read_outcomes
    from dtgd_edge.runtime.cuda_driver import driver_fault

    outcomes = [outcome for path in accuracy or [] for outcome in read_outcomes(path)]
    if bundle is None:
        newest = newest_bundle(workspace)
        say(f"bundle: {newest} (the newest)")
        bundle = [str(newest)]
    with train_extra("peers"):
        ours = [_ours(*_named(text)) for text in bundle]
        others, left_out = _others(folder)
        ideals = _ideals() if driver_fault() else [*_ideals(), *gpu_ideals()]
    if reference is None:
        reference = REFERENCE if any(peer.name == REFERENCE for peer in others) else others[0].name
    with progress_bar("timing") as advance:
        found = compare(
            [*ours, *others, *ideals],
            reference,
            frames=frames,
            warm_up=warm_up,
            threads=threads,
            accuracy=outcomes,
            left_out=left_out,
            command=shlex.join(["dtgd-edge", *sys.argv[1:]]),
            say=say,
            progress=advance,
        )
    if out is not None:
        for name, content in (
            (TABLE_JSON, msgspec.json.format(msgspec.json.encode(found.record()))),
            (TABLE_MD, found.text().encode()),
        ):
            with written_whole(out / name, DataError) as file:
                file.write(content)
    if as_json:
        print_json(found.record())
        return
    _print(found)
    if out is not None:
        OUT.print(f"table: {out / TABLE_MD}", markup=False)


def _print(found: "Comparison") -> None:
    from dtgd_edge.benchmarks.comparison import ACCURACY

    tables = {
        "milliseconds of a call": found.times(),
        "the peaks": found.peaks_reached(),
        "distance to the limit in ONNX Runtime": found.gaps(),
    }
    if found.roofline is not None:
        tables["the GPU's roofline"] = found.roofs()
    if found.accuracy:
        names = ["graph", *(row.name for row in found.rows)]
        by_name = {name: [name, *cells] for name, cells in zip(names, found.accuracies(), strict=True)}
        tables[ACCURACY] = [*by_name.values()]
    for title, (heading, *rows) in tables.items():
        table(title, heading, rows)
    for name, reason in found.left_out.items():
        OUT.print(f"not timed: {name}: {reason}", markup=False)


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).stem, Path(text))


def _ours(name: str, path: Path) -> "Contestant":
    from dtgd_edge.benchmarks.contestant import Contestant
    from dtgd_edge.bundle import Bundle
    from dtgd_edge.export.peer import macs_of_bundle_graph

    bundle = Bundle.open(path)
    feed = bundle.golden.frames[:1].repeat(bundle.manifest.input.shape[0], axis=0)
    macs = macs_of_bundle_graph(bundle.graph, feed)
    return Contestant(
        name=name,
        kind="ours",
        precision=bundle.manifest.precision,
        graph=bundle.graph,
        feed=feed,
        float_macs=macs.floating,
        integer_macs=macs.integer,
        size_bytes=path.stat().st_size,
        bundle=bundle,
    )


def _others(folder: Path) -> "tuple[list[Contestant], dict[str, str]]":
    """The folder's peers, and what in it is none.

    Raises:
        DataError: no such folder, or not a single peer in it.
    """
    from dtgd_edge.benchmarks.contestant import Contestant, noise
    from dtgd_edge.export.peer import read_peer

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with ONNX files; check the path")
    found, left_out = [], {}
    for path in sorted(folder.glob("*.onnx")):
        say(f"counting the multiplications of {path.name}")
        try:
            peer = read_peer(path)
        except DataError as exc:
            left_out[path.name] = str(exc)
            continue
        found.append(
            Contestant(
                name=path.stem,
                kind="peer",
                precision="int8" if peer.macs.integer else "fp32",
                graph=path,
                feed=noise(peer.shape),
                float_macs=peer.macs.floating,
                integer_macs=peer.macs.integer,
                size_bytes=peer.size_bytes,
            )
        )
    if not found:
        reasons = "; ".join(left_out.values()) or "it has no .onnx file"
        raise DataError(f"{folder} has no peer ({reasons}); expected ONNX files with one float32 input")
    return found, left_out


def _ideals() -> "list[Contestant]":
    from dtgd_edge.benchmarks.contestant import Contestant, noise
    from dtgd_edge.export.ideal import ideal_graphs

    return [
        Contestant(
            name=ideal.name,
            kind="ideal",
            precision="int8" if ideal.is_integer else "fp32",
            graph=ideal.graph,
            feed=noise(ideal.shape),
            float_macs=0 if ideal.is_integer else ideal.macs,
            integer_macs=ideal.macs if ideal.is_integer else 0,
            size_bytes=len(ideal.graph),
            device="CPU",
        )
        for ideal in ideal_graphs()
    ]


def gpu_ideals() -> "list[Contestant]":
    """What a GPU is measured by."""
    from dtgd_edge.benchmarks.contestant import Contestant, noise
    from dtgd_edge.export.gpu_ideal import gpu_ideal_graphs

    return [
        Contestant(
            name=ideal.name,
            kind=ideal.kind,
            precision=ideal.precision,
            graph=ideal.graph,
            feed=noise((1,)),
            float_macs=ideal.macs,
            integer_macs=0,
            size_bytes=len(ideal.graph),
            device="GPU",
            moved_bytes=ideal.moved_bytes,
            nodes=ideal.nodes,
        )
        for ideal in gpu_ideal_graphs()
    ]
