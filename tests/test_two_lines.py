"""Whoever scores a picture, PyTorch, ONNX Runtime or the runtime's inspector, gets the same score."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, Precision
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.pretend import draw_part
from dtgd_edge.runtime import Inspector
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph, distil
from dtgd_edge.verdict import Decision

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path) -> ScoringGraph:
    return distil(Checkpoint.open(tiny_checkpoint))


@pytest.fixture(scope="module")
def bundle_path(tiny_bundles: dict[Precision, Exported], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FP32 bundle, open to pictures of any size and any look."""
    bundle = tiny_bundles["fp32"].bundle
    path = tmp_path_factory.mktemp("any") / "any.dtgd"
    manifest = replace(bundle.manifest, frame_size_hw=None, statistics=None)
    replace(bundle, manifest=manifest).save(path)
    return path


def _picture(size_hw: tuple[int, int], is_grey: bool) -> Image:
    part = draw_part(np.random.default_rng(5), "good", 96).image
    picture = cv2.resize(part, size_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if is_grey else picture, np.uint8)


@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize("size_hw", [(64, 64), (50, 70), (120, 96)])
def test_three_ways_one_score(
    graph: ScoringGraph, bundle_path: Path, size_hw: tuple[int, int], is_grey: bool
) -> None:
    picture, bundle = _picture(size_hw, is_grey), Bundle.open(bundle_path)
    frame = bundle.manifest.geometry.apply(picture)
    trained = graph.score(frame[None])
    session = onnxruntime.InferenceSession(bundle.graph, providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run(["score", "map"], {"frames": frame[None]})
    with Inspector.open(bundle_path) as inspector:
        verdict = inspector.inspect(picture)
    assert verdict.reason is None and verdict.score is not None and verdict.map is not None
    assert score[0] == pytest.approx(trained.score[0], abs=1e-4)
    assert verdict.score == pytest.approx(trained.score[0], abs=1e-4)
    assert verdict.map.shape == size_hw
    np.testing.assert_allclose(anomaly_map, trained.map, rtol=0, atol=1e-4)
    if size_hw == (64, 64):
        np.testing.assert_allclose(verdict.map, trained.map[0], rtol=0, atol=1e-4)
    assert (verdict.decision is Decision.NG) == (verdict.score > bundle.manifest.threshold.value)


def test_two_lines_of_python(tiny_bundles: dict[Precision, Exported], pretend_data: Path) -> None:
    path = tiny_bundles["fp32"].path
    picture = pretend_data / "test" / "good" / "000.png"
    with Inspector.open(path) as inspector:
        verdict = inspector.inspect(cv2.imread(str(picture)))
    assert verdict.decision in (Decision.OK, Decision.NG)
    assert verdict.threshold == Bundle.open(path).manifest.threshold.value
    assert verdict.map is not None and verdict.map.shape == (64, 64)
