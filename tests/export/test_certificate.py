"""The certificate: stress frames, metrics, and refusals that name their cause."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dtgd_edge.bundle import Bundle, MetricParity
from dtgd_edge.errors import BackendError, ParityError
from dtgd_edge.export import pipeline
from dtgd_edge.export.certificate import Judge
from dtgd_edge.export.parity import (
    compare,
    flips_allowed,
    refusal,
    require,
    stress_frames,
)
from dtgd_edge.export.pipeline import Exporter
from dtgd_edge.export.precision import first_overflow
from dtgd_edge.export.target import LimitsTarget
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.data import read_data
from dtgd_edge.train.graph import distil
from dtgd_edge.verdict import Scores


def _scores(*values: float) -> Scores:
    score = np.array(values, np.float32)
    return Scores(score, np.zeros((len(values), 2, 2), np.float32))


@pytest.mark.parametrize(
    ("limit", "frames", "allowed"),
    [(0.0, 1000, 0), (0.005, 49, 0), (0.005, 50, 1), (0.005, 199, 1), (0.005, 400, 2), (0.1, 10, 1)],
)
def test_one_flip_is_allowed_where_it_is_one_in_fifty(limit: float, frames: int, allowed: int) -> None:
    assert flips_allowed(limit, frames) == allowed


def test_stress_frames_are_black_white_noise_and_checks() -> None:
    black, white, noise, checks = stress_frames((32, 64))
    assert black.shape == (32, 64, 3) and not black.any() and (white == 255).all()
    assert noise.std() > 60 and set(np.unique(checks)) == {0, 255}


def test_a_stress_frame_that_gives_nan_is_refused() -> None:
    record = compare("here", _scores(0.5), 1, _scores(0.5), 1, 0.0, _scores(np.nan, 1, 1, 1))
    assert (record.flips, record.non_finite, record.stress_frames) == (0, 1, 4)
    with pytest.raises(ParityError, match="NaN or infinite on 1 frames and 4 stress frames"):
        require(record)


@pytest.mark.parametrize(
    ("auroc", "aupro", "lost"),
    [(0.989, 0.9, None), (0.987, 0.9, "image AUROC falls by 0.30"), (0.99, 0.894, "AUPRO falls by 0.60")],
)
def test_lost_points_are_refused(auroc: float, aupro: float, lost: str | None) -> None:
    metrics = MetricParity(20, auroc, 0.99, 0.2, aupro, 0.9, 0.5)
    record = compare("here", _scores(0.5), 1, _scores(0.5), 1, 0.0, metrics=metrics)
    reason = refusal(record)
    assert reason is None if lost is None else reason is not None and lost in reason


@pytest.mark.parametrize(
    ("auroc", "error", "is_refused"),
    [(0.987, 0.05, True), (0.987, 0.11, False), (0.9861, 9.0, False), (0.985, 9.0, True)],
)
def test_a_loss_that_may_be_chance_is_allowed_up_to_twice_the_limit(
    auroc: float, error: float, is_refused: bool
) -> None:
    metrics = MetricParity(20, auroc, 0.99, 0.2, 0.9, 0.9, 0.5, error)
    reason = refusal(compare("here", _scores(0.5), 1, _scores(0.5), 1, 0.0, metrics=metrics))
    assert (reason is not None) is is_refused
    if reason is not None:
        assert f"0.2 and {min(error, 0.2):.2f} that may be chance" in reason


def test_metrics_without_masks_or_defects_are_not_compared() -> None:
    metrics = MetricParity(20, None, None, 0.2, None, 0.9, 0.5)
    assert refusal(compare("here", _scores(0.5), 1, _scores(0.5), 1, 0.0, metrics=metrics)) is None


def test_every_precision_stands_the_stress_and_the_test_pictures(
    tiny_checkpoint: Path, pretend_data: Path, tmp_path: Path
) -> None:
    exporter = Exporter(Checkpoint.open(tiny_checkpoint), test=read_data(pretend_data).test)
    exported = exporter.export("fp16", tmp_path / "part.dtgd")
    first, second = Bundle.open(exported.path).manifest.parity
    assert first.stress_frames == second.stress_frames == 4
    assert first.metrics is not None and second.metrics is None
    assert first.metrics.image_auroc == pytest.approx(first.metrics.reference_image_auroc, abs=0.02)
    assert first.metrics.aupro == pytest.approx(first.metrics.reference_aupro, abs=0.02)


def test_the_threshold_moves_as_the_scores_move_and_not_as_one_good_part_does(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    recipe, frames = checkpoint.record.recipe, checkpoint.frames()
    judge = Judge(distil(checkpoint, frames), frames, recipe.geometry, recipe.scoring)
    highest = int(judge.reference.score[: judge.normals].argmax())

    def moved(pictures: np.ndarray) -> Scores:
        score = np.full(len(pictures), 0.5, np.float32)
        if len(pictures) == len(judge.frames):
            score = judge.reference.score + 0.25
            score[highest] -= 0.1  # a threshold from the good parts would follow
        return Scores(score, np.zeros((len(pictures), 64, 64), np.float32))

    judgement = judge.judge("moved", moved, LimitsTarget())
    trained = judge.reference_threshold
    assert judgement.threshold == replace(trained, value=pytest.approx(trained.value + 0.25))
    assert judgement.record.flips == 0


@pytest.mark.parametrize("grey", [0, 255])
def test_a_covered_lens_cannot_calibrate(tiny_checkpoint: Path, tmp_path: Path, grey: int) -> None:
    folder = tmp_path / "dark"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((64, 64, 3), grey, np.uint8))
    exporter = Exporter(Checkpoint.open(tiny_checkpoint), calibration=folder)
    with pytest.raises(BackendError, match=f"the 5 calibration frames are empty or of one colour .*{folder}"):
        exporter.export("int8", tmp_path / "out" / "part.dtgd")
    assert not (tmp_path / "out").exists()


def test_own_pictures_calibrate(tiny_checkpoint: Path, pretend_data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    folder = pretend_data / "train" / "good"
    exporter = Exporter(Checkpoint.open(tiny_checkpoint), said.append, calibration=folder)
    exporter.export("int8", tmp_path / "part.dtgd")
    assert any("calibrating on" in text for text in said)


def test_the_convolution_that_overflows_is_named(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage whose values exceed float16's largest, and which float32 computes without harm."""
    real = pipeline.distil

    def loud(*args: object) -> object:
        graph = real(*args)  # type: ignore[arg-type]
        with torch.no_grad():
            graph.network.teacher.layer2[0].conv1.weight.mul_(1e5)
            graph.network.teacher.layer2[0].conv2.weight.mul_(1e-5)
        return graph

    monkeypatch.setattr(pipeline, "distil", loud)
    exporter = Exporter(Checkpoint.open(tiny_checkpoint))
    wanted = r"float16 overflows in network\.teacher\.layer2\.0\.conv1, the first convolution"
    with pytest.raises(ParityError, match=wanted) as caught:
        exporter.export("fp16", tmp_path / "part.dtgd")
    assert caught.value.exit_code == 3 and list(tmp_path.iterdir()) == []
    exporter.export("fp32", tmp_path / "part.dtgd")


def test_nothing_overflows_in_a_healthy_graph(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    assert first_overflow(distil(checkpoint), stress_frames((64, 64))) is None


def test_the_record_with_metrics_survives_the_file(tiny_bundle: Bundle, tmp_path: Path) -> None:
    metrics = MetricParity(20, 0.9, 0.99, 0.2, None, 0.9, 0.5)
    record = replace(tiny_bundle.manifest.parity[0], metrics=metrics, stress_frames=4)
    manifest = replace(tiny_bundle.manifest, parity=(record,), float_modules=("network.teacher.layer1",))
    replace(tiny_bundle, manifest=manifest).save(tmp_path / "a.dtgd")
    assert Bundle.open(tmp_path / "a.dtgd").manifest == manifest
