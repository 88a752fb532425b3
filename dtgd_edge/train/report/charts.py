"""Curves and the histogram as inline SVG; colours come from the page's style sheet."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.train.evaluate import PartScore
from dtgd_edge.train.metrics import AUPRO_LIMIT, AUPRO_STRICT_LIMIT, image_curve
from dtgd_edge.train.operating import OperatingPoint
from dtgd_edge.train.report.texts import percent, score

_WIDTH, _HEIGHT = 360, 264
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 346, 16, 220
_BINS = 48
_TICKS = 5
# One part that scores a hundred times as much as the others must not squeeze them into one bar.
_LONGEST_TAIL = 2.0

Point = tuple[float, float]
Scores = NDArray[np.float64]


class _Plot:
    """A rectangle with axes; x and y are in the data's units, the marks in the order they were made."""

    def __init__(self, title: str, x_range: Point, y_range: Point) -> None:
        self._title = title
        self._x_range, self._y_range = x_range, y_range
        self._marks: list[str] = []

    def x(self, value: float) -> float:
        low, high = self._x_range
        return round(_LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT), 1)

    def y(self, value: float) -> float:
        low, high = self._y_range
        return round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    def axes(self, x_label: str, y_label: str, x_ticks: Iterable[Point], y_ticks: Iterable[Point]) -> None:
        """Grid and labels; a tick is a place and the number to write there."""
        for at, number in x_ticks:
            self.line((at, self._y_range[0]), (at, self._y_range[1]), "grid")
            self.text(self.x(at), _BOTTOM + 15, f"{number:g}", "middle")
        for at, number in y_ticks:
            self.line((self._x_range[0], at), (self._x_range[1], at), "grid")
            self.text(_LEFT - 6, self.y(at) + 4, f"{number:g}", "end")
        self.text((_LEFT + _RIGHT) / 2, _HEIGHT - 8, x_label, "middle", "label")
        middle = (_TOP + _BOTTOM) / 2
        self._marks.append(
            f'<text class="label" text-anchor="middle" transform="translate(11 {middle:g}) rotate(-90)">'
            f"{escape(y_label)}</text>"
        )

    def line(self, start: Point, end: Point, style: str) -> None:
        places = (self.x(start[0]), self.y(start[1]), self.x(end[0]), self.y(end[1]))
        self._marks.append(
            '<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>'.format(style, *places)
        )

    def path(self, points: Sequence[Point], style: str, is_area: bool = False) -> None:
        """A line through points; an area reaches down to the x axis."""
        if is_area:
            points = [(points[0][0], self._y_range[0]), *points, (points[-1][0], self._y_range[0])]
        steps = " L".join(f"{self.x(x):g} {self.y(y):g}" for x, y in points)
        self._marks.append(f'<path class="{style}" d="M{steps}{"Z" if is_area else ""}"/>')

    def bar(self, near: Point, far: Point, style: str, note: str) -> None:
        """A bar between two corners, with a note for those who point at it."""
        left, right = sorted((self.x(near[0]), self.x(far[0])))
        top, bottom = sorted((self.y(near[1]), self.y(far[1])))
        self._marks.append(
            f'<rect class="{style}" x="{left + 0.5:g}" y="{top:g}" width="{max(right - left - 1, 1):.3g}" '
            f'height="{bottom - top:.4g}"><title>{escape(note)}</title></rect>'
        )

    def dot(self, at: Point, style: str, note: str) -> None:
        self._marks.append(
            f'<circle class="{style}" cx="{self.x(at[0]):g}" cy="{self.y(at[1]):g}" r="5">'
            f"<title>{escape(note)}</title></circle>"
        )

    def text(self, x_px: float, y_px: float, text: str, anchor: str, style: str = "tick") -> None:
        self._marks.append(
            f'<text class="{style}" x="{x_px:g}" y="{y_px:g}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self._title)}">'
            + "".join(self._marks)
            + "</svg>"
        )


