"""A promise holds whatever the scores look like, and it takes as few parts as it can."""

from collections.abc import Callable

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.runtime.promise import (
    allowed_rank,
    bound_of_false_reject,
    fit_tail,
    parts_needed,
    percent_up,
    promised_threshold,
)

Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, count: rng.normal(1.0, 0.1, count),
    "exponential": lambda rng, count: rng.exponential(1.0, count),
    "heavy tail, no mean": lambda rng, count: rng.pareto(0.8, count),
    "two kinds of parts": lambda rng, count: rng.normal(0, 0.1, count) + 5 * (rng.random(count) < 0.01),
    "few values": lambda rng, count: rng.poisson(1.0, count).astype(np.float64),
    "nearly all equal": lambda rng, count: (rng.random(count) < 0.012).astype(np.float64),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("parts", "max_false_reject", "confidence"), [(400, 0.01, 0.95), (1000, 0.01, 0.95), (700, 0.02, 0.99)]
)
def test_random_splits_keep_the_promise(
    name: str, parts: int, max_false_reject: float, confidence: float
) -> None:
    """Calibrate on some parts of a pool, measure on all others.

    The sizes are such that the exact chance for continuous scores (98.2 %, 97.1 %, 99.5 %) lies so far above
    the confidence that 2000 splits cannot fall below it by bad luck.
    """
    rng = np.random.default_rng(7)
    splits, pool = 2000, np.sort(DISTRIBUTIONS[name](rng, 40_000))
    kept = 0
    for _ in range(splits):
        chosen = pool[rng.choice(len(pool), parts, replace=False, shuffle=False)]
        threshold, rank = promised_threshold(chosen, max_false_reject, confidence)
        above_all = len(pool) - np.searchsorted(pool, threshold, side="right")
        above_chosen = np.count_nonzero(chosen > threshold)
        assert above_chosen < rank
        kept += int(above_all - above_chosen <= max_false_reject * (len(pool) - parts))
    assert kept / splits >= confidence


def test_the_next_rank_would_break_it() -> None:
    """A bound that always held would prove nothing: the rank is the largest one that keeps the promise."""
    parts, share, confidence = 1000, 0.01, 0.95
    rank = allowed_rank(parts, share, confidence)
    scores = np.sort(np.random.default_rng(1).random((4000, parts)), axis=1)
    rates = 1 - scores  # of uniform scores, this is the share above each
    assert (rates[:, -rank] <= share).mean() >= confidence
    assert (rates[:, -rank - 1] <= share).mean() < confidence


@pytest.mark.parametrize(
    ("share", "confidence", "needed"),
    [(0.05, 0.95, 59), (0.01, 0.95, 299), (0.005, 0.95, 598), (0.1, 0.9, 22)],
)
def test_known_sizes(share: float, confidence: float, needed: int) -> None:
    """The tables of one-sided tolerance limits: 59 for 95 %/95 %, 299 for 99 %/95 %, 22 for 90 %/90 %."""
    assert parts_needed(share, confidence) == needed
    assert allowed_rank(needed, share, confidence) == 1
    assert allowed_rank(needed - 1, share, confidence) == 0


def test_ranks_and_sizes_agree() -> None:
    assert parts_needed(0.05, 0.95, rank=2) == 93  # the table's second row
    for rank in (2, 3, 10, 200):
        needed = parts_needed(0.005, 0.95, rank)
        assert allowed_rank(needed, 0.005, 0.95) == rank
        assert allowed_rank(needed - 1, 0.005, 0.95) == rank - 1


def test_ten_million_parts_do_not_overflow() -> None:
    assert parts_needed(1e-6, 0.95) == pytest.approx(2_995_731, abs=2)
    assert 480 < allowed_rank(200_000, 0.0027, 0.95) < 540


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    assert bound_of_false_reject(100, 0, 0.95) == pytest.approx(1 - 0.05**0.01)
    assert bound_of_false_reject(20, 1, 0.95) == pytest.approx(0.2161, abs=1e-4)
    assert bound_of_false_reject(20, 20, 0.95) == 1.0


def test_too_few_parts_are_told_how_many_more_and_what_they_can_promise() -> None:
    scores = np.arange(200, dtype=np.float64)
    with pytest.raises(DataError, match=r"200 good parts.*expected 598, which is 398 more.*reject 1\.49%"):
        promised_threshold(scores, 0.005, 0.95)
    assert promised_threshold(scores, 0.0149, 0.95) == (199.0, 1)


@pytest.mark.parametrize("parts", [3, 8, 21, 57, 200, 311, 1234])
def test_the_offer_is_accepted(parts: int) -> None:
    offer = percent_up(bound_of_false_reject(parts, 0, 0.95))
    assert allowed_rank(parts, float(offer.removesuffix("%")) / 100, 0.95) >= 1


def test_no_parts_and_one_part_offer_nothing() -> None:
    with pytest.raises(DataError, match=r"^0 good parts .*598 more; add them$"):
        promised_threshold(np.zeros(0), 0.005, 0.95)
    with pytest.raises(DataError, match="597 more"):
        promised_threshold(np.zeros(1), 0.005, 0.95)


@pytest.mark.parametrize(
    ("share", "confidence"), [(0.0, 0.95), (1.0, 0.95), (0.01, 1.0), (float("nan"), 0.9)]
)
def test_impossible_shares(share: float, confidence: float) -> None:
    with pytest.raises(ConfigError, match="cannot be promised"):
        promised_threshold(np.zeros(1000), share, confidence)


def test_the_tail_fit_is_near_the_truth() -> None:
    rng = np.random.default_rng(3)
    fit = fit_tail(rng.exponential(1.0, 20_000))
    assert fit is not None and abs(fit.shape) < 0.1
    assert fit.share_above(6.0) == pytest.approx(np.exp(-6), rel=0.3)
    assert fit.share_above(0.1) is None
    bounded = fit_tail(rng.random(20_000))
    assert bounded is not None and bounded.share_above(0.99) == pytest.approx(0.01, rel=0.2)
    assert bounded.share_above(1.5) == 0.0


def test_no_tail_no_fit() -> None:
    assert fit_tail(np.arange(50.0)) is None
    assert fit_tail(np.zeros(1000)) is None
