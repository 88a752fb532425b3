"""A graph that takes several frames at once scores each as it would alone."""

from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, Precision
from dtgd_edge.export.onnx import INPUT, MAP, SCORE, batch_of, onnx_from_graph
from dtgd_edge.export.pipeline import Exported, Exporter
from dtgd_edge.export.target import LimitsTarget, Target
from dtgd_edge.geometry import Geometry
from dtgd_edge.runtime.session import check_golden, open_session, score_all
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph


@pytest.fixture(scope="module")
def exporter(tiny_checkpoint: Path) -> Exporter:
    target = Target(limits=LimitsTarget(flip_share=0.1))
    return Exporter(Checkpoint.open(tiny_checkpoint), target=target, batch=3)


# ONNX Runtime's integer kernels round a batch in another order, so that the levels are calibrated anew.
CLOSE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 1e-3, "int8": 5e-2}


@pytest.mark.parametrize("precision", CLOSE)
def test_each_row_of_a_batch_is_the_frames_own_score(
    exporter: Exporter, tiny_bundles: dict[Precision, Exported], precision: Precision, tmp_path: Path
) -> None:
    exported = exporter.export(precision, tmp_path / "batched.dtgd")
    bundle, single = Bundle.open(exported.path), tiny_bundles[precision].bundle
    assert bundle.manifest.input.shape == (3, 64, 64, 3)
    assert [output.shape for output in bundle.manifest.outputs] == [(3,), (3, 64, 64)]
    frames = single.golden.frames  # 8 of them: the last batch is not full
    with open_session(bundle, "ort", 1) as session:
        check_golden(bundle, session)
        together = score_all(session, frames)
        for frame, score, anomaly_map in zip(frames, together.score, together.map, strict=True):
            repeated = session.score(np.repeat(frame[None], 3, axis=0))
            np.testing.assert_allclose(repeated.score, score, rtol=1e-5)
            np.testing.assert_allclose(repeated.map[0], anomaly_map, rtol=1e-4, atol=1e-5)
    assert np.ptp(together.score) > 0.01, "frames that score alike would show nothing"
    np.testing.assert_allclose(together.score, single.golden.score, rtol=CLOSE[precision])
    assert bundle.manifest.threshold.value == pytest.approx(
        single.manifest.threshold.value, rel=CLOSE[precision]
    )


def test_tiles_of_several_frames_are_not_mixed_up(tiny_checkpoint: Path) -> None:
    import onnxruntime

    checkpoint = Checkpoint.open(tiny_checkpoint)
    geometry = Geometry((96, 128), tiles=(2, 3))
    scoring = checkpoint.record.recipe.scoring
    graph = ScoringGraph(checkpoint.network(), geometry.size_hw, scoring, geometry.tile_grid).eval()
    model = onnx_from_graph(graph, batch=2)
    assert batch_of(model) == 2
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run([SCORE, MAP], {INPUT: frames})
    alone = graph.score(frames)
    np.testing.assert_allclose(score, alone.score, rtol=1e-4)
    np.testing.assert_allclose(anomaly_map, alone.map, rtol=1e-3, atol=1e-4)
    assert score[0] != score[1]


def test_the_batch_is_part_of_the_command(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from dtgd_edge.cli.app import app

    out = tmp_path / "two.dtgd"
    ended = CliRunner().invoke(app, ["export", str(tiny_checkpoint), "--batch", "2", "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    assert Bundle.open(out).manifest.input.shape[0] == 2
