"""Choose the score above which a part is NG: from good parts, and clear of all scores that are known."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Threshold
from dtgd_edge.errors import DataError
from dtgd_edge.train.recipe import ScoringRecipe

NEAR = 0.01  # share of the threshold by which it may move


def chosen_threshold(scores: NDArray[np.float32], normals: int, recipe: ScoringRecipe) -> Threshold:
    """Choose the threshold of a trained graph from its scores of the judging frames.

    Args:
        scores: float [N], first of the good frames, then of those with synthetic defects.
        normals: how many are good.
        recipe: quantile and margin.

    Raises:
        DataError: as threshold_from_normals.
    """
    chosen = threshold_from_normals(scores[:normals], recipe)
    return clear_of(replace(chosen, rule=f"{chosen.rule}, kept clear of the judging frames"), scores)


def clear_of(threshold: Threshold, scores: NDArray[np.float32]) -> Threshold:
    """Move a threshold a little, to where known scores leave most room.

    A part that lies on a threshold is judged by rounding: float16, INT8 and other processors would each give
    it another verdict. The threshold moves by NEAR at most, and never past a score below it, so that no good
    part becomes NG by it.

    Args:
        threshold: as chosen.
        scores: float [N], of anything.
    """
    value, reach = threshold.value, NEAR * abs(threshold.value)
    below = scores[(scores <= value) & (scores > value - reach)]
    above = scores[(scores > value) & (scores < value + reach)]
    edges = np.array([below.max(initial=value - reach), *np.sort(above), value + reach], np.float64)
    widest = int(np.diff(edges).argmax())
    return replace(threshold, value=float(edges[widest : widest + 2].mean()))


def threshold_from_normals(scores: NDArray[np.float32], recipe: ScoringRecipe) -> Threshold:
    """Place the threshold beyond a quantile of the held-out normals' scores.

    A quantile of a few dozen scores lies too low for the next thousand parts, so the distance from
    their median to the quantile is stretched by a margin.

    Args:
        scores: float [N], of good frames that training did not see, from the session that will run.
        recipe: quantile and margin.

    Raises:
        DataError: no scores, or some are not finite.
    """
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise DataError(
            f"{len(scores)} held-out good parts gave {np.isfinite(scores).sum()} finite scores; "
            "expected at least one, all finite; train with more good pictures"
        )
    median = float(np.median(scores))
    quantile = float(np.quantile(scores, recipe.threshold_quantile))
    # Identical normals would leave no room at all for rounding.
    room = max(quantile - median, 0.02 * abs(median), 1e-3)
    rule = (
        f"quantile {recipe.threshold_quantile:g} of held-out good parts, its distance to their median "
        f"stretched by {recipe.threshold_margin:.0%}"
    )
    return Threshold(median + room * (1 + recipe.threshold_margin), rule, len(scores))
