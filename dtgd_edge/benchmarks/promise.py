"""Does a promise about false rejects hold on parts that the threshold has not seen?

Scores of good parts are split at random, again and again: one half chooses the threshold as `dtgd-edge
calibrate` does, the other is measured. Because a split is of finite size, the chance that the measured share
stays within the promise is not the confidence but can be computed exactly; both are reported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np

from dtgd_edge.errors import DataError
from dtgd_edge.runtime.calibrate import Calibrator
from dtgd_edge.runtime.promise import Values, allowed_rank, percent, promised_threshold

# Promises that are tried, strictest first, when none is given.
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class PromiseKept:
    """What many splits of the same good parts have shown.

    Attributes:
        bundle, data: which scored what; "" for bare scores.
        parts: different good parts.
        calibrated_on: of them chose the threshold in each split; the others were measured.
        max_false_reject, confidence: what was promised.
        splits: number of random splits.
        kept: splits in which the measured share was at most the promised one.
        kept_share: kept / splits.
        exact_chance: the share of all possible splits that keep it, if no two scores are equal.
        mean_false_reject, worst_false_reject: measured shares over the splits.
    """

    bundle: str
    data: str
    parts: int
    calibrated_on: int
    max_false_reject: float
    confidence: float
    splits: int
    kept: int
    kept_share: float
    exact_chance: float
    mean_false_reject: float
    worst_false_reject: float

    @property
    def is_kept(self) -> bool:
        """Whether the splits kept the promise as often as its confidence says."""
        return self.kept_share >= self.confidence


def promise_on_pictures(
    bundle: Path,
    good: Path,
    *,
    max_false_reject: float | None = None,
    confidence: float = 0.95,
    splits: int = 2000,
    seed: int = 0,
    backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PromiseKept:
    """Score the good parts of a folder with a bundle, then split them.

    Args:
        bundle: trained without these parts.
        good: folder of pictures, one per part; copies count once.
        max_false_reject, confidence, splits, seed: as `promise_on_scores`.
        backend: as open_session takes it; None: what the bundle was exported for.
        progress: called with the number of the picture and of all.

    Raises:
        DataError: too few parts, or none that can be judged.
        BundleError, BackendError: as Inspector.open.
    """
    with Calibrator.open(bundle, backend) as calibrator:
        scores = calibrator.score_folder(good, progress).scores
    return promise_on_scores(
        scores,
        max_false_reject=max_false_reject,
        confidence=confidence,
        splits=splits,
        seed=seed,
        bundle=str(bundle),
        data=str(good),
    )


def promise_on_scores(
    scores: Values,
    *,
    max_false_reject: float | None = None,
    confidence: float = 0.95,
    splits: int = 2000,
    seed: int = 0,
    bundle: str = "",
    data: str = "",
) -> PromiseKept:
    """Split the scores of good parts at random, choose a threshold on one half and measure the other.

    Args:
        scores: [N], one per part.
        max_false_reject: what to promise; None: the strictest of SHARES that halves of this size keep
            exactly as often as the confidence says.
        confidence: in (0, 1).
        splits: how many.
        seed: of the splits.
        bundle, data: for the record.

    Raises:
        ConfigError: a share that means nothing.
        DataError: half of the parts are too few for the promise.
    """
    count = len(scores)
    half = count // 2
    share = strictest_share(count, half, confidence) if max_false_reject is None else max_false_reject
    threshold, rank = promised_threshold(scores[:half], share, confidence)  # says when they are too few
    rng = np.random.default_rng(seed)
    rates = np.empty(splits)
    for split in range(splits):
        order = rng.permutation(count)
        threshold, _ = promised_threshold(scores[order[:half]], share, confidence)
        rates[split] = np.count_nonzero(scores[order[half:]] > threshold) / (count - half)
    kept = int(np.count_nonzero(rates <= share))
    return PromiseKept(
        bundle=bundle,
        data=data,
        parts=count,
        calibrated_on=half,
        max_false_reject=share,
        confidence=confidence,
        splits=splits,
        kept=kept,
        kept_share=kept / splits,
        exact_chance=chance_of_keeping(count, half, rank, share),
        mean_false_reject=float(rates.mean()),
        worst_false_reject=float(rates.max()),
    )


def strictest_share(parts: int, calibrated_on: int, confidence: float) -> float:
    """The strictest of SHARES that splits of this size keep often enough to be tested.

    Raises:
        DataError: none.
    """
    for share in SHARES:
        rank = allowed_rank(calibrated_on, share, confidence)
        if rank and chance_of_keeping(parts, calibrated_on, rank, share) >= confidence:
            return share
    raise DataError(
        f"{parts} good parts can show no promise of {percent(SHARES[-1])} or less with "
        f"{percent(confidence)} confidence; expected 20 or more; add parts or lower the confidence"
    )


def chance_of_keeping(parts: int, calibrated_on: int, rank: int, share: float) -> float:
    """Share of all splits whose measured part has at most `share` of its scores above the threshold.

    Args:
        parts: scores, no two of them equal.
        calibrated_on: of them choose the threshold: the rank-th largest of theirs.
        rank: 1 or more.
        share: promised.
    """
    # One more than allowed lies above exactly when fewer than `rank` of the highest allowed + rank scores
    # fell to the calibrating part.
    allowed = int(np.floor(share * (parts - calibrated_on) * (1 + 1e-12)))
    highest = allowed + rank
    if highest > parts:
        return 1.0
    broken = sum(
        comb(highest, among) * comb(parts - highest, calibrated_on - among)
        for among in range(min(rank, calibrated_on + 1))
    )
    return 1.0 - broken / comb(parts, calibrated_on)