def roc_chart(parts: Sequence[PartScore], own: OperatingPoint) -> str | None:
    """Share of the defective parts detected over that of the good ones rejected; None unless both exist."""
    curve = image_curve([p.is_defective for p in parts], [p.score for p in parts])
    if not curve.has_both:
        return None
    plot = _Plot("ROC curve of the parts", (0, 1), (0, 1))
    ticks = [(n / 5, n / 5) for n in range(6)]
    plot.axes("good parts rejected", "defective parts detected", ticks, ticks)
    plot.line((0, 0), (1, 1), "chance")
    points = [(float(x), float(y)) for x, y in zip(*curve.roc(), strict=True)]
    plot.path(points, "area", is_area=True)
    plot.path(points, "curve")
    if own.detection is not None and own.false_reject is not None:
        note = f"at the threshold: {percent(own.detection)} detected, {percent(own.false_reject)} rejected"
        plot.dot((own.false_reject, own.detection), "own", note)
    return plot.svg()


def pro_chart(pro: Sequence[Point]) -> str | None:
    """Mean covered share of the true defects over false positive pixels; None without marked defects."""
    if not pro:
        return None
    plot = _Plot("PRO curve of the pixels", (0, AUPRO_LIMIT), (0, 1))
    x_ticks = [(n / 20, n / 20) for n in range(7)]
    plot.axes("good pixels marked", "defect covered", x_ticks, [(n / 5, n / 5) for n in range(6)])
    plot.path(pro, "area", is_area=True)
    plot.path([p for p in pro if p[0] <= AUPRO_STRICT_LIMIT], "area", is_area=True)
    plot.path(pro, "curve")
    plot.line((AUPRO_STRICT_LIMIT, 0), (AUPRO_STRICT_LIMIT, 1), "limit")
    return plot.svg()


def score_histogram(parts: Sequence[PartScore], threshold: float) -> str:
    """Good parts upwards, defective ones downwards; the threshold is an edge between two bars."""
    good = np.array([p.score for p in parts if not p.is_defective])
    defective = np.array([p.score for p in parts if p.is_defective])
    bins = _bins(np.concatenate([good, defective]), threshold)
    counts = {"good": bins.counts(good), "defective": bins.counts(defective)}
    most_good, most_defective = (max(1, int(counts[key].max())) for key in ("good", "defective"))
    low, high = bins.edge(0), bins.edge(bins.below + bins.above)
    bottom, top = -1.06 * most_defective, 1.18 * most_good  # room for the threshold's label
    plot = _Plot("Histogram of the scores", (low, high), (bottom, top))
    y_ticks = [(n, abs(n)) for n in _round_numbers(-most_defective, most_good) if n == int(n)]
    plot.axes("score", "parts", [(n, n) for n in _round_numbers(low, high)], y_ticks)
    for key, sign in (("good", 1), ("defective", -1)):
        for index in np.flatnonzero(counts[key]).tolist():
            start, end, count = bins.edge(index), bins.edge(index + 1), int(counts[key][index])
            to = f"to {score(end)}" if index + 1 < bins.below + bins.above else "and above"
            plot.bar((start, 0), (end, sign * count), key, f"{count} {key}, {score(start)} {to}")
    plot.line((low, 0), (high, 0), "axis")
    plot.line((threshold, bottom), (threshold, top), "threshold")
    is_right = plot.x(threshold) > (_LEFT + _RIGHT) / 2
    place = plot.x(threshold) + (-5 if is_right else 5)
    plot.text(place, _TOP + 9, f"threshold {score(threshold)}", "end" if is_right else "start", "mark")
    return plot.svg()


@dataclass(frozen=True, slots=True)
class _Bins:
    """Bars of one width on both sides of the threshold, which none of them reaches across."""

    threshold: float
    width: float
    below: int
    above: int

    def edge(self, index: int) -> float:
        return self.threshold + (index - self.below) * self.width

    def counts(self, scores: Scores) -> NDArray[np.int64]:
        """Parts per bar; a score on an edge belongs to the bar below, as the threshold itself is OK."""
        index = np.ceil((scores - self.threshold) / self.width).astype(np.int64) - 1 + self.below
        return np.bincount(np.clip(index, 0, self.below + self.above - 1), minlength=self.below + self.above)


def _bins(scores: Scores, threshold: float) -> _Bins:
    low = min(float(scores.min()), threshold)
    bulk = max(float(np.quantile(scores, 0.95)), threshold)
    high = min(max(float(scores.max()), threshold), bulk + _LONGEST_TAIL * (bulk - low))
    width = max(high - low, 1e-6) / _BINS
    below = math.floor((threshold - low) / width) + 1
    return _Bins(threshold, width, below, max(math.ceil((high - threshold) / width), 1))


def _round_numbers(low: float, high: float) -> list[float]:
    """About five round numbers between two others."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]
