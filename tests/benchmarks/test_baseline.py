"""A baseline: what counts as slower, what as chance, and what cannot be compared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtgd_edge.benchmarks.baseline import FEWEST, compare, require_comparable
from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.timings import Timings, read_timings
from dtgd_edge.errors import DataError
from tests.benchmarks.made import made_timings


def scores(median_ms: float, noise: float = 0.01, seed: int = 0, frames: int = 200) -> list[float]:
    """Times around a median, with a stall now and then."""
    rng = np.random.default_rng(seed)
    times = median_ms * (1 + noise * rng.standard_normal(frames))
    times[rng.integers(0, frames, frames // 20)] *= 5
    return [float(time) for time in np.maximum(times, 0.01)]


def test_the_same_again_is_no_regression() -> None:
    for seed in range(5):
        comparison = compare(made_timings(scores(20, seed=seed)), made_timings(scores(20, seed=99)), "x.json")
        assert not comparison.is_slower
        assert not any(change.is_faster for change in comparison.changes)


def test_a_tenth_slower_is_a_regression_and_a_tenth_faster_is_not() -> None:
    then, slow = made_timings(scores(20)), made_timings(scores(22, seed=1))
    comparison = compare(slow, then, "x.json")
    assert comparison.is_slower
    assert {c.stage for c in comparison.changes if c.is_slower} == {"score", "total"}
    (score,) = (c for c in comparison.changes if c.stage == "score")
    assert score.then_ms == pytest.approx(20, abs=0.1) and score.now_ms == pytest.approx(22, abs=0.1)
    back = compare(then, slow, "x.json")
    assert not back.is_slower and {c.stage for c in back.changes if c.is_faster} == {"score", "total"}


def test_a_run_that_wanders_hides_a_tenth() -> None:
    """A neighbour that comes and goes moves the medians of a run's parts by a third."""
    wandering = [ms * (1.33 if index // 50 % 2 else 1.0) for index, ms in enumerate(scores(20))]
    slower = [1.1 * ms for ms in wandering]
    assert not compare(made_timings(slower), made_timings(wandering), "x.json").is_slower
    # But not that everything takes four times as long.
    assert compare(made_timings(scores(80)), made_timings(wandering), "x.json").is_slower


def test_stalls_do_not_move_a_median() -> None:
    stalled = [10 * ms if index % 3 == 0 else ms for index, ms in enumerate(scores(20))]
    assert not compare(made_timings(stalled), made_timings(scores(20, seed=1)), "x.json").is_slower


def test_a_few_hundredths_of_a_millisecond_are_no_regression() -> None:
    assert not compare(made_timings([0.01] * 60), made_timings([0.02] * 60), "x.json").is_slower


def test_each_gap_is_compared_by_itself() -> None:
    pace = Pace(idle_gaps_ms=(0.0, 1000.0))

    def run(rested_ms: float) -> Timings:
        return made_timings_by_gap(pace, lambda idle: rested_ms if idle >= 1000 else 5.0)

    comparison = compare(run(9.0), run(7.0), "x.json")
    slower = {(c.gap_ms, c.stage) for c in comparison.changes if c.is_slower}
    assert slower == {(1000.0, "score"), (1000.0, "total")}


def made_timings_by_gap(pace: Pace, cost_ms: Callable[[float], float]) -> Timings:
    from tests.benchmarks.made import measured_by_clock

    empty = made_timings([1.0] * 60)
    with pytest.MonkeyPatch.context() as patch:
        made, _ = measured_by_clock(patch, cost_ms, lambda idle: 0.01, frames=120, warm_up=0, pace=pace)
    return replace(empty, pace=pace, measurements=tuple(made))


def test_it_survives_the_disk(tmp_path: Path) -> None:
    timings = made_timings(scores(20), Pace(parts_per_minute=600))
    timings.save(tmp_path / "new" / "x.json")
    read = read_timings(tmp_path / "new" / "x.json")
    assert read == timings
    assert read.measurements[0].takt is not None and read.measurements[0].takt.parts == 200


def elsewhere(timings: Timings, **changes: Any) -> Timings:
    machine = replace(timings.measurements[0].machine, **changes)
    return replace(timings, measurements=tuple(replace(m, machine=machine) for m in timings.measurements))


def of_graph(timings: Timings, **changes: Any) -> Timings:
    return replace(timings, measurements=tuple(replace(m, **changes) for m in timings.measurements))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda t: elsewhere(t, cpu="Cortex-A78AE"), "CPU 'Cortex-A78AE' there"),
        (lambda t: elsewhere(t, gpus=("Orin",)), "GPU 'Orin' there, 'none' here"),
        (lambda t: elsewhere(t, power_mode="15W (nvpmodel 0)"), "power mode '15W"),
        (lambda t: of_graph(t, graph_sha256="0" * 64), "measured with other graphs"),
        (lambda t: of_graph(t, frame_hw=(1080, 1920)), "frames '1920x1080' there, '64x64' here"),
        (lambda t: of_graph(t, backend="openvino"), "with backend 'openvino'; expected 'null'"),
        (lambda t: replace(t, threads=4), "threads '4' there, '1' here"),
        (lambda t: replace(t, pace=Pace(60.0)), "pace '60 parts a minute' there"),
    ],
)
def test_other_conditions_prove_nothing(other: Callable[[Timings], Timings], words: str) -> None:
    timings = made_timings([5.0] * FEWEST)
    with pytest.raises(DataError, match=words):
        compare(timings, other(timings), "x.json")


def test_it_can_be_refused_before_the_run() -> None:
    timings = made_timings([5.0] * FEWEST)
    first = timings.measurements[0]
    known = {"machine": first.machine, "frame_hw": first.frame_hw, "threads": 1, "pace": timings.pace}
    require_comparable(timings, "x.json", graphs={"a.dtgd": first.graph_sha256}, **known)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="than the one in b"):
        require_comparable(timings, "x.json", graphs={"b.dtgd": "0" * 64}, **known)  # type: ignore[arg-type]


def test_other_versions_are_compared_and_named() -> None:
    timings = made_timings([5.0] * FEWEST)
    packages = {**timings.measurements[0].machine.packages, "onnxruntime": "1.20.0", "gone": "1"}
    then = elsewhere(timings, packages=packages)
    versions = compare(timings, then, "x.json").versions
    assert versions["onnxruntime"][0] == "1.20.0" and versions["gone"] == ("1", "")
    assert set(versions) == {"onnxruntime", "gone"}


def test_too_few_frames_to_tell() -> None:
    few = made_timings([5.0] * (FEWEST - 1))
    with pytest.raises(DataError, match=f"was timed 49 times; expected at least {FEWEST}, to tell"):
        compare(few, few, "x.json")


def test_a_load_that_stays_the_same_is_no_regression() -> None:
    """Other programs take half of the core in the second run: everything takes twice as long."""
    quiet, slow = made_timings([5.0] * 60), made_timings([10.0] * 60)
    for waited_ms, is_slower in ((0.2, True), (5.0, False)):
        samples = {**slow.measurements[0].samples_ms, "no core": (waited_ms,) * 60}
        now = of_graph(slow, samples_ms=samples)
        assert compare(now, quiet, "x.json").is_slower == is_slower


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no timings of schema 1"),
        ('{"schema": 2}', "holds no timings of schema 1"),
        ('{"schema": 1, "created": 5}', "created"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=words):
        read_timings(path)
    with pytest.raises(DataError, match="does not exist"):
        read_timings(tmp_path / "y.json")
