"""What of a frame is inspected: masks, zones, and scores that are the graph's own."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, Pooling
from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.policy import HysteresisConfig, PolicyConfig, ZoneConfig
from dtgd_edge.runtime.sessions.ort import OrtSession
from dtgd_edge.runtime.zones import Zones, coarse_map
from dtgd_edge.verdict import Decision

GREY = np.random.default_rng(0).integers(120, 136, (128, 128, 3), np.uint8)
LEFT, RIGHT = (0, 0, 64, 128), (64, 0, 64, 128)


def spotted(*places_xy: tuple[int, int], level: int = 0, side: int = 10) -> np.ndarray:
    image = GREY.copy()
    for x, y in places_xy:
        image[y : y + side, x : x + side] = level
    return image


def inspector(bundle: Bundle, **keys: object) -> Inspector:
    policy = PolicyConfig(**keys)  # type: ignore[arg-type]
    return Inspector(OrtSession(bundle, threads=1), bundle.manifest, policy=policy)


@pytest.mark.parametrize("stride", [4, 8])
def test_the_enlargement_of_a_map_is_taken_back(stride: int) -> None:
    coarse = np.random.default_rng(1).normal(0, 1, (16, 24)).astype(np.float32)
    large = cv2.resize(coarse, (24 * stride, 16 * stride), interpolation=cv2.INTER_LINEAR)
    assert large.max() < coarse.max()
    assert np.allclose(coarse_map(large, stride), coarse, atol=1e-5)
    assert coarse_map(coarse, 1) is coarse


@pytest.mark.parametrize("top", [1, 5])
def test_a_zone_over_everything_scores_what_the_graph_scores(top: int) -> None:
    coarse = np.random.default_rng(2).normal(0, 1, (16, 16)).astype(np.float32)
    large = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_LINEAR)
    policy = PolicyConfig(zones=(ZoneConfig("all", (0, 0, 128, 128), 2.0),))
    zones = Zones(policy, Geometry(size_hw=(64, 64)), Pooling(4, top))
    laid_out = zones.on_frames((128, 128))
    (scored,) = zones.score(laid_out, 99.0, large, 1.5)
    assert scored.score == pytest.approx(np.sort(coarse.ravel())[-top:].mean(), abs=1e-5)
    assert (scored.zone.name, scored.threshold) == ("all", 3.0)


def test_an_ignored_area_does_not_count(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bad = spotted((20, 40))
    assert inspector(tiny_bundle).inspect(bad).decision is Decision.NG
    verdict = inspector(tiny_bundle, ignore=((16, 36, 18, 18),)).inspect(bad)
    assert verdict.decision is Decision.OK and verdict.score is not None and verdict.score < 1
    mask = np.zeros((128, 128), np.uint8)
    mask[36:54, 16:34] = 255
    write_picture(tmp_path / "mask.png", mask)
    masked = inspector(tiny_bundle, ignore_mask=tmp_path / "mask.png")
    assert masked.inspect(bad).decision is Decision.OK
    other = masked.inspect(spotted((20, 40), (90, 90)))
    assert other.decision is Decision.NG
    assert [(r.x > 80, r.y > 80) for r in other.regions] == [(True, True)]


def test_zones_have_thresholds_of_their_own(tiny_bundle: Bundle) -> None:
    zones = (ZoneConfig("thread", LEFT, 1.5), ZoneConfig("face", RIGHT, 0.5))
    judge = inspector(tiny_bundle, zones=zones)
    # |level - 128| / 32: 68 is a score of 1.9, 44 of 2.6, at thresholds of 3 and of 1.
    assert judge.inspect(spotted((20, 40), level=44)).decision is Decision.OK
    verdict = judge.inspect(spotted((20, 40), (90, 40), level=68))
    assert (verdict.decision, verdict.zone, verdict.threshold) == (Decision.NG, "face", 1.0)
    assert [region.zone for region in verdict.regions] == ["face"]
    both = judge.inspect(spotted((20, 40), (90, 40), level=5))
    assert {region.zone for region in both.regions} == {"thread", "face"}


def test_outside_of_zones(tiny_bundle: Bundle) -> None:
    zones = (ZoneConfig("face", RIGHT),)
    bad = spotted((20, 40))
    assert inspector(tiny_bundle, zones=zones).inspect(bad).zone == ""
    assert inspector(tiny_bundle, zones=zones).inspect(bad).decision is Decision.NG
    ignored = inspector(tiny_bundle, zones=zones, outside_zones="ignore").inspect(bad)
    assert (ignored.decision, ignored.zone) == (Decision.OK, "face")


def test_small_areas_are_no_defect_and_a_note_says_so(tiny_bundle: Bundle) -> None:
    judge = inspector(tiny_bundle, smallest_area_px=60)
    small = judge.inspect(spotted((20, 40), side=6))
    assert small.decision is Decision.OK and small.regions == ()
    assert small.score is not None and small.score > small.threshold
    assert small.note.startswith("small: ")
    large = judge.inspect(spotted((20, 40), (80, 80), side=10))
    assert large.decision is Decision.NG and large.note == "" and len(large.regions) == 2
    assert all(region.area_px >= 60 for region in large.regions)


def test_hysteresis_in_the_inspector(tiny_bundle: Bundle) -> None:
    judge = inspector(tiny_bundle, hysteresis=HysteresisConfig(1.5, 2))
    faint, high, good = spotted((20, 40), level=50), spotted((20, 40), level=0), GREY
    black = np.zeros((128, 128, 3), np.uint8)
    seen = [judge.inspect(image) for image in (faint, good, faint, black, faint, good, high)]
    assert [v.decision.value for v in seen] == ["OK", "OK", "OK", "NO_DECISION", "NG", "OK", "NG"]
    assert seen[0].note == "not yet: above the threshold in 1 of 2 frames in a row"
    assert seen[1].note == seen[4].note == ""


def test_another_threshold_while_running(tiny_bundle: Bundle) -> None:
    judge = inspector(tiny_bundle)
    bad = spotted((20, 40), level=50)
    assert judge.inspect(bad).decision is Decision.NG
    judge.set_threshold(3.0)
    verdict = judge.inspect(bad)
    assert (verdict.decision, verdict.threshold, judge.threshold) == (Decision.OK, 3.0, 3.0)
    with pytest.raises(ConfigError, match="finite"):
        judge.set_threshold(float("nan"))
    with pytest.raises(ConfigError, match="factors"):
        inspector(tiny_bundle, zones=(ZoneConfig("face", RIGHT, 2.0),)).set_threshold(-1.0)
    assert judge.threshold == 3.0


def test_what_does_not_fit_is_refused_at_once_or_never_judged(tiny_bundle: Bundle, tmp_path: Path) -> None:
    far = (ZoneConfig("far", (100, 0, 64, 64)),)
    verdict = inspector(tiny_bundle, zones=far).inspect(GREY)
    assert verdict.decision is Decision.NO_DECISION
    assert verdict.reason is not None and verdict.reason.startswith("wrong zone: zone 'far'")
    manifest = dataclasses.replace(tiny_bundle.manifest, frame_size_hw=(128, 128))
    sized = dataclasses.replace(tiny_bundle, manifest=manifest)
    with pytest.raises(ConfigError, match="reaches outside"):
        inspector(sized, zones=far)
    with pytest.raises(ConfigError, match="nothing of the frame"):
        inspector(sized, ignore=((0, 0, 128, 128),))
    write_picture(tmp_path / "mask.png", np.zeros((64, 64), np.uint8))
    with pytest.raises(ConfigError, match="draw the mask"):
        inspector(sized, ignore_mask=tmp_path / "mask.png")
    with pytest.raises(DataError):
        inspector(sized, ignore_mask=tmp_path / "none.png")


def test_a_masked_frame_that_is_no_number_is_never_ok(tiny_bundle: Bundle) -> None:
    zones = Zones(PolicyConfig(ignore=(LEFT,)), Geometry(size_hw=(64, 64)), None)
    laid_out = zones.on_frames((128, 128))
    spoiled = np.zeros((64, 64), np.float32)
    spoiled[:, 40] = np.nan
    (scored,) = zones.score(laid_out, 0.0, spoiled, 2.0)
    assert np.isnan(scored.score)


def test_the_table_of_a_line_file() -> None:
    values = {
        "ignore": [[0, 0, 10, 10]],
        "zones": [{"name": "thread", "rectangle": [1, 2, 3, 4], "threshold_factor": 1.2}],
        "smallest_area_px": 20,
        "vote": {"frames": 3, "ng_frames": 2},
    }
    policy = record_from_mapping(values, PolicyConfig, "line.toml")
    assert policy.zones == (ZoneConfig("thread", (1, 2, 3, 4), 1.2),) and policy.vote is not None
    with pytest.raises(ConfigError, match="threshold_factor"):
        zone = {"name": "a", "rectangle": [0, 0, 1, 1], "threshold": 1}
        record_from_mapping({"zones": [zone]}, PolicyConfig, "line.toml")


@pytest.mark.parametrize(
    "keys",
    [
        {"ignore": ((0, 0, 0, 5),)},
        {"outside_zones": "ignore"},
        {"smallest_area_px": -1},
        {"zones": (ZoneConfig("a", LEFT), ZoneConfig("a", RIGHT))},
    ],
)
def test_impossible_policies(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        PolicyConfig(**keys)  # type: ignore[arg-type]
