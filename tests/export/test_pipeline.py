"""Checkpoint to bundle: what ships has been proven, and what was not proven does not ship."""

import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.appearance import appearance_of
from dtgd_edge.bundle import SCHEMA, Bundle, Pooling, Precision
from dtgd_edge.errors import ConfigError, ParityError
from dtgd_edge.export import pipeline
from dtgd_edge.export.parity import flips_allowed
from dtgd_edge.export.pipeline import PRECISIONS, RULES, Exported, Exporter, known_precision
from dtgd_edge.pretend import line_parts
from dtgd_edge.runtime.inspector import health_gate
from dtgd_edge.runtime.session import check_golden, open_session, score_all
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.zones import coarse_map
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.loop import MOST_DEFECTS
from dtgd_edge.verdict import Scores

Bundles = dict[Precision, Exported]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_gives_a_bundle_that_proves_itself(
    tiny_bundles: Bundles, precision: Precision
) -> None:
    exported = tiny_bundles[precision]
    opened = Bundle.open(exported.path)
    assert exported.path.name == f"pretend-{precision}.dtgd" and exported.path.parent.name == "bundles"
    assert opened.manifest == exported.bundle.manifest and opened.graph == exported.bundle.graph
    with open_session(opened) as session:
        assert check_golden(opened, session) <= opened.manifest.golden_tolerance


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_manifest_says_what_the_bundle_is(
    tiny_bundles: Bundles, tiny_checkpoint: Path, precision: Precision
) -> None:
    record, bundle = Checkpoint.open(tiny_checkpoint).record, tiny_bundles[precision].bundle
    manifest = bundle.manifest
    assert (manifest.schema, manifest.name, manifest.precision) == (SCHEMA, "pretend", precision)
    assert manifest.placement == ("cpu" if precision == "int8" else "float")
    assert manifest.graph_sha256 == hashlib.sha256(bundle.graph).hexdigest()
    assert manifest.geometry == record.recipe.geometry
    assert manifest.frame_size_hw == (64, 64)
    assert manifest.threshold.normals == 6 and np.isfinite(manifest.threshold.value)
    assert manifest.golden_tolerance > 0
    origin = manifest.provenance
    assert (origin.checkpoint_sha256, origin.steps) == (record.weights_sha256, record.step)
    assert (origin.data, origin.teacher) == (record.data, "random weights")
    assert {"torch", "onnx", "onnxruntime", "dtgd-edge"} <= set(origin.versions)


def test_the_score_follows_from_the_map_as_the_manifest_says(tiny_bundles: Bundles) -> None:
    for exported in tiny_bundles.values():
        bundle = exported.bundle
        assert bundle.manifest.pooling == Pooling(4, 1)
        with open_session(bundle) as session:
            for frame in bundle.golden.frames:
                answer = session.score(frame[None])
                coarse = coarse_map(answer.map[0], 4)
                assert coarse.max() == pytest.approx(float(answer.score[0]), rel=1e-4)


def test_the_line_passes_every_part_and_names_a_wrong_camera(tiny_bundles: Bundles) -> None:
    """Parts that the statistics were not measured on, through the gate of the bundle that was written."""
    bundle = Bundle.open(tiny_bundles["fp32"].path)
    gate = health_gate(bundle.manifest, is_live=False)
    assert bundle.manifest.statistics is not None and bundle.manifest.statistics.frames == 6
    for index, part in enumerate(islice(line_parts(77, 0.5, 64), 60)):
        frame = Frame(part.image, index)
        assert gate.fault(frame) is None
        looks = [
            appearance_of(bundle.manifest.geometry.apply(im)) for im in (part.image, part.image[..., ::-1])
        ]
        assert gate.appearance_fault(looks[0]) is None, part.defect
        assert (gate.appearance_fault(looks[1]) or "").startswith("wrong channel order: "), part.defect


def test_parity_was_kept_and_is_written_down(tiny_bundles: Bundles) -> None:
    sessions = {p: [r.session for r in e.bundle.manifest.parity] for p, e in tiny_bundles.items()}
    assert sessions["fp32"] == sessions["int8"] == ["ONNX Runtime CPU"]
    assert len(sessions["fp16"]) == 2 and "float16" in sessions["fp16"][1]
    for precision, exported in tiny_bundles.items():
        for record in exported.bundle.manifest.parity:
            assert record.frames == 6 + MOST_DEFECTS and record.non_finite == 0
            assert record.flips <= flips_allowed(record.flip_limit, record.frames)
            assert record.rank_correlation > (0.9 if precision == "int8" else 0.999)
    assert tiny_bundles["fp32"].bundle.manifest.parity[0].score_difference < 1e-4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_frames_are_of_both_kinds_with_this_graphs_scores(
    tiny_bundles: Bundles, precision: Precision, tiny_checkpoint: Path
) -> None:
    bundle, frames = tiny_bundles[precision].bundle, Checkpoint.open(tiny_checkpoint).frames()
    np.testing.assert_array_equal(bundle.golden.frames[:4], frames.normals[:4])
    np.testing.assert_array_equal(bundle.golden.frames[4:], frames.defects[:4])
    assert (bundle.golden.score[:4] <= bundle.manifest.threshold.value).all()


def test_no_held_out_good_part_is_rejected(tiny_bundles: Bundles, tiny_checkpoint: Path) -> None:
    normals = Checkpoint.open(tiny_checkpoint).frames().normals
    for exported in tiny_bundles.values():
        with open_session(exported.bundle) as session:
            assert (score_all(session, normals).score <= exported.bundle.manifest.threshold.value).all()


def _everything_good(scores: Scores) -> Scores:
    return Scores(np.zeros_like(scores.score), scores.map)


def _one_nan(scores: Scores) -> Scores:
    anomaly_map = scores.map.copy()
    anomaly_map[-1, 0, 0] = np.nan
    return Scores(scores.score, anomaly_map)


@pytest.mark.parametrize("change", [_everything_good, _one_nan])
def test_a_graph_with_other_verdicts_is_not_written(
    tiny_exporter: Exporter,
    tiny_bundles: Bundles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Scores], Scores],
) -> None:
    monkeypatch.setattr(pipeline, "score_all", lambda *args: change(score_all(*args)))
    with pytest.raises(ParityError) as caught:
        tiny_exporter.export("fp32", tmp_path / "part.dtgd")
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_leaves_an_older_bundle_alone(
    tiny_exporter: Exporter, tiny_bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_exporter.export("fp32", tmp_path / "part.dtgd").path
    before = path.read_bytes()
    monkeypatch.setattr(pipeline, "score_all", lambda *args: _one_nan(score_all(*args)))
    with pytest.raises(ParityError):
        tiny_exporter.export("fp32", path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_precisions_have_names_and_rules() -> None:
    assert [known_precision(name) for name in PRECISIONS] == list(PRECISIONS)
    assert set(RULES) == set(PRECISIONS)
    assert RULES["fp32"].flip_limit == 0
    with pytest.raises(ConfigError, match="'int4' is not known; expected one of fp32, fp16, int8"):
        known_precision("int4")


def test_what_is_being_done_is_said(tiny_checkpoint: Path) -> None:
    said: list[str] = []
    Exporter(Checkpoint.open(tiny_checkpoint), said.append)
    assert said == [
        "distilling the checkpoint into its scoring graph",
        f"scoring {6 + MOST_DEFECTS} frames with the trained graph",
    ]
