"""What `dtgd-edge scale` measured, as Markdown with a chart of text: for terminals and results files."""

from collections.abc import Iterable, Sequence

from dtgd_edge.benchmarks.scale import GAIN, LOAD, CameraStep, Scale, Sessions
from dtgd_edge.benchmarks.timing import SCORE, TOTAL
from dtgd_edge.geometry import size_text
from dtgd_edge.percentiles import Percentiles

_BAR = 40
_DISTURBED = (
    "OTHER PROGRAMS HAD THE CORES: frames a second, latencies and bends say nothing about this machine; "
    "measure when it is quiet. Processor time and memory hold."
)
_KINDS: tuple[tuple[Sessions, str], ...] = (("shared", "one for all"), ("own", "one each"))


def scale_text(scale: Scale) -> str:
    """All tables, the chart and where the curve bends."""
    machine = scale.machine
    parts = [
        f"{scale.name}, {scale.precision}, batch {scale.batch}, graph {scale.graph_sha256[:12]}; "
        f"{scale.device}; {machine.cpu}, {machine.cores} cores, load {machine.load}, {machine.system}",
        f"Cameras of {size_text(scale.frame_hw)} px; {scale.frames} frames a step, {scale.rounds} rounds.",
        *([_DISTURBED] if scale.is_disturbed else []),
        _limit_table(scale),
        _paced_table(scale),
        _chart(scale),
        *(_bend_text(scale, kind, title) for kind, title in _KINDS),
        _frame_table(scale),
    ]
    if scale.tile_costs:
        parts.append(_tile_table(scale))
    return "\n\n".join(parts)


def _limit_table(scale: Scale) -> str:
    columns = (
        "cameras",
        "sessions",
        "frames a second",
        "worst to best round",
        "slowest camera",
        "processor ms a frame",
        "cores busy",
        "latency p50 / p99, ms",
        "MiB held",
        "frames at once",
    )
    rows = [
        (
            str(step.cameras),
            title,
            f"{step.frames_per_s:.2f}",
            f"{step.lowest_per_s:.2f} to {step.highest_per_s:.2f}",
            f"{step.slowest_per_s:.2f}",
            f"{step.processor_ms:.1f}",
            f"{step.busy_cores:.2f}",
            _pair(step.latency_ms),
            f"{step.held_mib:.0f}",
            _batches_text(step),
        )
        for kind, title in _KINDS
        for step in scale.chosen(kind, "limit")
    ]
    return f"At the limit: every camera always has a next frame.\n\n{_table(columns, rows)}"


def _paced_table(scale: Scale) -> str:
    columns = (
        "cameras",
        "frames a second",
        "latency p50 / p99, ms",
        "dropped",
        "MiB held",
        "frames at once",
    )
    rows = [
        (
            str(step.cameras),
            f"{step.frames_per_s:.2f}",
            _pair(step.latency_ms),
            str(step.dropped),
            f"{step.held_mib:.0f}",
            _batches_text(step),
        )
        for step in scale.chosen("shared", "paced")
    ]
    title = (
        f"One session for all, at {LOAD:.0%} of that limit, frames at irregular times, the newest is kept."
    )
    return f"{title}\n\n{_table(columns, rows)}"


def _chart(scale: Scale) -> str:
    """Bars of throughput by the number of cameras; the bend is marked."""
    most = max(step.frames_per_s for step in scale.steps)
    lines = []
    for kind, title in _KINDS:
        bend = None if scale.is_disturbed else scale.bend(kind)
        lines.append(f"sessions: {title}; frames a second of all cameras")
        for step in scale.chosen(kind, "limit"):
            bar = "#" * max(1, round(_BAR * step.frames_per_s / most))
            mark = "  <- bends here" if step.cameras == bend else ""
            lines.append(f"{step.cameras:3d} {bar:<{_BAR}} {step.frames_per_s:.2f}{mark}")
    return "```\n" + "\n".join(lines) + "\n```"


def _bend_text(scale: Scale, kind: Sessions, title: str) -> str:
    steps, bend = scale.chosen(kind, "limit"), scale.bend(kind)
    first, last = steps[0], steps[-1]
    text = f"no bend up to {_cameras(last.cameras)}"
    if scale.is_disturbed:
        text = "no bend is named, because other programs had the cores"
    elif bend is not None:
        text = f"the curve bends at {_cameras(bend)}: the next step gains less than {GAIN:.0%}"
    text = f"Sessions, {title}: {text}."
    per_camera = scale.mib_per_camera(kind)
    if per_camera is None:
        return text
    held = (
        f"{first.held_mib:.0f} MiB with {_cameras(first.cameras)}, {per_camera:.1f} MiB with each further one"
    )
    return f"{text} {held}."


def _cameras(count: int) -> str:
    return "1 camera" if count == 1 else f"{count} cameras"


def _frame_table(scale: Scale) -> str:
    columns = ("frame", "shrink", "geometry p50", "score p50", "decide p50", "total p50 / p99, ms")
    rows = [
        (
            size_text(cost.frame_hw),
            cost.shrink,
            *(_number(cost.stages_ms[stage].p50) for stage in ("geometry", SCORE, "decide")),
            _pair(cost.stages_ms[TOTAL]),
        )
        for cost in scale.frame_costs
    ]
    return f"One camera, by the size of its frames; total is all but capture.\n\n{_table(columns, rows)}"


def _tile_table(scale: Scale) -> str:
    columns = (
        "bundle",
        "tiles",
        "of",
        "graph's input",
        "score p50 / p99, ms",
        "a tile, ms",
        "total p50 / p99, ms",
    )
    rows = []
    for cost in scale.tile_costs:
        count = cost.tiles[0] * cost.tiles[1]
        score = cost.stages_ms[SCORE]
        each = None if score.p50 is None else score.p50 / count
        rows.append(
            (
                f"{cost.name} {cost.precision}",
                f"{cost.tiles[0]} x {cost.tiles[1]}",
                size_text(cost.tile_hw),
                size_text(cost.size_hw),
                _pair(score),
                _number(each),
                _pair(cost.stages_ms[TOTAL]),
            )
        )
    return f"One camera of {size_text(scale.frame_hw)} px, by tiles of the graph.\n\n{_table(columns, rows)}"


def _batches_text(step: CameraStep) -> str:
    """How many frames went together, for instance "1: 20, 4: 60" times."""
    return ", ".join(f"{size}: {times}" for size, times in step.batches.items()) or "1"


def _pair(times: Percentiles) -> str:
    return f"{_number(times.p50)} / {_number(times.p99)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
