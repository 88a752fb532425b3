"""Rank correlation."""

import numpy as np
import pytest

from dtgd_edge.ranks import rank_correlation


def of(a: list[float], b: list[float]) -> float:
    return rank_correlation(np.array(a, np.float32), np.array(b, np.float32))


def test_only_the_order_counts() -> None:
    assert of([1, 2, 3], [1, 20, 300]) == pytest.approx(1.0)
    assert of([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert of([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)


def test_constant_scores() -> None:
    assert of([1, 1, 1], [2, 2, 2]) == 1.0
    assert of([1, 1, 1], [1, 2, 3]) == 0.0
