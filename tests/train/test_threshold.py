"""The threshold: from good parts only, and with room for the next ones."""

import numpy as np
import pytest

from dtgd_edge.bundle import Threshold
from dtgd_edge.errors import DataError
from dtgd_edge.train.recipe import ScoringRecipe
from dtgd_edge.train.threshold import chosen_threshold, clear_of, threshold_from_normals


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


@pytest.mark.parametrize(
    ("scores", "value"),
    [
        ([0.5, 3.0], 2.0),  # nothing near: it stays
        ([2.001], (1.98 + 2.001) / 2),
        ([1.999], (1.999 + 2.02) / 2),
        ([1.999, 2.0001, 2.015], (2.0001 + 2.015) / 2),
        ([2.0], (2.0 + 2.02) / 2),
    ],
)
def test_it_keeps_clear_of_known_scores(scores: list[float], value: float) -> None:
    moved = clear_of(Threshold(2.0, "a rule", 9), np.array(scores, np.float32))
    assert moved.value == pytest.approx(value, rel=1e-6)
    assert (moved.rule, moved.normals) == ("a rule", 9)


def test_keeping_clear_moves_it_little_and_over_no_good_part() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        good, bad = rng.gamma(3, 1, 30), rng.uniform(0, 20, 400)
        scores = np.concatenate([good, bad]).astype(np.float32)
        chosen = chosen_threshold(scores, 30, ScoringRecipe()).value
        assert chosen == pytest.approx(threshold_from_normals(scores[:30], ScoringRecipe()).value, rel=0.01)
        assert (scores[:30] < chosen).all()
        assert np.abs(scores - chosen).min() > 1e-3 * chosen
