"""Percentiles are samples that occurred, and a long run stays small."""

from random import Random

import pytest

from dtgd_edge.percentiles import Percentiles, RecentSamples


def test_of_a_hundred_samples_in_any_order() -> None:
    samples = [float(n) for n in range(1, 101)]
    Random(0).shuffle(samples)
    assert Percentiles.of(samples) == Percentiles(100, 50.0, 95.0, 99.0, 100.0)


def test_of_few_samples_takes_one_that_occurred() -> None:
    assert Percentiles.of([3.0]) == Percentiles(1, 3.0, 3.0, 3.0, 3.0)
    assert Percentiles.of([1.0, 2.0]) == Percentiles(2, 1.0, 2.0, 2.0, 2.0)


def test_of_nothing_claims_nothing() -> None:
    assert Percentiles.of([]).record() == {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}
    assert RecentSamples().percentiles() == Percentiles(0)


def test_nan_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Percentiles.of([1.0, float("nan")])


def test_recent_samples_count_all_and_keep_the_newest() -> None:
    recent = RecentSamples(capacity=10)
    for sample in [500.0, *range(100)]:
        recent.add(sample)
    assert recent.percentiles() == Percentiles(101, 94.0, 99.0, 99.0, 500.0)
