"""Timing: what is counted, when frames come, and subjects side by side."""

from dataclasses import replace

import numpy as np
import pytest

from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.timing import measure
from dtgd_edge.errors import DataError
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.manifest import Precision
from tests.benchmarks.made import drawn_bundle, measured_by_clock


def test_subjects_are_timed_in_turn_on_the_same_frames(tiny_bundles: dict[Precision, Exported]) -> None:
    float32, int8 = (tiny_bundles[name].bundle for name in ("fp32", "int8"))
    pictures = bench_pictures(float32, (64, 64))
    made = measure(
        [(float32, "ort"), (int8, "ort"), (float32, "null")], pictures, frames=4, warm_up=1, threads=1
    )
    assert [(m.backend, m.precision) for m in made] == [("ort", "fp32"), ("ort", "int8"), ("null", "fp32")]
    assert all(m.stages_ms["score"].count == 4 for m in made)
    assert all(m.stages_ms["total"].p50 >= m.stages_ms["score"].p50 for m in made)
    assert made[0].speed == 1.0
    # The null session computes nothing.
    assert made[2].speed > 1.0
    # And what remains is what the loop itself costs.
    for m in made:
        assert m.stages_ms["all but score"].p50 <= m.stages_ms["total"].p50
        assert m.frames_per_s == 1000 / m.stages_ms["total"].p50


def test_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([100.0] * 3 + [4.0] * 5)
    ((measured,), _) = measured_by_clock(monkeypatch, lambda idle: next(costs), frames=5, warm_up=3)
    assert measured.samples_ms["score"] == (4.0,) * 5
    assert measured.takt is None and measured.after_gaps == () and "wait" not in measured.stages_ms


def test_two_subjects_share_foreign_load(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = measured_by_clock(monkeypatch, lambda idle: 6.0, lambda idle: 2.0, frames=4, warm_up=0)
    assert [m.speed for m in made] == [1.0, 3.0]


def test_on_a_line_a_part_does_not_wait_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace(parts_per_minute=6000)  # one in 10 ms
    ((measured,), _) = measured_by_clock(monkeypatch, lambda idle: 15.0, frames=4, warm_up=0, pace=pace)
    assert measured.samples_ms["score"] == (15.0,) * 4
    assert measured.samples_ms["wait"] == (0.0, 5.0, 10.0, 15.0)
    assert measured.samples_ms["total"] == (15.0, 20.0, 25.0, 30.0)
    assert measured.samples_ms["all but score"] == (0.0,) * 4
    assert measured.takt is not None
    assert (measured.takt.deadline_ms, measured.takt.missed, measured.takt.margin_ms) == (10.0, 4, -20.0)
    # Waiting is no work.
    assert measured.frames_per_s == pytest.approx(1000 / 15)


def test_a_line_that_holds_its_takt_waits_for_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, costs = Pace(parts_per_minute=6000), iter([4.0] * 5 + [12.0] + [4.0] * 4)
    ((measured,), clock) = measured_by_clock(
        monkeypatch, lambda idle: next(costs), frames=8, warm_up=0, pace=pace
    )
    # The slow part makes its follower wait, but not late.
    assert measured.samples_ms["total"] == (4.0, 4.0, 4.0, 4.0, 12.0, 6.0, 4.0, 4.0)
    assert measured.takt is not None and measured.takt.missed == 1
    assert clock.slept_ms[:2] == [6.0, 6.0]


def test_every_gap_has_percentiles_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that sleeps after 50 ms takes 8 ms instead of 2 for a frame."""
    pace = Pace(idle_gaps_ms=(0.0, 50.0))
    ((measured,), clock) = measured_by_clock(
        monkeypatch, lambda idle: 8.0 if idle >= 50 else 2.0, frames=8, warm_up=0, pace=pace
    )
    assert measured.gaps_ms == (0.0,) * 4 + (50.0,) * 4
    assert [after.gap_ms for after in measured.after_gaps] == [0.0, 50.0]
    assert [after.stages_ms["score"].p50 for after in measured.after_gaps] == [2.0, 8.0]
    assert [after.stages_ms["score"].count for after in measured.after_gaps] == [4, 4]
    assert clock.slept_ms.count(50.0) == 4
    assert measured.record()["after_gaps"][1]["stages_ms"]["total"]["max"] == 8.0


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    measured_by_clock(
        monkeypatch,
        lambda idle: 1.0,
        frames=12,
        warm_up=0,
        pace=Pace(parts_per_minute=60),
        progress=lambda done, of: told.append((done, of)),
    )
    assert told == [(10, 12), (12, 12)]


def test_a_picture_that_cannot_be_judged_cannot_be_timed() -> None:
    bundle = drawn_bundle()
    white = np.full((64, 64, 3), 255, np.uint8)
    with pytest.raises(DataError, match="a frame was not judged \\(white"):
        measure([(replace(bundle), "null")], [white], frames=2, warm_up=0)
