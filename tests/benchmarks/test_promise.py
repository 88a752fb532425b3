"""Random splits of good parts."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.benchmarks.grey import grey_bundle
from dtgd_edge.benchmarks.promise import chance_of_keeping, promise_on_pictures, promise_on_scores
from dtgd_edge.errors import DataError
from dtgd_edge.pictures import write_picture


@pytest.mark.parametrize(
    ("parts", "half", "rank", "share"), [(10, 5, 1, 0.2), (11, 5, 2, 0.4), (9, 3, 1, 0.0)]
)
def test_the_chance_is_that_of_all_splits(parts: int, half: int, rank: int, share: float) -> None:
    kept = total = 0
    for chosen in combinations(range(parts), half):
        threshold = sorted(chosen)[-rank]
        above = sum(score > threshold for score in set(range(parts)) - set(chosen))
        kept += above <= share * (parts - half)
        total += 1
    assert chance_of_keeping(parts, half, rank, share) == pytest.approx(kept / total)


def test_splits_agree_with_the_exact_chance() -> None:
    found = promise_on_scores(np.random.default_rng(0).pareto(1.0, 240), splits=2000)
    assert found.is_kept and found.calibrated_on == 120
    assert found.kept_share == pytest.approx(found.exact_chance, abs=0.02)
    assert found.mean_false_reject < found.max_false_reject < 0.1


def test_a_threshold_that_is_too_low_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def median(scores: np.ndarray, share: float, confidence: float) -> tuple[float, int]:
        return float(np.median(scores)), len(scores) // 2

    monkeypatch.setattr("dtgd_edge.benchmarks.promise.promised_threshold", median)
    found = promise_on_scores(np.arange(100.0), max_false_reject=0.1, splits=50)
    assert not found.is_kept and found.kept == 0


def test_too_few_parts() -> None:
    with pytest.raises(DataError, match=r"4 good parts can show no promise"):
        promise_on_scores(np.arange(4.0))
    with pytest.raises(DataError, match=r"50 good parts cannot promise"):
        promise_on_scores(np.arange(100.0), max_false_reject=0.01)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    grey_bundle().save(tmp_path / "grey.dtgd")
    rng = np.random.default_rng(1)
    for index in range(40):
        picture = rng.integers(100, 130 + index, (64, 64, 3), np.uint8)
        write_picture(tmp_path / "good" / f"{index:02d}.png", picture)
    found = promise_on_pictures(tmp_path / "grey.dtgd", tmp_path / "good", splits=200)
    assert found.parts == 40 and found.is_kept
    assert found.data == str(tmp_path / "good")
