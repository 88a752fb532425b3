"""What n good parts can promise about all others: order statistics, and a tail fit as a mere estimate.

Let the threshold be the k-th largest of n scores of good parts. Whatever the distribution of the scores,
the share of good parts above it is at most p with a probability of at least P(Binomial(n, p) >= k); ties only
raise it, because a score on the threshold is OK. numpy only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.manifest import Threshold

Values = NDArray[np.float64]

# Rounding of the sums below must never give a promise away.
_SLACK = 1 + 1e-9
_TAIL_SHARE, _TAIL_FEWEST = 0.1, 10


def check_promise(max_false_reject: float, confidence: float) -> None:
    """Refuse shares that mean nothing.

    Raises:
        ConfigError: one of them is not between 0 and 1.
    """
    for name, share in (("false-reject rate", max_false_reject), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ConfigError(
                f"a {name} of {percent(share)} cannot be promised; expected more than 0% and less than 100%; "
                "correct it"
            )


def allowed_rank(parts: int, max_false_reject: float, confidence: float) -> int:
    """The largest k for which the k-th largest of the parts' scores keeps the promise; 0: none does.

    Args:
        parts: number of good parts.
        max_false_reject: in (0, 1).
        confidence: in (0, 1).
    """
    chances = _chances_of_at_most(parts - 1, parts, max_false_reject) if parts else np.zeros(0)
    return int((chances * _SLACK <= 1 - confidence).sum())


def parts_needed(max_false_reject: float, confidence: float, rank: int = 1) -> int:
    """How many good parts it takes until the rank-th largest score keeps the promise; as `allowed_rank`."""

    def is_enough(parts: int) -> bool:
        return bool(_chances_of_at_most(rank - 1, parts, max_false_reject)[-1] * _SLACK <= 1 - confidence)

    few, many = rank - 1, rank
    while not is_enough(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return many


def bound_of_false_reject(parts: int, above: int, confidence: float) -> float:
    """The share of good parts that, with this confidence, a threshold does not exceed.

    Args:
        parts: number of good parts, at least one.
        above: how many of them lie above a threshold that was chosen without them. For one that is the
            k-th largest of their own scores: k - 1.
        confidence: in (0, 1).

    Returns:
        In (0, 1]; never too small by rounding.
    """
    if above >= parts:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        is_bound = _chances_of_at_most(above, parts, middle)[-1] * _SLACK <= 1 - confidence
        low, high = (low, middle) if is_bound else (middle, high)
    return high


def promised_threshold(scores: Values, max_false_reject: float, confidence: float) -> tuple[float, int]:
    """Choose the lowest threshold that keeps a promise.

    Args:
        scores: [N], of different good parts that training has not seen.
        max_false_reject: share of good parts that may lie above it, in (0, 1).
        confidence: in (0, 1).

    Returns:
        The threshold, and its rank: it is the rank-th largest score.

    Raises:
        ConfigError: one of the shares is not between 0 and 1.
        DataError: too few parts; the text says how many more, and what these can promise.
    """
    check_promise(max_false_reject, confidence)
    count = len(scores)
    rank = allowed_rank(count, max_false_reject, confidence)
    if not rank:
        needed = parts_needed(max_false_reject, confidence)
        offer = "add them"
        if count and (best := bound_of_false_reject(count, 0, confidence)) < 0.995:
            offer += f", or promise what {count} parts can keep: --max-false-reject {percent_up(best)}"
        raise DataError(
            f"{count} good parts cannot promise at most {percent(max_false_reject)} false rejects with "
            f"{percent(confidence)} confidence; expected {needed}, which is {needed - count} more; {offer}"
        )
    return float(np.partition(scores, count - rank)[count - rank]), rank


@dataclass(frozen=True, slots=True)
class TailFit:
    """A generalised Pareto distribution over the highest scores. An estimate: it promises nothing.

    Attributes:
        start: score at which the tail begins.
        share: of the parts above it.
        scale: of the distribution, in score units.
        shape: below 0 the tail ends, above 0 it is heavier than an exponential one.
    """

    start: float
    share: float
    scale: float
    shape: float

    def share_above(self, score: float) -> float | None:
        """Estimated share of good parts above a score; None below the tail, about which it says nothing."""
        if score < self.start:
            return None
        distance = (score - self.start) / self.scale
        if abs(self.shape) < 1e-9:
            return self.share * math.exp(-distance)
        inside = 1 + self.shape * distance
        return self.share * inside ** (-1 / self.shape) if inside > 0 else 0.0


def fit_tail(scores: Values) -> TailFit | None:
    """Fit the highest tenth of the scores by the method of moments.

    Args:
        scores: [N], finite.

    Returns:
        None with fewer than 10 scores in the tail, or when they are all equal.
    """
    ordered = np.sort(scores)[::-1]
    count = int(_TAIL_SHARE * len(ordered))
    if count < _TAIL_FEWEST:
        return None
    start = float(ordered[count])
    beyond = ordered[:count] - start
    mean, variance = float(beyond.mean()), float(beyond.var(ddof=1))
    if variance <= 0 or mean <= 0:
        return None
    ratio = mean * mean / variance
    return TailFit(start, count / len(ordered), mean * (ratio + 1) / 2, (1 - ratio) / 2)


def percent(share: float) -> str:
    """A share as a user wrote it: 0.5%."""
    return f"{100 * share:.10g}%"


def percent_up(share: float) -> str:
    """A bound in three digits, rounded up, so that it can be promised."""
    unit = 10.0 ** (math.floor(math.log10(100 * share)) - 2)
    return f"{math.ceil(100 * share / unit) * unit:.10g}%"


def promise_text(threshold: Threshold) -> str:
    """What a threshold promises, in words."""
    if (promise := threshold.promise) is None:
        return "none about false rejects (dtgd-edge calibrate makes one)"
    return (
        f"at most {percent(promise.max_false_reject)} of good parts are rejected, with "
        f"{percent(promise.confidence)} confidence; from {promise.parts} good parts in {promise.data}, "
        f"scored on {promise.device}, {promise.created[:10]}"
    )


def _chances_of_at_most(above: int, parts: int, share: float) -> Values:
    """Chances that at most 0, 1, ... `above` of the parts lie above a score that `share` of all exceed."""
    if share >= 1:
        return np.zeros(above + 1)
    count = np.arange(1, above + 1)
    steps = np.log((parts - count + 1) / count) + math.log(share) - math.log1p(-share)
    # Sums of logarithms: (1 - share) ** parts alone would be 0 for many parts.
    return np.cumsum(np.exp(parts * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(steps)])))
