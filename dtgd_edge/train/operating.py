"""What happens on the line at one threshold: parts detected, missed, rejected and passed."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dtgd_edge.train.metrics import ImageScores, Labels, image_curve, threshold_just_below


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What happens at one threshold: `score > threshold` is NG.

    Attributes:
        threshold: of the image score.
        detected: defective parts above it.
        missed: defective parts not above it.
        false_alarms: good parts above it.
        passed: good parts not above it.
    """

    threshold: float
    detected: int
    missed: int
    false_alarms: int
    passed: int

    @property
    def detection(self) -> float | None:
        """Share of the defective parts that is detected; None without any."""
        return _share(self.detected, self.missed)

    @property
    def false_reject(self) -> float | None:
        """Share of the good parts that is rejected; None without any."""
        return _share(self.false_alarms, self.passed)

    def record(self) -> dict[str, Any]:
        """All attributes and both shares as plain JSON values."""
        return {**asdict(self), "detection": self.detection, "false_reject": self.false_reject}


def operating_point(labels: Labels, scores: ImageScores, threshold: float) -> OperatingPoint:
    """Count what happens at a threshold; arguments as `image_auroc`."""
    is_defective, is_ng = np.asarray(labels, np.bool_), np.asarray(scores) > threshold
    return OperatingPoint(
        threshold=threshold,
        detected=int((is_defective & is_ng).sum()),
        missed=int((is_defective & ~is_ng).sum()),
        false_alarms=int((~is_defective & is_ng).sum()),
        passed=int((~is_defective & ~is_ng).sum()),
    )


def point_detecting(labels: Labels, scores: ImageScores, share: float) -> OperatingPoint | None:
    """The highest threshold that detects at least a share of the defective parts.

    Args and errors: as `image_auroc`; share: in (0, 1].

    Returns:
        None when all labels are equal.
    """
    curve = image_curve(labels, scores)
    if not curve.has_both:
        return None
    value = float(curve.value[curve.detecting(share)])
    return operating_point(labels, scores, threshold_just_below(value, scores))


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
