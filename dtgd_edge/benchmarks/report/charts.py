"""Times from arrival to verdict as plots: frame by frame, and how many frames take how long.

The axes of time are logarithmic, because a stall and a deadline may lie far above the usual.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dtgd_edge.benchmarks.timing import TOTAL
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.sheet import Plot, Point

MOST_DOTS = 1000
MOST_SERIES = 6  # colours
_MOST_STEPS = 400
_WIDE, _ROOM = 560, 52  # four digits
_MARGIN = 1.05
# Numbers of a logarithmic axis, times powers of ten; the fine ones where it is shorter than from 1 to 10.
_COARSE, _FINE, _NARROW = (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), 10
_MOST_TICKS = 8


@dataclass(frozen=True, slots=True)
class Series:
    """The times that one curve shows.

    Attributes:
        name: of the bundle, and the idle gap where there are several.
        style: of its marks: "series0", "series1", ...
        totals_ms: in the order of the frames.
    """

    name: str
    style: str
    totals_ms: tuple[float, ...]


def series_of(timings: Timings) -> list[Series]:
    """One for each bundle and each idle gap; so many as there are colours."""
    found = []
    for path, measured in timings.of_bundles:
        for gap, samples in measured.samples_by_gap().items():
            name = path.replace("\\", "/").rpartition("/")[2]
            name += "" if gap is None else f" after {gap:g} ms"
            found.append((name, samples[TOTAL]))
    return [
        Series(name, f"series{index}", totals) for index, (name, totals) in enumerate(found[:MOST_SERIES])
    ]


def latency_chart(series: Sequence[Series], deadline_ms: float | None) -> Plot:
    """A dot per frame; of very many, the slowest of neighbours."""
    low, high, ticks = _time_axis(series, deadline_ms)
    frames = max(len(each.totals_ms) for each in series)
    plot = Plot("Time to verdict, frame by frame", (0, frames), (low, high), _WIDE, _ROOM)
    plot.axes("frame", "ms to verdict", _counts(frames), ticks)
    for each in series:
        step = math.ceil(len(each.totals_ms) / MOST_DOTS)
        for start in range(0, len(each.totals_ms), step):
            plot.dot((start + step / 2, _log(max(each.totals_ms[start : start + step]))), each.style, "", 1.6)
    if deadline_ms is not None:
        plot.line((0, _log(deadline_ms)), (frames, _log(deadline_ms)), "threshold")
        _name_deadline(plot, plot.x(frames), deadline_ms)
    return plot


def share_chart(series: Sequence[Series], deadline_ms: float | None) -> Plot:
    """The share of the frames that have a verdict within a time."""
    low, high, ticks = _time_axis(series, deadline_ms)
    plot = Plot("Share of the frames with a verdict within a time", (low, high), (0, 1))
    plot.axes("ms to verdict", "share of the frames", ticks, [(n / 5, n / 5) for n in range(6)])
    for each in series:
        plot.path(_steps(sorted(each.totals_ms), high), f"curve {each.style}")
    if deadline_ms is not None:
        plot.line((_log(deadline_ms), 0), (_log(deadline_ms), 1), "threshold")
        _name_deadline(plot, plot.x(high), deadline_ms)
    return plot


def _steps(ordered: Sequence[float], high: float) -> list[Point]:
    """The curve's corners: it rises where a frame's time is reached."""
    count = len(ordered)
    stride = math.ceil(count / _MOST_STEPS)
    # The last frame is the slowest, and what everybody looks for.
    indices = [*range(0, count - 1, stride), count - 1]
    heights = [0.0, *((index + 1) / count for index in indices)]
    corners = []
    for index, (before, after) in zip(indices, itertools.pairwise(heights), strict=True):
        corners += [(_log(ordered[index]), before), (_log(ordered[index]), after)]
    return [*corners, (high, 1.0)]


def _time_axis(series: Sequence[Series], deadline_ms: float | None) -> tuple[float, float, list[Point]]:
    """Ends of the logarithmic axis, and its ticks."""
    times = [time for each in series for time in each.totals_ms]
    times += [] if deadline_ms is None else [deadline_ms * _MARGIN]
    is_narrow = max(times) < _NARROW * max(min(times), 1e-3)
    numbers = [
        round(factor * 10.0**power, 9)
        for power in range(math.floor(_log(min(times))), math.ceil(_log(max(times))) + 1)
        for factor in (_FINE if is_narrow else _COARSE)
    ]
    low = max(number for number in numbers if number <= max(min(times), numbers[0]))
    high = min(number for number in numbers if number >= max(times) and number > low)
    inside = [number for number in numbers if low <= number <= high]
    if len(inside) > _MOST_TICKS:
        inside = [number for number in inside if _log(number) == round(_log(number))]
    return _log(low), _log(high), [(_log(number), number) for number in inside]


def _counts(frames: int) -> list[Point]:
    """About five round frame numbers."""
    step = 10 ** math.floor(math.log10(frames))
    step = next(s for s in (step // 5, step // 2, step, 2 * step, 5 * step) if s and frames / s <= 6)
    return [(n, n) for n in range(0, frames + 1, step)]


def _name_deadline(plot: Plot, right_px: float, deadline_ms: float) -> None:
    """Above the plot, where no curve runs."""
    plot.text(right_px, plot.top_px - 4, f"the next part is due after {deadline_ms:.3g} ms", "end", "mark")


def _log(value: float) -> float:
    return math.log10(max(value, 1e-3))
