"""The grey bundle says what can be computed by hand."""

from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.benchmarks.grey import empty_bundle, grey_bundle, grey_score
from dtgd_edge.geometry import Geometry
from dtgd_edge.pretend import draw_part
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session
from dtgd_edge.verdict import Decision


def test_a_saved_one_opens_proves_itself_and_scores_as_computed(tmp_path: Path) -> None:
    grey_bundle().save(tmp_path / "grey.dtgd")
    with Inspector.open(tmp_path / "grey.dtgd", "ort", threads=1) as inspector:
        picture = np.full((90, 120, 3), 128, np.uint8)
        picture[10:30, 10:30] = 250
        verdict = inspector.inspect(picture)
        assert verdict.decision is Decision.NG
        assert verdict.score == pytest.approx(grey_score(inspector.manifest.geometry.apply(picture)))
        part = draw_part(np.random.default_rng(0), size=64).image
        assert inspector.inspect(part).score == pytest.approx(grey_score(part))


def test_the_graph_is_small_and_of_the_checked_kind() -> None:
    onnx = pytest.importorskip("onnx")
    graph = grey_bundle().graph
    assert len(graph) < 1000
    onnx.checker.check_model(onnx.load_from_string(graph))


def test_the_null_session_takes_any_geometry() -> None:
    bundle = empty_bundle(Geometry((96, 160)))
    with Inspector(open_session(bundle, "null"), bundle.manifest) as inspector:
        assert inspector.inspect(np.full((90, 120, 3), 100, np.uint8)).score == 0.0
