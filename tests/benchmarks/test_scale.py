"""Several cameras at one session, measured; and where a curve bends."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from dtgd_edge.benchmarks.cameras import run_cameras
from dtgd_edge.benchmarks.grey import grey_bundle
from dtgd_edge.benchmarks.scale import Scale, bend_of
from dtgd_edge.benchmarks.scale_text import scale_text
from dtgd_edge.benchmarks.scaling import camera_counts, measure_scale
from dtgd_edge.bundle import Bundle, Golden
from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.health import HealthGate
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session
from dtgd_edge.runtime.shared_session import SharedSession
from dtgd_edge.verdict import Scores
from tests.runtime.fakes import GreySession

PICTURES = [np.full((64, 64, 3), grey, np.uint8) for grey in (100, 150)]


def pictured(bundle: Bundle) -> Bundle:
    """The bundle with golden frames that a health gate lets pass."""
    frames = np.random.default_rng(0).integers(90, 166, (3, *bundle.golden.frames.shape[1:]), np.uint8)
    return replace(bundle, golden=Golden(frames, bundle.golden.score))


def inspector(session: GreySession, bundle: Bundle) -> Inspector:
    return Inspector(session, bundle.manifest, HealthGate(None, is_live=False))


@pytest.mark.parametrize(
    ("per_s", "bend"),
    [
        ([10, 19, 36], None),
        ([10, 10.9, 30], 1),
        ([10, 11.1, 12.0], 2),
        ([10, 20, 15], 2),
        ([10], None),
    ],
)
def test_the_curve_bends_where_the_next_step_gains_less_than_a_tenth(
    per_s: list[float], bend: int | None
) -> None:
    assert bend_of(list(zip((1, 2, 4), per_s, strict=False))) == bend


def test_numbers_of_cameras_are_sorted_and_checked() -> None:
    assert camera_counts("4, 1,2,2") == (1, 2, 4)
    for wrong in ("", "0,1", "two", "1,,2", "1,65", "-1"):
        with pytest.raises(ConfigError, match="use 1,2,4,8,16"):
            camera_counts(wrong)


class SlowSession(GreySession):
    """Takes 20 ms a frame."""

    def score(self, frames: np.ndarray) -> Scores:
        time.sleep(0.02)
        return super().score(frames)


def test_all_cameras_are_counted_and_none_starves() -> None:
    bundle = grey_bundle()
    with SharedSession(SlowSession) as shared:  # slower than threads are started and woken
        seats = [shared.seat() for _ in range(3)]
        run = run_cameras([inspector(seat, bundle) for seat in seats], PICTURES, 60)
    assert len(run.latencies_ms) == run.latency_ms.count == 60
    assert run.dropped == 0
    # In turn, one frame each: of 60 the slowest of three cannot have got much less than 20.
    assert run.slowest_per_s > run.frames_per_s / 60 * 10
    assert run.held_mib > 1 and run.processor_ms > 0 and run.busy_cores > 0


def test_paced_cameras_give_frames_in_their_rhythm() -> None:
    bundle = grey_bundle()
    with open_session(bundle, "null") as session:
        run = run_cameras([inspector(session, bundle)] * 2, PICTURES, 10, each_per_s=20.0)
    assert run.latency_ms.count == 10
    assert run.frames_per_s < 400, "40 a second were given; without a rhythm it would be thousands"


def test_paced_cameras_drop_what_is_too_much() -> None:
    run = run_cameras([inspector(SlowSession(), grey_bundle())], PICTURES, 10, each_per_s=500.0)
    assert run.dropped > 0 and run.latency_ms.count == 10


def test_a_session_that_fails_ends_all_cameras_with_its_error() -> None:
    session = GreySession()
    session.fails = True
    with pytest.raises(BackendError, match="the device is gone"):
        run_cameras([inspector(session, grey_bundle())] * 3, PICTURES, 60)
    assert not [thread for thread in threading.enumerate() if thread.name == "dtgd-reader"]


@pytest.fixture(scope="module")
def scale() -> Scale:
    bundle = pictured(grey_bundle())
    return measure_scale(
        bundle,
        [bundle],
        cameras=(1, 3),
        frames=12,
        rounds=2,
        frame_hw=(96, 128),
        frame_sizes_hw=[(96, 128), (128, 256)],
        backend="ort",
        threads=1,
    )


def test_every_step_is_measured_with_a_shared_session_and_with_own_ones(scale: Scale) -> None:
    kinds = [("shared", "limit"), ("shared", "paced"), ("own", "limit")]
    assert [(s.sessions, s.mode, s.cameras) for s in scale.steps] == [
        (*kind, count) for kind in kinds for count in (1, 3)
    ]
    for step in scale.steps:
        assert step.latency_ms.count == 24  # of both rounds
        assert step.lowest_per_s <= step.frames_per_s <= step.highest_per_s
        # The warm-up is in it, and what was still on its way when the count was reached.
        assert step.batches == {} if step.sessions == "own" else step.batches[1] >= 24
    assert scale.chosen("shared", "limit")[1].batches.keys() == {1}, "the graph takes one frame"


def test_frames_and_tiles_have_their_costs(scale: Scale) -> None:
    assert [(cost.frame_hw, cost.shrink) for cost in scale.frame_costs] == [
        ((96, 128), "area"),
        ((96, 128), "halves"),
        ((128, 256), "area"),
        ((128, 256), "halves"),
    ]
    assert all(cost.stages_ms["score"].count == 12 for cost in scale.frame_costs)
    (tile,) = scale.tile_costs
    assert (tile.tiles, tile.tile_hw, tile.size_hw) == ((1, 1), (64, 64), (64, 64))


def test_the_text_names_the_bend_and_the_memory(scale: Scale) -> None:
    text = scale_text(scale)
    assert text.count("| 3 | one for all |") == 1 and text.count("| 3 | one each |") == 1
    assert "MiB with each further one" in text
    assert "128x96" in text and "256x128" in text
    # Widths of all rows of a table are those of its head.
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
    assert json.loads(json.dumps(scale.record()))["steps"][0]["cameras"] == 1


def told(scale: Scale, per_s: tuple[float, float], busy_cores: float) -> str:
    """The text of another machine's numbers."""
    steps = [
        replace(step, frames_per_s=per_s[step.cameras > 1], busy_cores=busy_cores) for step in scale.steps
    ]
    return scale_text(replace(scale, steps=tuple(steps)))


def test_a_bend_is_named_only_where_no_other_program_had_the_cores(scale: Scale) -> None:
    flat, steep = (10.0, 10.5), (10.0, 20.0)
    assert told(scale, flat, 1.0).count("the curve bends at 1 camera: the next step gains less than 10%") == 2
    assert told(scale, flat, 1.0).count("<- bends here") == 2
    assert told(scale, steep, 1.0).count("no bend up to 3 cameras") == 2
    assert "OTHER PROGRAMS" not in told(scale, flat, 1.0)
    disturbed = told(scale, flat, 0.3)
    assert "OTHER PROGRAMS HAD THE CORES" in disturbed and "no bend is named" in disturbed
    assert "bends here" not in disturbed
    # A GPU's session leaves the processor idle.
    assert "OTHER PROGRAMS" not in told(replace(scale, device="RTX 4090"), flat, 0.3)
