"""`dtgd-edge bench`: percentiles of each stage, at the pace of a line, beside a baseline, with a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Backend, Json, Threads, Workspace, print_json, say, table
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.workspace import newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.benchmarks.baseline import Comparison
    from dtgd_edge.benchmarks.timings import Timings


def bench(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle; default: the newest.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Counted frames of each bundle.")] = 200,
    warm_up: Annotated[int, typer.Option(min=0, help="Frames before the clock counts.")] = 20,
    frame: Annotated[
        str | None, typer.Option(help="Size of the camera frames, WIDTHxHEIGHT; default: as trained.")
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Another bundle, on the same frames in turn; repeatable.")
    ] = None,
    parts_per_minute: Annotated[
        float | None,
        typer.Option(
            help="Frames come at the times of a line of so many parts a minute, whether or not the last one "
            "is judged. A verdict is late when it comes after the next part is due; late ones are counted."
        ),
    ] = None,
    idle_gaps: Annotated[
        str | None,
        typer.Option(
            help="Milliseconds between a verdict and the next frame, several in turn, as 0,50,200,1000: what "
            "a triggered line pays for clocks and caches that rested. Percentiles after each gap."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Store everything in this JSON file too.")] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="A file of --out: exit with 1 if a stage's median grew by more than chance explains."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the times as a picture: FILE.png.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with everything: FILE.html.")] = None,
    backend: Backend = "auto",
    threads: Threads = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Time a bundle frame by frame, beside the null session, which computes nothing, and other bundles."""
    from dtgd_edge.benchmarks.baseline import compare, require_comparable
    from dtgd_edge.benchmarks.machine import this_machine
    from dtgd_edge.benchmarks.pace import Pace, gaps_from_text
    from dtgd_edge.benchmarks.pictures import bench_pictures, frame_size
    from dtgd_edge.benchmarks.report import write_page
    from dtgd_edge.benchmarks.report.picture import write_plot
    from dtgd_edge.benchmarks.timing import measure
    from dtgd_edge.benchmarks.timings import read_timings, timings_of
    from dtgd_edge.sheet import require_report_path

    # What was asked for is checked before minutes are spent.
    pace = Pace(parts_per_minute, gaps_from_text(idle_gaps) if idle_gaps is not None else ())
    for path, suffix in ((out, ".json"), (plot, ".png"), (report, ".html")):
        if path is not None:
            require_report_path(path, (suffix,))
    then = None if baseline is None else read_timings(baseline)
    if bundle is None:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    paths = [bundle, *(against or [])]
    bundles = [Bundle.open(path) for path in paths]
    first = bundles[0]
    frame_hw = first.manifest.frame_size_hw or (480, 640)
    if frame is not None:
        frame_hw = frame_size(frame)
    if then is not None:
        require_comparable(
            then,
            str(baseline),
            graphs={str(p): opened.manifest.graph_sha256 for p, opened in zip(paths, bundles, strict=True)},
            machine=this_machine(),
            frame_hw=frame_hw,
            threads=threads,
            pace=pace,
        )
    subjects = [*((opened, backend) for opened in bundles), (first, "null")]
    least_s = pace.idle_s(frames) * len(subjects)
    say(
        f"timing {frames} frames of {frame_hw[1]}x{frame_hw[0]} px after {warm_up} to warm up, {pace}"
        + (f"; at least {least_s:.0f} s" if least_s else "")
    )
    with progress_bar("timing") as advance:
        measurements = measure(
            subjects,
            bench_pictures(first, frame_hw),
            frames=frames,
            warm_up=warm_up,
            threads=threads,
            pace=pace,
            progress=advance,
        )
    timings = timings_of(paths, measurements, pace, threads)
    if out is not None:
        timings.save(out)
    comparison = None if then is None else compare(timings, then, str(baseline))
    if plot is not None:
        write_plot(plot, timings)
    if report is not None:
        write_page(report, timings, comparison)
    if as_json:
        compared = {} if comparison is None else {"comparison": comparison.record()}
        print_json({**timings.record(), **compared})
    else:
        _print(timings, comparison)
    if comparison is not None and comparison.is_slower:
        sys.exit(1)


def _print(timings: "Timings", comparison: "Comparison | None") -> None:
    from dtgd_edge.benchmarks.report import (
        comparison_words,
        machine_words,
        stage_name,
        stage_rows,
        timings_words,
    )

    columns = ["stage", "count", "p50", "p95", "p99", "max"]
    for measured in timings.measurements:
        title = f"{measured.precision} on {measured.device}, milliseconds"
        table(title, columns, [_row(stage, p) for stage, p in stage_rows(measured).items()])
    said = timings_words(timings)
    if comparison is not None:
        rows = [
            [
                f"{change.bundle}, {stage_name(change)}",
                f"{change.then_ms:.2f}",
                f"{change.now_ms:.2f}",
                f"±{change.noise_ms:.2f}",
                "slower" if change.is_slower else "faster" if change.is_faster else "",
            ]
            for change in comparison.changes
        ]
        columns = ["median, milliseconds", "baseline", "now", "chance explains", ""]
        table("beside the baseline", columns, rows)
        said += comparison_words(comparison)
    said += [f"{name}: {text}" for name, text in machine_words(timings.measurements[0].machine).items()]
    for line in said:
        OUT.print(line, markup=False)


def _row(stage: str, p: Percentiles) -> list[str]:
    times = ("-" if value is None else f"{value:.2f}" for value in (p.p50, p.p95, p.p99, p.max))
    return [stage, str(p.count), *times]
