"""Parity is a decision, not a tensor difference: do converted graphs give the trained one's verdicts?"""

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import MetricParity, ParityRecord
from dtgd_edge.errors import ParityError
from dtgd_edge.export.target import LimitsTarget
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.train.evaluate import Evaluation
from dtgd_edge.train.metrics import auroc_change_error
from dtgd_edge.verdict import Scores

# With fewer frames than 1 / limit the limit would allow no flip at all, and a part that lies on the threshold
# flips by any rounding, float32's on another processor included. So one flip is allowed, but only
# where it is one in fifty at most: a smaller set could hide a graph that loses every tenth part.
ONE_FLIP_FRAMES = 50


def compare(
    session: str,
    candidate: Scores,
    candidate_threshold: float,
    reference: Scores,
    reference_threshold: float,
    flip_limit: float,
    stress: Scores | None = None,
    metrics: MetricParity | None = None,
) -> ParityRecord:
    """Compare two graphs' answers to the same frames, each judged at its own threshold.

    Args:
        session: what computed `candidate`, for people.
        candidate: of the converted graph.
        candidate_threshold: its threshold.
        reference: of the trained graph, in float32 PyTorch.
        reference_threshold: its threshold.
        flip_limit: allowed share of differing verdicts.
        stress: the converted graph's answers to `stress_frames`, which must be finite and no more.
        metrics: what both reach on test pictures.
    """
    finite = np.isfinite(candidate.score)
    is_ng = candidate.score > candidate_threshold
    was_ng = reference.score > reference_threshold
    flips = int(np.sum((is_ng != was_ng) | ~finite))
    margins = np.abs(candidate.score - candidate_threshold) / max(abs(candidate_threshold), 1e-9)
    return ParityRecord(
        session=session,
        reference="PyTorch float32",
        frames=len(candidate.score),
        flips=flips,
        smallest_margin=_finite(np.nanmin(np.where(finite, margins, np.nan)) if finite.any() else 0.0),
        rank_correlation=_finite(rank_correlation(candidate.score, reference.score)),
        score_difference=_finite(np.abs(candidate.score - reference.score).max()),
        map_difference=_finite(np.abs(candidate.map - reference.map).max()),
        non_finite=non_finite(candidate) + (0 if stress is None else non_finite(stress)),
        flip_limit=flip_limit,
        stress_frames=0 if stress is None else len(stress.score),
        metrics=metrics,
    )


def compare_metrics(candidate: Evaluation, reference: Evaluation, limits: LimitsTarget) -> MetricParity:
    """Put two graphs' measures on the same test pictures side by side."""
    labels = [part.is_defective for part in reference.per_part]
    scores = ([part.score for part in found.per_part] for found in (candidate, reference))
    return MetricParity(
        pictures=reference.native.pictures,
        image_auroc=candidate.native.image_auroc,
        reference_image_auroc=reference.native.image_auroc,
        image_auroc_limit=limits.image_auroc_points,
        aupro=candidate.native.aupro,
        reference_aupro=reference.native.aupro,
        aupro_limit=limits.aupro_points,
        image_auroc_error=100 * auroc_change_error(labels, *scores),
    )


def require(record: ParityRecord) -> None:
    """Refuse a graph whose verdicts are not the trained one's.

    Raises:
        ParityError: see `refusal`.
    """
    if (reason := refusal(record)) is not None:
        raise ParityError(reason)


def refusal(record: ParityRecord) -> str | None:
    """Say in one sentence why a graph must not ship; None: it may."""
    if record.non_finite:
        return (
            f"{record.session}: {record.non_finite} scores or map pixels are NaN or infinite on "
            f"{record.frames} frames and {record.stress_frames} stress frames; expected none; "
            "export with --precision fp32"
        )
    allowed = flips_allowed(record.flip_limit, record.frames)
    if record.flips > allowed:
        return (
            f"{record.session}: {record.flips} of {record.frames} verdicts differ from {record.reference} "
            f"(smallest margin to the threshold {record.smallest_margin:.2%}); expected at most {allowed}; "
            "train longer or with more good pictures, or export with a higher precision"
        )
    return None if record.metrics is None else _lost_points(record.session, record.metrics)


def flips_allowed(limit: float, frames: int) -> int:
    """How many verdicts may differ; see ONE_FLIP_FRAMES."""
    allowed = int(limit * frames)
    return max(allowed, 1) if limit > 0 and frames >= ONE_FLIP_FRAMES else allowed


def points_lost(value: float | None, reference: float | None) -> float:
    """By how many points of 100 a measure fell; 0 where there is none to compare."""
    return 0.0 if value is None or reference is None else 100 * (reference - value)


def _lost_points(session: str, metrics: MetricParity) -> str | None:
    auroc = points_lost(metrics.image_auroc, metrics.reference_image_auroc)
    aupro = points_lost(metrics.aupro, metrics.reference_aupro)
    for name, lost, limit, error in (
        ("image AUROC", auroc, metrics.image_auroc_limit, _doubt(metrics)),
        ("AUPRO", aupro, metrics.aupro_limit, 0.0),
    ):
        if lost > limit + error + 1e-9:
            beyond = f" and {error:.2f} that may be chance" if error else ""
            return (
                f"{session}: {name} falls by {lost:.2f} points on {metrics.pictures} test pictures; "
                f"expected at most {limit:g}{beyond}; export with a higher precision"
            )
    return None


def _doubt(metrics: MetricParity) -> float:
    """Points of image AUROC that a graph may lose beyond the limit, because chance alone takes as many.

    No more than the limit once again: a few pictures, on which anything may be chance, prove nothing.
    """
    return min(metrics.image_auroc_error, metrics.image_auroc_limit)


def stress_frames(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Frames that no camera should give and some will: black, white, noise, a saturated checkerboard.

    Returns:
        uint8 [4, H, W, 3].
    """
    height, width = size_hw
    shape = (height, width, 3)
    cells = (np.arange(height)[:, None] // 8 + np.arange(width)[None] // 8) % 2
    return np.stack(
        [
            np.zeros(shape, np.uint8),
            np.full(shape, 255, np.uint8),
            np.random.default_rng(0).integers(0, 256, shape, np.uint8),
            np.repeat((255 * cells).astype(np.uint8)[..., None], 3, axis=2),
        ]
    )


def non_finite(scores: Scores) -> int:
    """Number of scores and map pixels that are NaN or infinite."""
    return int((~np.isfinite(scores.score)).sum() + (~np.isfinite(scores.map)).sum())


def _finite(value: float) -> float:
    """JSON has no NaN; a difference that cannot be computed is recorded as the largest float32."""
    return float(value) if np.isfinite(value) else float(np.finfo(np.float32).max)
