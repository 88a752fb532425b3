"""The policy: what is OK, what is NG, and what nobody may call OK."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.appearance import statistics_of
from dtgd_edge.bundle import Bundle, Golden, Manifest, TensorSpec, Threshold
from dtgd_edge.errors import BackendError, BundleError
from dtgd_edge.geometry import Geometry
from dtgd_edge.runtime.inspector import STAGES, Inspector
from dtgd_edge.runtime.session import Session, SessionSpec
from dtgd_edge.runtime.sessions.ort import OrtSession
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Scores

GREY = np.random.default_rng(0).integers(120, 136, (96, 128, 3), np.uint8)


class FixedSession(Session):
    """Answers what it was given."""

    def __init__(self, score: float, anomaly_map: np.ndarray, batch: int = 1) -> None:
        self.answer = np.float32(score), anomaly_map.astype(np.float32)
        self.batch = batch
        self.is_closed = False
        self.seen: np.ndarray | None = None

    @property
    def spec(self) -> SessionSpec:
        return SessionSpec("fixed", "nothing", self.batch, (64, 64))

    def score(self, frames: np.ndarray) -> Scores:
        self.seen = frames
        score, anomaly_map = self.answer
        others = self.batch - 1
        return Scores(
            np.array([score] + [99.0] * others, np.float32),
            np.stack([anomaly_map] + [np.full((64, 64), 99, np.float32)] * others),
        )

    def close(self) -> None:
        self.is_closed = True


def defective() -> np.ndarray:
    image = GREY.copy()
    image[20:30, 40:60] = 0
    return image


@pytest.fixture
def inspector(tiny_bundle: Bundle) -> Inspector:
    return Inspector(OrtSession(tiny_bundle, threads=1), tiny_bundle.manifest)


def test_a_good_part(inspector: Inspector) -> None:
    verdict = inspector.inspect(Frame(GREY, 7, name="a.png"))
    assert (verdict.decision, verdict.frame_index, verdict.frame_name) == (Decision.OK, 7, "a.png")
    assert verdict.threshold == inspector.threshold == 2.0
    assert verdict.score is not None and 0 <= verdict.score < 0.5
    assert verdict.map is not None
    assert (verdict.map.shape, verdict.map.dtype) == ((96, 128), np.float32)
    assert verdict.regions == () and verdict.reason is None


def test_a_bad_part_and_where(inspector: Inspector) -> None:
    verdict = inspector.inspect(Frame(defective(), 0))
    assert verdict.decision is Decision.NG
    (region,) = verdict.regions
    assert abs(region.x - 40) <= 2 and abs(region.y - 20) <= 2
    assert abs(region.width - 20) <= 4 and abs(region.height - 10) <= 4
    assert verdict.score == pytest.approx(4.0, abs=0.2) == region.peak


def test_the_region_of_the_geometry_is_laid_back_on_the_frame(tiny_manifest: Manifest) -> None:
    geometry = Geometry(size_hw=(64, 64), region_xywh=(32, 16, 64, 64))
    manifest = dataclasses.replace(tiny_manifest, geometry=geometry)
    anomaly_map = np.zeros((64, 64))
    anomaly_map[5, 9] = 3
    verdict = Inspector(FixedSession(3, anomaly_map), manifest).inspect(GREY)
    assert [(r.x, r.y) for r in verdict.regions] == [(41, 21)]


def test_a_bad_part_has_a_place_even_when_the_map_hides_it(tiny_manifest: Manifest) -> None:
    verdict = Inspector(FixedSession(3, np.zeros((64, 64))), tiny_manifest).inspect(GREY)
    assert verdict.decision is Decision.NG and len(verdict.regions) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_never_ok(tiny_manifest: Manifest, bad: float) -> None:
    spoiled = np.zeros((64, 64))
    spoiled[3, 3] = bad
    unset = dataclasses.replace(tiny_manifest, threshold=Threshold(bad, "none", 0))
    for session, manifest in [
        (FixedSession(bad, np.zeros((64, 64))), tiny_manifest),
        (FixedSession(0.1, spoiled), tiny_manifest),
        (FixedSession(0.1, np.zeros((64, 64))), unset),
    ]:
        verdict = Inspector(session, manifest).inspect(GREY)
        assert verdict.decision is Decision.NO_DECISION
        assert verdict.reason is not None and verdict.reason.startswith("not a number: ")
        assert verdict.score is None and verdict.map is None and verdict.regions == ()


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((96, 128, 3), np.uint8), "black"),
        (np.full((96, 128, 3), 255, np.uint8), "white"),
        (np.zeros((96, 128, 3), np.float32), "wrong layout"),
    ],
)
def test_what_cannot_be_judged_gets_no_score(inspector: Inspector, image: np.ndarray, kind: str) -> None:
    verdict = inspector.inspect(image)
    assert verdict.decision is Decision.NO_DECISION
    assert verdict.reason is not None and verdict.reason.startswith(f"{kind}: ")
    assert list(verdict.stages_ms) == ["capture", "wait", "gate"]


def test_a_lost_frame(inspector: Inspector) -> None:
    verdict = inspector.inspect(Frame(None, 3, fault="lost frame: no cable"))
    assert (verdict.decision, verdict.reason) == (Decision.NO_DECISION, "lost frame: no cable")


def test_a_frame_that_the_geometry_refuses(tiny_manifest: Manifest) -> None:
    geometry = Geometry(size_hw=(64, 64), region_xywh=(100, 0, 64, 64))
    manifest = dataclasses.replace(tiny_manifest, geometry=geometry)
    verdict = Inspector(FixedSession(0, np.zeros((64, 64))), manifest).inspect(GREY)
    assert verdict.decision is Decision.NO_DECISION
    assert verdict.reason is not None and "reaches outside" in verdict.reason


def test_the_bundles_frame_size_is_held(tiny_bundle: Bundle) -> None:
    manifest = dataclasses.replace(tiny_bundle.manifest, frame_size_hw=(128, 96))
    verdict = Inspector(OrtSession(tiny_bundle), manifest).inspect(GREY)
    assert verdict.reason is not None and verdict.reason.startswith("wrong size: ")


def test_a_failing_session_is_not_a_verdict(inspector: Inspector) -> None:
    inspector.session.close()
    with pytest.raises(BackendError):
        inspector.inspect(GREY)


def test_a_larger_batch_is_filled_with_the_frame(tiny_manifest: Manifest) -> None:
    session = FixedSession(0.5, np.zeros((64, 64)), batch=3)
    verdict = Inspector(session, tiny_manifest).inspect(GREY)
    assert (verdict.decision, verdict.score) == (Decision.OK, 0.5)
    assert session.seen is not None and session.seen.shape == (3, 64, 64, 3)
    assert np.array_equal(session.seen[0], session.seen[2])


def test_stages_run_from_arrival_to_verdict(inspector: Inspector) -> None:
    captured_ns = time.monotonic_ns() - 50_000_000
    verdict = inspector.inspect(Frame(GREY, 0, captured_ns, capture_ms=20.0))
    latency_ms = (time.monotonic_ns() - captured_ns) / 1e6
    assert tuple(verdict.stages_ms) == STAGES
    assert verdict.stages_ms["capture"] == 20.0
    assert verdict.stages_ms["wait"] == pytest.approx(30.0, abs=5)
    assert sum(verdict.stages_ms.values()) == pytest.approx(latency_ms, abs=1)


def test_bare_pictures_are_counted_and_never_waited(inspector: Inspector) -> None:
    verdicts = [inspector.inspect(GREY) for _ in range(3)]
    assert [verdict.frame_index for verdict in verdicts] == [0, 1, 2]
    assert all(v.stages_ms["capture"] == v.stages_ms["wait"] == 0 for v in verdicts)


def test_open_judges_and_closes(tiny_bundle_path: Path) -> None:
    with Inspector.open(tiny_bundle_path) as inspector:
        assert inspector.manifest.name == "tiny"
        assert inspector.inspect(defective()).decision is Decision.NG
    with pytest.raises(BackendError, match="closed"):
        inspector.inspect(GREY)


def test_open_refuses_a_session_that_disagrees(tiny_bundle: Bundle, tmp_path: Path) -> None:
    golden = Golden(tiny_bundle.golden.frames, tiny_bundle.golden.score + 1)
    path = tmp_path / "other.dtgd"
    dataclasses.replace(tiny_bundle, golden=golden).save(path)
    with pytest.raises(BackendError, match="golden frame 0"):
        Inspector.open(path)
    with Inspector.open(path, "null") as inspector:
        assert inspector.inspect(GREY).decision is Decision.OK


def test_open_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Inspector.open(tmp_path / "none.dtgd")


def test_open_for_a_live_source_notices_a_frozen_one(tiny_bundle_path: Path) -> None:
    with Inspector.open(tiny_bundle_path, is_live=True) as inspector:
        reasons = [inspector.inspect(Frame(GREY, index)).reason for index in range(6)]
    assert reasons[0] is None and reasons[-1] is not None and reasons[-1].startswith("frozen: ")


def test_a_manifest_with_another_batch(tiny_bundle: Bundle) -> None:
    spec = TensorSpec("frames", "uint8", (2, 64, 64, 3))
    with pytest.raises(BackendError):
        OrtSession(
            dataclasses.replace(tiny_bundle, manifest=dataclasses.replace(tiny_bundle.manifest, input=spec))
        )


def test_a_frame_unlike_the_normal_ones_gets_no_score(tiny_bundle: Bundle) -> None:
    normals = [tiny_bundle.manifest.geometry.apply(GREY)]
    manifest = dataclasses.replace(tiny_bundle.manifest, statistics=statistics_of(normals))
    inspector = Inspector(OrtSession(tiny_bundle), manifest)
    assert inspector.inspect(GREY).decision is Decision.OK
    verdict = inspector.inspect((GREY * 0.4).astype(np.uint8))
    assert verdict.decision is Decision.NO_DECISION and verdict.score is None
    assert verdict.reason is not None and verdict.reason.startswith("under-exposed: ")
    assert verdict.appearance is not None and verdict.appearance.brightness < 0.25
    assert list(verdict.stages_ms) == ["capture", "wait", "gate", "geometry"]
