"""What is measured, in which order, and what is remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.benchmarks.takt import Candidate, Requirement, Timing, geometries
from dtgd_edge.benchmarks.takt_store import FILE, TimingStore
from dtgd_edge.benchmarks.takt_times import frames_within, measured, time_bundles
from dtgd_edge.bundle import Bundle, Golden
from dtgd_edge.errors import DataError
from dtgd_edge.geometry import Geometry

MACHINE = Machine("a CPU", 2, 4096, "", "Linux", "3.10", {"numpy": "2.0"}, 0.5)
# 6 of 16 camera pixels: 384 px see it.
LINE = Requirement(60, (1024, 1024), 1, 64)


@pytest.fixture
def quick(tiny_bundle: Bundle) -> Bundle:
    """Scores in microseconds; its golden frames are pictures."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    return replace(tiny_bundle, golden=Golden(frames, np.zeros(3, np.float32)))


class Maker:
    """Gives the same bundle for every candidate, and remembers what was asked for."""

    def __init__(self, bundle: Bundle) -> None:
        self.asked: list[list[Candidate]] = []
        self._bundle = bundle

    def __call__(self, group: Sequence[Candidate]) -> Mapping[Candidate, Bundle]:
        self.asked.append(list(group))
        return {candidate: self._bundle for candidate in group}

    @property
    def sides(self) -> list[int]:
        return [group[0].geometry.size_hw[1] for group in self.asked]


def candidates(requirement: Requirement) -> list[Candidate]:
    sizes = geometries(requirement, Geometry())
    return [Candidate("full", precision, size) for size in sizes for precision in ("fp32", "int8")]


def store(
    folder: Path, *, frame: str = "small", is_fresh: bool = False, machine: Machine = MACHINE
) -> TimingStore:
    return TimingStore(folder / FILE, machine, {"frame": frame}, is_fresh)


def test_the_smallest_goes_first_then_what_sees_then_what_is_too_coarse(
    quick: Bundle, tmp_path: Path
) -> None:
    line = replace(LINE, smallest_defect_mm=0.5)  # 8 camera pixels: 768 px see it
    make = Maker(quick)
    timings = measured(line, candidates(line), make, store(tmp_path), backend="ort", frames=2)
    assert make.sides == [256, 768, 768, 1024, 1024, 480, 320]
    assert all([c.precision for c in group] == ["fp32", "int8"] for group in make.asked)
    assert len(timings) == 14
    assert all(t.is_measured and t.p99_ms >= t.p50_ms >= t.loop_ms > 0 for t in timings)


def test_what_clearly_cannot_hold_is_not_measured(quick: Bundle, tmp_path: Path) -> None:
    make = Maker(quick)
    hurried = replace(LINE, parts_per_minute=60e6)  # a microsecond
    timings = measured(hurried, candidates(hurried), make, store(tmp_path), backend="ort", frames=2)
    assert make.sides == [256]
    assert {t.candidate.geometry.size_hw for t in timings} == {(256, 256)}


def test_a_spent_budget_ends_it_but_not_before_the_smallest(quick: Bundle, tmp_path: Path) -> None:
    make, told = Maker(quick), []
    known = store(tmp_path)
    found = measured(
        LINE, candidates(LINE), make, known, backend="ort", frames=2, budget_s=0, say=told.append
    )
    assert make.sides == [256] and len(found) == 2
    assert "--budget" in told[-1]
    # The same call again measures nothing; a larger budget goes on.
    again = Maker(quick)
    assert (
        measured(LINE, candidates(LINE), again, store(tmp_path), backend="ort", frames=2, budget_s=0) == found
    )
    assert again.asked == []
    measured(LINE, candidates(LINE), again, store(tmp_path), backend="ort", frames=2, budget_s=600)
    assert again.sides == [384, 640, 640]


def test_seconds_spent_before_count(tmp_path: Path, quick: Bundle) -> None:
    known, asked = store(tmp_path), candidates(LINE)
    for one in asked[:2]:
        known.keep(Timing(one, 1.0, 2.0, 0.5, 30, "CPU"), seconds=50)
    make = Maker(quick)
    measured(LINE, asked, make, store(tmp_path), backend="ort", frames=2, budget_s=90)
    assert make.asked == []
    measured(LINE, asked, make, store(tmp_path), backend="ort", frames=2, budget_s=600)
    assert make.asked != []


def test_what_was_measured_is_known_in_the_same_circumstances_only(tmp_path: Path) -> None:
    one = candidates(LINE)[0]
    timing = Timing(one, 1.0, 2.0, 0.5, 30, "CPU")
    store(tmp_path).keep(timing, 3.0)
    kept = store(tmp_path, machine=replace(MACHINE, load=9.0))[one]
    assert kept is not None and (kept.timing, kept.seconds) == (timing, 3.0)
    assert store(tmp_path, frame="large")[one] is None
    assert store(tmp_path, machine=replace(MACHINE, cores=1))[one] is None
    assert store(tmp_path, machine=replace(MACHINE, packages={"numpy": "2.1"}))[one] is None
    assert store(tmp_path)[replace(one, precision="fp16")] is None
    assert store(tmp_path)[replace(one, geometry=replace(one.geometry, margin=16))] is None


def test_a_fresh_store_forgets_and_learns_again(tmp_path: Path) -> None:
    one, other = candidates(LINE)[:2]
    for candidate in (one, other):
        store(tmp_path).keep(Timing(candidate, 1.0, 2.0, 0.5, 30, "CPU"), 1.0)
    fresh = store(tmp_path, is_fresh=True)
    assert fresh[one] is None and fresh[other] is None
    fresh.keep(Timing(one, 5.0, 6.0, 0.5, 30, "CPU"), 1.0)
    kept = fresh[one]
    assert kept is not None and kept.timing.p50_ms == 5.0
    later = store(tmp_path)
    assert [kept.timing.p50_ms for c in (one, other) if (kept := later[c]) is not None] == [5.0, 1.0]


@pytest.mark.parametrize("content", ["{", '{"schema": 9}', "[]", '{"schema": 1, "timings": [{"digest": 1}]}'])
def test_a_damaged_store_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match=r"takt\.json.*remove it"):
        store(tmp_path)


def test_bundles_are_timed_in_turn_on_the_camera_s_frames(quick: Bundle) -> None:
    pairs = [(candidate, quick) for candidate in candidates(LINE)[:2]]
    first, second = time_bundles(pairs, (48, 96), backend="ort", threads=1, frames=4)
    assert (first.candidate, second.candidate) == (pairs[0][0], pairs[1][0])
    assert first.frames == second.frames == 4
    assert "ONNX Runtime" in first.device


def test_slow_graphs_get_fewer_frames() -> None:
    assert [frames_within(ms) for ms in (0.0, 10.0, 400.0, 10_000.0)] == [30, 30, 20, 8]
    assert [frames_within(ms, 5) for ms in (0.0, 10_000.0)] == [5, 5]
