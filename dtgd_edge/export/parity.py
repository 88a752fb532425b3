"""Parity is a decision, not a tensor difference: do converted graphs give the trained one's verdicts?"""

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import ParityRecord
from dtgd_edge.errors import ParityError
from dtgd_edge.verdict import Scores


def compare(
    session: str,
    candidate: Scores,
    candidate_threshold: float,
    reference: Scores,
    reference_threshold: float,
    flip_limit: float,
) -> ParityRecord:
    """Compare two graphs' answers to the same frames, each judged at its own threshold.

    Args:
        session: what computed `candidate`, for people.
        candidate: of the converted graph.
        candidate_threshold: its threshold.
        reference: of the trained graph, in float32 PyTorch.
        reference_threshold: its threshold.
        flip_limit: allowed share of differing verdicts.
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
        non_finite=int((~finite).sum() + (~np.isfinite(candidate.map)).sum()),
        flip_limit=flip_limit,
    )


def require(record: ParityRecord) -> None:
    """Refuse a graph whose verdicts are not the trained one's.

    Raises:
        ParityError: more flips than allowed, or NaN or infinite values.
    """
    if record.non_finite:
        raise ParityError(
            f"{record.session}: {record.non_finite} scores or map pixels are NaN or infinite on "
            f"{record.frames} frames; expected none; export with --precision fp32"
        )
    allowed = int(record.flip_limit * record.frames)
    if record.flips > allowed:
        raise ParityError(
            f"{record.session}: {record.flips} of {record.frames} verdicts differ from {record.reference} "
            f"(smallest margin to the threshold {record.smallest_margin:.2%}); expected at most {allowed}; "
            "train longer or with more good pictures, or export with a higher precision"
        )


def rank_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Spearman's correlation of two score lists; 1 when either is constant in the same places."""
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    if ranks_a.std() == 0 or ranks_b.std() == 0:
        return 1.0 if np.array_equal(ranks_a, ranks_b) else 0.0
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[inverse], np.float64)


def _finite(value: float) -> float:
    """JSON has no NaN; a difference that cannot be computed is recorded as the largest float32."""
    return float(value) if np.isfinite(value) else float(np.finfo(np.float32).max)
