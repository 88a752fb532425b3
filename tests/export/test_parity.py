"""Parity: flips are counted at each graph's own threshold, and a refusal is an error of its own."""

from dataclasses import replace

import numpy as np
import pytest

from dtgd_edge.bundle import ParityRecord
from dtgd_edge.errors import ParityError
from dtgd_edge.export.parity import compare, require
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.verdict import Scores


def _scores(*values: float) -> Scores:
    score = np.array(values, np.float32)
    return Scores(score, np.broadcast_to(score[:, None, None], (len(values), 2, 2)).copy())


def _compare(
    candidate: Scores, reference: Scores, limit: float = 0.0, at: tuple[float, float] = (1, 1)
) -> ParityRecord:
    return compare("ONNX Runtime CPU", candidate, at[0], reference, at[1], limit)


def test_equal_scores_are_in_parity() -> None:
    record = _compare(_scores(0.5, 1.5, 2.0), _scores(0.5, 1.5, 2.0))
    require(record)
    assert (record.frames, record.flips, record.non_finite) == (3, 0, 0)
    assert record.score_difference == record.map_difference == 0
    assert record.rank_correlation == 1
    assert record.smallest_margin == pytest.approx(0.5)
    assert (record.session, record.reference) == ("ONNX Runtime CPU", "PyTorch float32")


def test_each_graph_is_judged_at_its_own_threshold() -> None:
    shifted, reference = _scores(10.5, 11.5), _scores(0.5, 1.5)
    assert _compare(shifted, reference, at=(11, 1)).flips == 0
    assert _compare(shifted, reference, at=(1, 1)).flips == 1
    assert _compare(shifted, reference, at=(12, 1)).flips == 1


def test_a_score_on_the_threshold_is_no_defect() -> None:
    assert _compare(_scores(1.0), _scores(0.9)).flips == 0
    assert _compare(_scores(1.0), _scores(1.1)).flips == 1


def test_differences_are_the_largest_ones() -> None:
    candidate = _scores(0.5, 1.5)
    candidate.map[1, 0, 1] += 3
    record = _compare(candidate, _scores(0.25, 1.5))
    assert record.score_difference == pytest.approx(0.25)
    assert record.map_difference == pytest.approx(3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_counted_and_refused(value: float) -> None:
    candidate = _scores(0.5, value, 1.5)
    record = _compare(candidate, _scores(0.5, 0.5, 1.5), limit=1.0)
    assert record.non_finite == 1 + 4
    assert record.flips >= 1
    assert all(np.isfinite(v) for v in (record.score_difference, record.smallest_margin))
    with pytest.raises(ParityError, match="5 scores or map pixels are NaN or infinite on 3 frames"):
        require(record)


def test_a_pixel_that_is_not_a_number_is_refused_too() -> None:
    candidate = _scores(0.5)
    candidate.map[0, 1, 1] = np.nan
    with pytest.raises(ParityError, match="1 scores or map pixels"):
        require(_compare(candidate, _scores(0.5), limit=1.0))


@pytest.mark.parametrize(("limit", "refused"), [(0.0, True), (0.1, True), (0.2, False), (1.0, False)])
def test_flips_above_the_limit_are_refused(limit: float, refused: bool) -> None:
    reference = _scores(*[0.5] * 8, 1.5, 1.5)
    record = _compare(_scores(*[0.5] * 6, 1.5, 1.5, 1.5, 1.5), reference, limit)
    assert record.flips == 2
    if not refused:
        require(record)
        return
    with pytest.raises(ParityError, match="2 of 10 verdicts differ from PyTorch float32") as caught:
        require(record)
    assert caught.value.exit_code == 3


def test_the_limit_is_part_of_the_record() -> None:
    record = replace(_compare(_scores(2.0), _scores(0.0)), flip_limit=1.0)
    require(record)
    with pytest.raises(ParityError):
        require(replace(record, flip_limit=0.99))


def _brute_force(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's from mean ranks, counted one by one."""

    def ranks(values: np.ndarray) -> np.ndarray:
        return np.array([np.sum(values < v) + (np.sum(values == v) - 1) / 2 for v in values])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def test_rank_correlation_is_the_brute_force_value() -> None:
    rng = np.random.default_rng(0)
    for levels in (2, 5, 1000):
        for _ in range(5):
            a, b = rng.integers(0, levels, (2, 30)).astype(np.float32)
            assert rank_correlation(a, b) == pytest.approx(_brute_force(a, b), abs=1e-9)


def test_rank_correlation_ignores_scale() -> None:
    a = np.random.default_rng(0).normal(size=20).astype(np.float32)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)


def test_rank_correlation_of_constant_scores() -> None:
    even, other = np.ones(4, np.float32), np.arange(4, dtype=np.float32)
    assert rank_correlation(even, 2 * even) == 1
    assert rank_correlation(even, other) == 0
