"""Every threshold at once: ROC, precision-recall and per-region overlap, exact, of scores or of pixels.

All pixels of all pictures are pooled; nothing is sampled, binned or normalised per picture. numpy; cv2
for components.
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import DataError

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Line = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """True and false positives at every threshold where the true ones change, descending.

    Between two such thresholds every curve (ROC, precision-recall, PRO) only gains false positives
    and is a straight line, so these K points hold all of it.

    Attributes:
        value: float [K], distinct scores of positives.
        hits: int64 [K], positives that score at least `value`.
        overlap: float64 [K], mean covered share of the components, at `value`.
        above: int64 [K], negatives that score more than `value`.
        at_least: int64 [K], negatives that score at least `value`.
        negatives: number of all negatives.
    """

    value: NDArray[Any]
    hits: NDArray[np.int64]
    overlap: NDArray[np.float64]
    above: NDArray[np.int64]
    at_least: NDArray[np.int64]
    negatives: int

    @property
    def positives(self) -> int:
        """Number of all positives."""
        return int(self.hits[-1]) if len(self.hits) else 0

    @property
    def has_both(self) -> bool:
        """Whether there are positives and negatives."""
        return bool(self.positives and self.negatives)

    def auroc(self) -> float | None:
        """Area under the ROC curve in [0, 1], ties count half; None unless there are both."""
        if not self.has_both:
            return None
        # Per positive: the negatives below it, and half of those that tie with it.
        beaten = self.negatives - (self.above + self.at_least) / 2
        gained = np.diff(self.hits, prepend=0)
        # Divided at the end: halves and whole numbers add up exactly, and a perfect curve is 1.
        return float(np.dot(gained, beaten) / (self.positives * self.negatives))

    def average_precision(self) -> float | None:
        """Sum of precision x gain of recall, in [0, 1]; None without a positive."""
        if not self.positives:
            return None
        gained = np.diff(self.hits, prepend=0)
        return float(np.dot(gained, self.hits / (self.hits + self.at_least)) / self.positives)

    def aupro(self, limit: float) -> float | None:
        """Area under `pro` up to a false positive rate, divided by that rate; None unless there are both."""
        if not self.has_both:
            return None
        x, y = self.pro()
        inside = int(np.searchsorted(x, limit, side="right"))
        at_limit = np.interp(limit, x[inside - 1 : inside + 1], y[inside - 1 : inside + 1])
        x, y = np.append(x[:inside], limit), np.append(y[:inside], at_limit)
        return float(np.dot(np.diff(x), (y[1:] + y[:-1]) / 2) / limit)

    def f1_max(self) -> tuple[float, int] | None:
        """Largest F1, and the index of the `value` that reaches it; None unless there are both."""
        if not self.has_both:
            return None
        f1 = 2 * self.hits / (self.hits + self.at_least + self.positives)
        best = int(np.argmax(f1))
        return float(f1[best]), best

    def detecting(self, share: float) -> int:
        """The index of the highest `value` at which at least that share of the positives is hit."""
        # A share such as 0.95 is not exact in binary; 19 of 20 must not become 20.
        wanted = math.ceil(share * self.positives - 1e-9)
        return int(np.searchsorted(self.hits, wanted))

    def roc(self) -> Line:
        """False and true positive rate, from (0, 0) to (1, 1), straight between the points."""
        return self._line(self.hits / self.positives)

    def pro(self) -> Line:
        """False positive rate and mean overlap of the components, as `roc`."""
        return self._line(self.overlap)

    def _line(self, reached: NDArray[np.float64]) -> Line:
        # Each threshold is reached along a level line (negatives alone) and left along a rise.
        x = np.empty(2 * len(self.value) + 2)
        y = np.empty_like(x)
        x[0], x[1:-1:2], x[2:-1:2], x[-1] = 0, self.above, self.at_least, self.negatives
        y[0], y[1], y[3:-1:2], y[2:-1:2], y[-1] = 0, 0, reached[:-1], reached, 1
        return x / self.negatives, y


def curve_from_scores(positives: NDArray[Any], negatives: NDArray[Any]) -> Curve:
    """Sort and count scores, one per picture: float [P] and [N], finite."""
    return _curve([np.sort(negatives)], positives, np.ones(len(positives)))


class PixelPool:
    """Pixels of many pictures, in groups, each group sorted once whatever is asked of it.

    Holds 4 bytes per pixel of the maps (the maps themselves where they are all good).
    """

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Pixels] = {}
        self._maps = 0

    def add(self, group: Hashable, anomaly_map: Map, mask: Mask) -> None:
        """Add a picture.

        Args:
            group: what `curve` is asked for.
            anomaly_map: float32 [H, W], finite; kept, never changed; sizes may differ.
            mask: bool [H, W], True on defects; 8-connected components.

        Raises:
            DataError: the map holds NaN or infinity, or its size differs from its mask's.
        """
        import cv2

        if anomaly_map.shape != mask.shape:
            shapes = f"{anomaly_map.shape} and its mask {mask.shape}"
            raise DataError(f"map {self._maps} is {shapes}; expected the same size; resize the map")
        if not np.isfinite(anomaly_map).all():
            raise DataError(f"map {self._maps} holds NaN or infinity; expected numbers; check the graph")
        self._maps += 1
        pixels = self._groups.setdefault(group, _Pixels())
        pixels.is_sorted = False
        if not mask.any():
            pixels.negatives.append(anomaly_map.ravel())
            return
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        component = labels[mask]
        pixels.negatives.append(anomaly_map[~mask])
        pixels.positives.append(anomaly_map[mask])
        pixels.shares.append(1 / np.bincount(component)[component])

    def curve(self, groups: Iterable[Hashable] | None = None) -> Curve:
        """The curve of some groups' pixels together; None: of all."""
        names = self._groups if groups is None else [name for name in groups if name in self._groups]
        wanted = [self._groups[name] for name in names]
        return _curve(
            [pixels.sorted_negatives() for pixels in wanted],
            _joined([part for pixels in wanted for part in pixels.positives], np.float32),
            _joined([part for pixels in wanted for part in pixels.shares], np.float64),
        )


