"""The measures of anomaly detection, exact, as MVTec AD's official evaluation defines them.

Sources: MVTec AD's evaluation code; for average precision scikit-learn. numpy; see `curves`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.curves import Curve, Map, Mask, PixelPool, curve_from_scores

Labels = Sequence[bool] | NDArray[np.bool_]
ImageScores = Sequence[float] | NDArray[Any]

AUPRO_LIMIT, AUPRO_STRICT_LIMIT = 0.3, 0.05
DETECTIONS = (1.0, 0.99, 0.95)


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well scores and maps tell defective parts from good ones.

    In [0, 1], 1 is perfect (0 for false rejects); None where it cannot be computed (no good, defective
    or marked parts).

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
        pixel_f1_max: as `f1_max`, for pixels, pooled.
        false_reject_100: share of good parts rejected at the highest threshold that detects every
            defective part.
        false_reject_99: the same, at least 99 % of them.
        false_reject_95: the same, at least 95 % of them.
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
    # Results written before these were measured can still be read.
    pixel_f1_max: float | None = None
    false_reject_100: float | None = None
    false_reject_99: float | None = None
    false_reject_95: float | None = None

    def record(self) -> dict[str, Any]:
        """All attributes as plain JSON values."""
        return asdict(self)


class Pool:
    """Parts as they are scored, pooled; then every measure, of all and of each kind of defect.

    The measures of a kind are those of its parts and all good parts. Holds the maps' pixels, 4 bytes
    each; every pixel is sorted once.
    """

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._kinds: list[str | None] = []
        self._without_mask: list[str | None] = []
        self._pixels = PixelPool()

    def add(self, kind: str | None, score: float, anomaly_map: Map, mask: Mask | None) -> None:
        """Add a part.

        Args:
            kind: of its defect; None: a good part.
            score: the image score, finite.
            anomaly_map: float32 [H, W], finite; kept, never changed; sizes may differ.
            mask: bool [H, W], True on defects; None: not marked, left out of the pixel measures.

        Raises:
            DataError: the map holds NaN or infinity, or its size differs from its mask's.
        """
        if mask is None:
            self._without_mask.append(kind)
        else:
            self._pixels.add(kind, anomaly_map, mask)
        self._scores.append(score)
        self._kinds.append(kind)

    @property
    def kinds(self) -> list[str]:
        """The kinds of defects, by name."""
        return sorted({kind for kind in self._kinds if kind is not None})

    def metrics(self, kind: str | None = None) -> Metrics:
        """Every measure, of all parts, or of one kind of defect against all good parts.

        Raises:
            DataError: a score is NaN or infinite.
        """
        pixel = self._pixels.curve(None if kind is None else (None, kind))
        rows = [row for row, own in enumerate(self._kinds) if kind is None or own in (None, kind)]
        labels = np.array([self._kinds[row] is not None for row in rows], np.bool_)
        image = image_curve(labels, np.array([self._scores[row] for row in rows]))
        image_f1, pixel_f1 = image.f1_max(), pixel.f1_max()
        false_rejects = [
            float(image.at_least[image.detecting(share)] / image.negatives) if image.has_both else None
            for share in DETECTIONS
        ]
        return Metrics(
            image_auroc=image.auroc(),
            pixel_auroc=pixel.auroc(),
            pixel_ap=pixel.average_precision(),
            aupro=pixel.aupro(AUPRO_LIMIT),
            aupro_05=pixel.aupro(AUPRO_STRICT_LIMIT),
            f1_max=image_f1 and image_f1[0],
            pictures=len(rows),
            defective=image.positives,
            without_mask=sum(kind is None or own == kind for own in self._without_mask),
            pixel_f1_max=pixel_f1 and pixel_f1[0],
            false_reject_100=false_rejects[0],
            false_reject_99=false_rejects[1],
            false_reject_95=false_rejects[2],
        )

    def pixel_curve(self) -> Curve:
        """The curve of all pixels."""
        return self._pixels.curve()


def pooled_metrics(
    maps: Sequence[Map], masks: Sequence[Mask | None], scores: ImageScores, labels: Labels
) -> Metrics:
    """Every measure of parts whose defects are of one kind, or of no matter which.

    Args:
        maps, masks, scores: one per part, as `Pool.add` takes them.
        labels: [N], True for defective.

    Raises:
        DataError: as `Pool`.
    """
    pool = Pool()
    for anomaly_map, mask, score, is_defective in zip(maps, masks, scores, labels, strict=True):
        pool.add("defective" if is_defective else None, float(score), anomaly_map, mask)
    return pool.metrics()


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
    return image_curve(labels, scores).auroc()


def auroc_change_error(labels: Labels, scores: ImageScores, others: ImageScores) -> float:
    """Standard error of the difference of two image AUROCs on the same pictures (DeLong et al. 1988).

    Args:
        labels: [N], True for defective.
        scores, others: [N], of two graphs, finite.

    Returns:
        In [0, 1]; 0 with fewer than two good or defective pictures.
    """
    bad = np.asarray(labels, np.bool_)
    if min(bad.sum(), (~bad).sum()) < 2:
        return 0.0

    def shares(values: ImageScores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the good pictures, below each defective one; of the defective ones, above each good one."""
        found = np.asarray(values, np.float64)
        above = np.sign(found[bad][:, None] - found[~bad]) / 2 + 0.5
        return above.mean(1), above.mean(0)

    apart = [a - b for a, b in zip(shares(scores), shares(others), strict=True)]
    return float(np.sqrt(sum(difference.var(ddof=1) / len(difference) for difference in apart)))


def average_precision(labels: Labels, scores: ImageScores) -> float | None:
    """Sum of precision x gain of recall over all distinct scores (scikit-learn's definition).

    Args and errors: as `image_auroc`.

    Returns:
        In [0, 1]; None without a positive.
    """
    return image_curve(labels, scores).average_precision()


def f1_max(labels: Labels, scores: ImageScores) -> tuple[float, float] | None:
    """Largest F1 over all thresholds, and a threshold that reaches it.

    Args and errors: as `image_auroc`.

    Returns:
        F1 in [0, 1]; threshold: `score > threshold` gives that F1. None when all labels are equal.
    """
    curve = image_curve(labels, scores)
    best = curve.f1_max()
    return best and (best[0], threshold_just_below(float(curve.value[best[1]]), scores))


def threshold_just_below(value: float, scores: ImageScores) -> float:
    """A threshold that a score of `value` is above, half-way to the next lower score if possible."""
    values = np.asarray(scores, np.float64)
    just_below = float(np.nextafter(value, -np.inf))
    lower = float(values[values < value].max(initial=-np.inf))
    return just_below if lower == -np.inf else min((lower + value) / 2, just_below)


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


def image_curve(labels: Labels, scores: ImageScores) -> Curve:
    """The curve of image scores; arguments and errors as `image_auroc`."""
    positive = np.asarray(labels, np.bool_)
    values = np.asarray(scores)
    if positive.shape != values.shape or values.ndim != 1:
        raise DataError(f"{positive.shape} labels with {values.shape} scores; expected one each per picture")
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        raise DataError(
            f"{bad} of {len(values)} scores are NaN or infinite; expected numbers; check the graph"
        )
    return curve_from_scores(values[positive], values[~positive])


def _curve_from_maps(maps: Sequence[Map], masks: Sequence[Mask]) -> Curve:
    pool = PixelPool()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        pool.add(None, anomaly_map, mask)
    return pool.curve()
