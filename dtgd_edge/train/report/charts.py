"""Curves and the histogram as inline SVG; colours come from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.sheet import Plot, Point, round_numbers
from dtgd_edge.train.evaluate import PartScore
from dtgd_edge.train.metrics import AUPRO_LIMIT, AUPRO_STRICT_LIMIT, image_curve
from dtgd_edge.train.operating import OperatingPoint
from dtgd_edge.train.report.texts import percent, score

_BINS = 48
# One part that scores a hundred times as much as the others must not squeeze them into one bar.
_LONGEST_TAIL = 2.0

Scores = NDArray[np.float64]


def roc_chart(parts: Sequence[PartScore], own: OperatingPoint) -> str | None:
    """Share of the defective parts detected over that of the good ones rejected; None unless both exist."""
    curve = image_curve([p.is_defective for p in parts], [p.score for p in parts])
    if not curve.has_both:
        return None
    plot = Plot("ROC curve of the parts", (0, 1), (0, 1))
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
    plot = Plot("PRO curve of the pixels", (0, AUPRO_LIMIT), (0, 1))
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
    plot = Plot("Histogram of the scores", (low, high), (bottom, top))
    y_ticks = [(n, abs(n)) for n in round_numbers(-most_defective, most_good) if n == int(n)]
    plot.axes("score", "parts", [(n, n) for n in round_numbers(low, high)], y_ticks)
    for key, sign in (("good", 1), ("defective", -1)):
        for index in np.flatnonzero(counts[key]).tolist():
            start, end, count = bins.edge(index), bins.edge(index + 1), int(counts[key][index])
            to = f"to {score(end)}" if index + 1 < bins.below + bins.above else "and above"
            plot.bar((start, 0), (end, sign * count), key, f"{count} {key}, {score(start)} {to}")
    plot.line((low, 0), (high, 0), "axis")
    plot.line((threshold, bottom), (threshold, top), "threshold")
    is_right = plot.x(threshold) > plot.middle_px
    place = plot.x(threshold) + (-5 if is_right else 5)
    plot.text(place, plot.top_px + 9, f"threshold {score(threshold)}", "end" if is_right else "start", "mark")
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
