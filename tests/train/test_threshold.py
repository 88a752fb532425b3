"""The threshold: from good parts only, and with room for the next ones."""

import numpy as np
import pytest

from dtgd_edge.errors import DataError
from dtgd_edge.train.recipe import ScoringRecipe
from dtgd_edge.train.threshold import threshold_from_normals


def test_lies_beyond_the_quantile_by_the_margin() -> None:
    scores = np.linspace(1, 2, 101, dtype=np.float32)
    found = threshold_from_normals(scores, ScoringRecipe(threshold_quantile=0.9, threshold_margin=0.5))
    assert found.value == pytest.approx(1.5 + 1.5 * 0.4)
    assert found.normals == 101
    assert "quantile 0.9" in found.rule and "50%" in found.rule


def test_no_good_part_is_above_it() -> None:
    for seed in range(20):
        scores = np.random.default_rng(seed).gamma(3, 1, 30).astype(np.float32)
        assert (scores <= threshold_from_normals(scores, ScoringRecipe()).value).all()


def test_moves_and_scales_with_the_scores() -> None:
    scores = np.random.default_rng(0).normal(5, 1, 50).astype(np.float32)
    value = threshold_from_normals(scores, ScoringRecipe()).value
    assert threshold_from_normals(scores * 3, ScoringRecipe()).value == pytest.approx(3 * value, rel=1e-5)
    assert threshold_from_normals(scores + 2, ScoringRecipe()).value == pytest.approx(value + 2, rel=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0, -4.0, 1e-9])
def test_identical_good_parts_still_leave_room(level: float) -> None:
    scores = np.full(5, level, np.float32)
    assert threshold_from_normals(scores, ScoringRecipe(threshold_margin=0)).value >= level + 9e-4


@pytest.mark.parametrize("scores", [[], [np.nan], [1.0, np.inf], [0.0, -np.inf, 1.0]])
def test_no_or_no_finite_scores_are_refused(scores: list[float]) -> None:
    with pytest.raises(DataError, match=f"{len(scores)} held-out good parts gave .* finite scores"):
        threshold_from_normals(np.array(scores, np.float32), ScoringRecipe())
