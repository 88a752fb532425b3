"""`dtgd-edge bench`: percentiles of each stage, and what the loop itself costs."""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Backend, Json, Threads, Workspace, print_json, say, table
from dtgd_edge.workspace import newest_bundle


def bench(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle; default: the newest.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Counted frames.")] = 200,
    warm_up: Annotated[int, typer.Option(min=0, help="Frames before the clock counts.")] = 20,
    frame: Annotated[
        str | None, typer.Option(help="Size of the camera frames, WIDTHxHEIGHT; default: as trained.")
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Another bundle, on the same frames in turn; repeatable.")
    ] = None,
    backend: Backend = "auto",
    threads: Threads = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Time a bundle frame by frame, beside the null session, which computes nothing, and other bundles."""
    from dtgd_edge.benchmarks.pictures import bench_pictures, frame_size
    from dtgd_edge.benchmarks.timing import LOOP, measure

    if bundle is None:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    opened = Bundle.open(bundle)
    frame_hw = opened.manifest.frame_size_hw or (480, 640)
    if frame is not None:
        frame_hw = frame_size(frame)
    say(f"timing {frames} frames of {frame_hw[1]}x{frame_hw[0]} px after {warm_up} to warm up")
    pictures = bench_pictures(opened, frame_hw)
    others = [Bundle.open(path) for path in against or []]
    measurements = measure(
        [(opened, backend), *((other, backend) for other in others), (opened, "null")],
        pictures,
        frames=frames,
        warm_up=warm_up,
        threads=threads,
    )
    if as_json:
        paths = [str(path) for path in (bundle, *(against or []))]
        print_json({"bundles": paths, "measurements": [m.record() for m in measurements]})
        return
    for measurement in measurements:
        rows = [
            [stage, str(p.count), *("-" if v is None else f"{v:.2f}" for v in (p.p50, p.p95, p.p99, p.max))]
            for stage, p in measurement.stages_ms.items()
        ]
        title = f"{measurement.precision} on {measurement.device}, milliseconds"
        table(title, ["stage", "count", "p50", "p95", "p99", "max"], rows)
    for path, measurement in zip(against or [], measurements[1:], strict=False):
        OUT.print(f"{path} scores {measurement.speed:.2f} times as fast as {bundle}", markup=False)
    loop = measurements[-1]
    OUT.print(
        f"without a session the line judges {loop.frames_per_s:.0f} frames a second at most; all but the "
        f"score takes {loop.stages_ms[LOOP].p99:.2f} ms in 99 of 100 frames",
        markup=False,
    )
    machine = measurements[0].machine
    OUT.print(f"{machine.cpu}, {machine.cores} cores, load {machine.load}, {machine.system}", markup=False)