@dataclass(slots=True)
class _Pixels:
    """Of one group: defect-free pixels, defective ones, and the share of its component each of those is."""

    negatives: list[Map] = field(default_factory=list)
    positives: list[Map] = field(default_factory=list)
    shares: list[NDArray[np.float64]] = field(default_factory=list)
    is_sorted: bool = False

    def sorted_negatives(self) -> Map:
        """All of `negatives`, ascending; they become one array."""
        if not self.is_sorted:
            joined = np.empty(sum(map(len, self.negatives)), np.float32)
            end = len(joined)
            while self.negatives:  # each map goes as its pixels have been taken, so nothing is held twice
                part = self.negatives.pop()
                joined[end - len(part) : end] = part
                end -= len(part)
            # Sorting without an index is several times faster and half the memory.
            joined.sort()
            self.negatives, self.is_sorted = [joined], True
        return self.negatives[0]


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _curve(negatives: list[NDArray[Any]], positives: NDArray[Any], shares: NDArray[np.float64]) -> Curve:
    """Sort the positives and count.

    Args:
        negatives: float [N] each, ascending.
        positives: float [P].
        shares: float64 [P], share of its component that a positive is.
    """
    order = np.argsort(positives)[::-1]
    positives = positives[order]
    is_last_of_ties = np.append(positives[1:] != positives[:-1], True)[: len(positives)]
    last = np.flatnonzero(is_last_of_ties)
    value = positives[last]
    overlap = np.cumsum(shares[order])[last]
    if len(overlap):
        # The components' shares sum up to their number, but for rounding.
        overlap = np.minimum(overlap / round(overlap[-1]), 1.0)
    above, at_least = np.zeros(len(value), np.int64), np.zeros(len(value), np.int64)
    for group in negatives:
        above += len(group) - np.searchsorted(group, value, side="right")
        at_least += len(group) - np.searchsorted(group, value, side="left")
    return Curve(value, last + 1, overlap, above, at_least, sum(map(len, negatives)))
