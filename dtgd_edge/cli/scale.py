"""`dtgd-edge scale`: how many cameras, how large frames and how many tiles this machine takes."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dtgd_edge.atomic import written_whole
from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Backend, Json, Threads, Workspace, print_json, say
from dtgd_edge.errors import DataError
from dtgd_edge.workspace import newest_bundle


def scale(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle; default: the newest.")] = None,
    cameras: Annotated[str, typer.Option(help="Numbers of cameras, with commas between.")] = "1,2,4,8,16",
    frames: Annotated[
        int, typer.Option(min=10, help="Counted frames of all cameras together, per step and round.")
    ] = 100,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often all numbers of cameras are gone through.")
    ] = 3,
    frame: Annotated[str, typer.Option(help="Size of the cameras' frames, WIDTHxHEIGHT.")] = "640x480",
    sizes: Annotated[
        str, typer.Option(help="Sizes for the cost of a frame's size, with commas between.")
    ] = "640x480,1280x1024,1920x1080,2448x2048",
    tiled: Annotated[
        list[Path] | None, typer.Option(help="A bundle with other tiles, for the cost of a tile; repeatable.")
    ] = None,
    backend: Backend = "auto",
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="Write what was found as JSON to this file too.")] = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Measure a bundle against the number of cameras, the size of their frames, and tiles."""
    from dtgd_edge.benchmarks.pictures import frame_size
    from dtgd_edge.benchmarks.scale_text import scale_text
    from dtgd_edge.benchmarks.scaling import camera_counts, measure_scale

    if bundle is None:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    for path in tiled or []:
        Bundle.open(path)  # what is wrong with it is told now rather than after minutes
    found = measure_scale(
        Bundle.open(bundle),
        (Bundle.open(path) for path in tiled or []),
        cameras=camera_counts(cameras),
        frames=frames,
        rounds=rounds,
        frame_hw=frame_size(frame),
        frame_sizes_hw=[frame_size(size.strip()) for size in sizes.split(",")],
        backend=backend,
        threads=threads,
        say=say,
    )
    if out is not None:
        with written_whole(out, DataError) as file:
            file.write(msgspec.json.format(msgspec.json.encode(found.record()), indent=2) + b"\n")
    if as_json:
        print_json(found.record())
    else:
        OUT.print(scale_text(found), markup=False)
