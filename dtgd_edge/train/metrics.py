"""The measures of anomaly detection, exact, as MVTec AD's official evaluation defines them.

All pixels of all test pictures are pooled; nothing is sampled, binned or normalised per picture.
Sources: MVTec AD's evaluation code; for average precision scikit-learn. numpy; cv2 for components.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = Sequence[bool] | NDArray[np.bool_]
ImageScores = Sequence[float] | NDArray[Any]

AUPRO_LIMIT, AUPRO_STRICT_LIMIT = 0.3, 0.05


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well scores and maps tell defective parts from good ones.

    In [0, 1], 1 is perfect; None where it cannot be computed (no good, defective or marked parts).

    Attributes:
        image_auroc: chance that a defective picture scores above a good one.
        pixel_auroc: the same for pixels, pooled.
        pixel_ap: average precision of pixels, pooled.
        aupro: area under the per-region overlap up to 30 % false positive pixels, divided by 0.3.
        aupro_05: the same up to 5 %, which tells good maps apart when `aupro` no longer does.
        f1_max: largest F1 over all thresholds of the image score.
        pictures: number of pictures.
        defective: how many of them are defective.
        without_mask: defective pictures without a mask; the pixel measures leave them out.
    """

    image_auroc: float | None
    pixel_auroc: float | None
    pixel_ap: float | None
    aupro: float | None
    aupro_05: float | None
    f1_max: float | None
    pictures: int
    defective: int
    without_mask: int = 0

    def record(self) -> dict[str, Any]:
        """All attributes as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
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
        return int(self.hits[-1]) if len(self.hits) else 0

    def auroc(self) -> float | None:
        if not self.positives or not self.negatives:
            return None
        # Per positive: the negatives below it, and half of those that tie with it.
        beaten = self.negatives - (self.above + self.at_least) / 2
        gained = np.diff(self.hits, prepend=0)
        return float(np.dot(gained / self.positives, beaten / self.negatives))

    def average_precision(self) -> float | None:
        if not self.positives:
            return None
        gained = np.diff(self.hits, prepend=0)
        return float(np.dot(gained / self.positives, self.hits / (self.hits + self.at_least)))

    def aupro(self, limit: float) -> float | None:
        if not self.positives or not self.negatives:
            return None
        # Each threshold is reached along a level line (negatives alone) and left along a rise.
        x = np.empty(2 * len(self.value) + 2)
        y = np.empty_like(x)
        x[0], x[1:-1:2], x[2:-1:2], x[-1] = 0, self.above, self.at_least, self.negatives
        y[0], y[1], y[3:-1:2], y[2:-1:2], y[-1] = 0, 0, self.overlap[:-1], self.overlap, 1
        x /= self.negatives
        inside = int(np.searchsorted(x, limit, side="right"))
        at_limit = np.interp(limit, x[inside - 1 : inside + 1], y[inside - 1 : inside + 1])
        x, y = np.append(x[:inside], limit), np.append(y[:inside], at_limit)
        return float(np.dot(np.diff(x), (y[1:] + y[:-1]) / 2) / limit)

    def f1_max(self) -> tuple[float, int]:
        f1 = 2 * self.hits / (self.hits + self.at_least + self.positives)
        best = int(np.argmax(f1))
        return float(f1[best]), best


def image_auroc(labels: Labels, scores: ImageScores) -> float | None:
    """Area under the ROC curve of image scores; ties count half.

    Args:
        labels: [N], True for defective.
        scores: [N], higher is more anomalous, finite.

    Returns:
        In [0, 1]; None when all labels are equal.

    Raises:
        DataError: a score is NaN or infinite, or the lengths differ.
    """
    return _curve_from_scores(labels, scores).auroc()


def average_precision(labels: Labels, scores: ImageScores) -> float | None:
    """Sum of precision x gain of recall over all distinct scores (scikit-learn's definition).

    Args and errors: as `image_auroc`.

    Returns:
        In [0, 1]; None without a positive.
    """
    return _curve_from_scores(labels, scores).average_precision()


def f1_max(labels: Labels, scores: ImageScores) -> tuple[float, float] | None:
    """Largest F1 over all thresholds, and a threshold that reaches it.

    Args and errors: as `image_auroc`.

    Returns:
        F1 in [0, 1]; threshold: `score > threshold` gives that F1. None when all labels are equal.
    """
    curve = _curve_from_scores(labels, scores)
    if not curve.positives or not curve.negatives:
        return None
    f1, best = curve.f1_max()
    value = float(curve.value[best])
    values = np.asarray(scores, np.float64)
    just_below = float(np.nextafter(value, -np.inf))
    lower = float(values[values < value].max(initial=-np.inf))
    return f1, just_below if lower == -np.inf else min((lower + value) / 2, just_below)


def pixel_auroc(maps: Sequence[Map], masks: Sequence[Mask]) -> float | None:
    """Area under the ROC curve of all pixels of all pictures, pooled.

    Args:
        maps: float32 [H, W] each, finite; sizes may differ.
        masks: bool [H, W] each, True on defects; all False for a good picture.

    Returns:
        In [0, 1]; None when no pixel is defective, or all are.

    Raises:
        DataError: a map holds NaN or infinity, or its size differs from its mask's.
    """
    return _curve_from_maps(maps, masks).auroc()


def aupro(maps: Sequence[Map], masks: Sequence[Mask], limit: float = AUPRO_LIMIT) -> float | None:
    """Area under the per-region overlap curve up to a false positive rate, divided by that rate.

    Components are 8-connected and count alike, whatever their size; the false positive rate is over
    all defect-free pixels, those of good pictures too; interpolated exactly at `limit`.

    Args:
        maps, masks, errors: as `pixel_auroc`.
        limit: largest false positive rate, in (0, 1].

    Returns:
        In [0, 1]; None when there is no component.
    """
    if not 0 < limit <= 1:
        raise ConfigError(f"AUPRO limit {limit} is impossible; expected above 0 and at most 1; use 0.3")
    return _curve_from_maps(maps, masks).aupro(limit)


def pooled_metrics(
    maps: Sequence[Map],
    masks: Sequence[Mask | None],
    scores: ImageScores,
    labels: Labels,
) -> Metrics:
    """Compute everything about one category; the pixels are sorted once.

    Needs about 5 bytes per pixel besides the maps.

    Args:
        maps: float32 [H, W] per picture, finite; sizes may differ.
        masks: bool [H, W] per picture; None: not marked, left out of the pixel measures.
        scores: [N], image scores, finite.
        labels: [N], True for defective.

    Raises:
        DataError: NaN or infinity, or a map's size differs from its mask's.
    """
    image = _curve_from_scores(labels, scores)
    marked = [index for index, mask in enumerate(masks) if mask is not None]
    pixel = _curve_from_maps([maps[i] for i in marked], [mask for mask in masks if mask is not None])
    has_both = bool(image.positives and image.negatives)
    return Metrics(
        image_auroc=image.auroc(),
        pixel_auroc=pixel.auroc(),
        pixel_ap=pixel.average_precision(),
        aupro=pixel.aupro(AUPRO_LIMIT),
        aupro_05=pixel.aupro(AUPRO_STRICT_LIMIT),
        f1_max=image.f1_max()[0] if has_both else None,
        pictures=len(maps),
        defective=image.positives,
        without_mask=len(masks) - len(marked),
    )


def _curve_from_scores(labels: Labels, scores: ImageScores) -> _Curve:
    positive = np.asarray(labels, np.bool_)
    values = np.asarray(scores)
    if positive.shape != values.shape or values.ndim != 1:
        raise DataError(f"{positive.shape} labels with {values.shape} scores; expected one each per picture")
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        raise DataError(
            f"{bad} of {len(values)} scores are NaN or infinite; expected numbers; check the graph"
        )
    return _curve(values[~positive], values[positive], np.ones(int(positive.sum())))


def _curve_from_maps(maps: Sequence[Map], masks: Sequence[Mask]) -> _Curve:
    import cv2

    negatives, positives, shares = [], [], []
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        if anomaly_map.shape != mask.shape:
            shapes = f"{anomaly_map.shape} and its mask {mask.shape}"
            raise DataError(f"map {index} is {shapes}; expected the same size; resize the map")
        if not np.isfinite(anomaly_map).all():
            raise DataError(f"map {index} holds NaN or infinity; expected numbers; check the graph")
        if not mask.any():
            negatives.append(anomaly_map.ravel())
            continue
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        component = labels[mask]
        negatives.append(anomaly_map[~mask])
        positives.append(anomaly_map[mask])
        shares.append(1 / np.bincount(component)[component])
    empty = np.empty(0, np.float32)
    return _curve(
        np.concatenate(negatives or [empty]),
        np.concatenate(positives or [empty]),
        np.concatenate(shares or [np.empty(0)]),
    )


def _curve(negatives: NDArray[Any], positives: NDArray[Any], shares: NDArray[np.float64]) -> _Curve:
    """Sort and count.

    Args:
        negatives: [N], sorted in place.
        positives: [P].
        shares: float64 [P], share of its component that a positive is.
    """
    # Sorting the negatives without an index is several times faster and half the memory.
    negatives.sort()
    order = np.argsort(positives)[::-1]
    positives = positives[order]
    is_last_of_ties = np.append(positives[1:] != positives[:-1], True)[: len(positives)]
    last = np.flatnonzero(is_last_of_ties)
    value = positives[last]
    overlap = np.cumsum(shares[order])[last]
    if len(overlap):
        # The components' shares sum up to their number, but for rounding.
        overlap = np.minimum(overlap / round(overlap[-1]), 1.0)
    return _Curve(
        value=value,
        hits=last + 1,
        overlap=overlap,
        above=len(negatives) - np.searchsorted(negatives, value, side="right"),
        at_least=len(negatives) - np.searchsorted(negatives, value, side="left"),
        negatives=len(negatives),
    )
