"""The page: its template filled with a run's numbers, plots and fingerprint."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from dtgd_edge.atomic import written_whole
from dtgd_edge.benchmarks.baseline import Comparison
from dtgd_edge.benchmarks.report.charts import MOST_DOTS, Series, latency_chart, series_of, share_chart
from dtgd_edge.benchmarks.report.words import (
    comparison_words,
    machine_words,
    stage_name,
    stage_rows,
    timings_words,
)
from dtgd_edge.benchmarks.timing import LOOP, TOTAL, Measurement
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.errors import SinkError
from dtgd_edge.sheet import head, minute_text, safe, table

_COLUMNS = ("milliseconds", "count", "p50", "p95", "p99", "max")


def write_page(path: Path, timings: Timings, comparison: Comparison | None = None) -> None:
    """Write the page; missing folders are made.

    Raises:
        SinkError: the disk refused.
    """
    with written_whole(path, SinkError) as file:
        file.write(page_from_timings(timings, comparison).encode())


def page_from_timings(timings: Timings, comparison: Comparison | None = None) -> str:
    """Build the page.

    Args:
        timings: a run.
        comparison: with its baseline; None without one.

    Returns:
        HTML that refers to nothing outside of itself.
    """
    path, first = timings.of_bundles[0]
    words = timings_words(timings) + ([] if comparison is None else comparison_words(comparison))
    series = series_of(timings)
    template = Template((files("dtgd_edge.benchmarks.report") / "page.html").read_text("utf-8"))
    return template.substitute(
        head=head(f"{path}: dtgd-edge bench"),
        date=safe(minute_text(timings.created)),
        name=safe(path.replace("\\", "/").rpartition("/")[2]),
        device=safe(first.device),
        lead="\n".join(f'<p class="lead">{safe(sentence)}</p>' for sentence in words),
        tiles=_tiles(first),
        about="\n".join(
            f"<div><dt>{safe(key)}</dt><dd>{safe(text)}</dd></div>" for key, text in _about(timings).items()
        ),
        plots_note=safe(_plots_note(series)),
        charts=_charts(series, first),
        tables="\n".join(_tables(timings)),
        baseline="" if comparison is None else _baseline(comparison),
        footer=safe(f"dtgd-edge {first.machine.packages.get('dtgd-edge', '')}"),
    )


def _tiles(measured: Measurement) -> str:
    total = measured.stages_ms[TOTAL]
    percentiles = {"Median": total.p50, "p95": total.p95, "p99": total.p99, "Slowest": total.max}
    tiles = [("", name, _ms(value), "ms to verdict") for name, value in percentiles.items()]
    if (takt := measured.takt) is not None:
        is_late = "missed" if takt.missed else "right"
        tiles.append((is_late, "Late verdicts", str(takt.missed), f"of {takt.parts}"))
        is_short = "missed" if takt.margin_ms < 0 else "right"
        tiles.append((is_short, "Margin of the p99", _ms(takt.margin_ms), f"ms of {takt.deadline_ms:.4g}"))
    else:
        tiles.append(("", "Frames a second", f"{measured.frames_per_s:.4g}", "one after the other"))
        tiles.append(("", "All but the score", _ms(measured.stages_ms[LOOP].p99), "ms, p99"))
    return "\n".join(
        f'<div class="tile sheet {state}"><dt>{name}</dt><dd>{value}</dd><dd>{note}</dd></div>'
        for state, name, value, note in tiles
    )


def _about(timings: Timings) -> dict[str, str]:
    first = timings.measurements[0]
    height, width = first.frame_hw
    bundles = ", ".join(f"{bundle.path} (SHA-256 {bundle.sha256})" for bundle in timings.bundles)
    return {
        "Bundles" if len(timings.bundles) > 1 else "Bundle": bundles,
        "Frames": f"{width}x{height} px, {timings.pace}, after {first.warm_up} to warm up",
        "Threads": str(timings.threads or "all cores"),
        **machine_words(first.machine),
    }


def _plots_note(series: Sequence[Series]) -> str:
    most = max(len(each.totals_ms) for each in series)
    note = "From the moment a frame was due, or arrived, to its verdict."
    return note + (f" Each dot is the slowest of {-(-most // MOST_DOTS)} frames." if most > MOST_DOTS else "")


def _charts(series: Sequence[Series], first: Measurement) -> str:
    deadline_ms = None if first.takt is None else first.takt.deadline_ms
    key = ", ".join(f'<span class="key {each.style}"></span> {safe(each.name)}' for each in series)
    charts = (
        ("Frame by frame", latency_chart(series, deadline_ms)),
        ("How many within a time", share_chart(series, deadline_ms)),
    )
    return "\n".join(
        f'<figure class="chart sheet"><figcaption><b>{title}</b><span>{key}</span></figcaption>'
        f"{plot.svg()}</figure>"
        for title, plot in charts
    )


def _tables(timings: Timings) -> list[str]:
    found = []
    for measured in timings.measurements:
        rows = [
            [safe(stage), str(p.count), *map(_ms, (p.p50, p.p95, p.p99, p.max))]
            for stage, p in stage_rows(measured).items()
        ]
        strong = {index for index, stage in enumerate(stage_rows(measured)) if stage.startswith(TOTAL)}
        found.append(table(safe(f"{measured.precision} on {measured.device}"), _COLUMNS, rows, strong))
    return found


def _baseline(comparison: Comparison) -> str:
    rows = [
        [
            safe(stage_name(change)),
            safe(change.bundle),
            _ms(change.then_ms),
            _ms(change.now_ms),
            f"±{_ms(change.noise_ms)}",
            "slower" if change.is_slower else "faster" if change.is_faster else "",
        ]
        for change in comparison.changes
    ]
    strong = {index for index, change in enumerate(comparison.changes) if change.is_slower}
    columns = ("median, milliseconds", "bundle", "baseline", "now", "chance explains", "")
    note = (
        "What chance explains: how far the medians wandered within both runs, and what their median frames "
        "waited for a core."
    )
    return (
        f'<section id="baseline">\n<h2>Baseline</h2>\n<p class="note">{note}</p>\n'
        + table(None, columns, rows, strong)
        + "</section>"
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
