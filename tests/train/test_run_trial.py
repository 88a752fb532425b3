"""One trial: it trains to the end, however often it is stopped, and judges on both sets."""

import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.train import run_trial as module
from dtgd_edge.train.checkpoint import JudgingFrames
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.loop import Progress
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.run_trial import held_out_metrics, run_trial
from dtgd_edge.verdict import Scores

pytestmark = pytest.mark.usefixtures("few_judging_frames")


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    return replace(tiny_recipe, optimiser=replace(tiny_recipe.optimiser, steps=6, batch=2))


def test_a_stopped_trial_goes_on_and_its_minutes_add_up(
    data: DataSet, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_three(progress: Progress) -> None:
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    hours = count(step=3600)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    with pytest.raises(KeyboardInterrupt):
        run_trial(data, recipe, tmp_path / "stopped", device="cpu", report=stop_at_three)
    went_on: list[int] = []
    resumed = run_trial(
        data,
        recipe,
        tmp_path / "stopped",
        device="cpu",
        report=lambda progress: went_on.append(progress.step),
    )
    assert went_on == [4, 5, 6] and resumed.steps == 6 and resumed.minutes == pytest.approx(120)
    whole = run_trial(data, recipe, tmp_path / "whole", device="cpu")
    assert whole.minutes == pytest.approx(60)
    assert (resumed.test, resumed.held_out) == (whole.test, whole.held_out)


def test_a_trial_is_judged_on_test_pictures_and_on_frames_kept_out_of_training(
    data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    scored: list[tuple[int, int]] = []
    trial = run_trial(
        data, recipe, tmp_path, device="cpu", scored=lambda done, total: scored.append((done, total))
    )
    assert (trial.test.pictures, trial.test.defective) == (20, 12) and scored[-1] == (20, 20)
    assert trial.held_out.defective == 4 and trial.held_out.pixel_ap is not None
    assert (trial.teacher, trial.device) == ("random weights", "cpu")


def test_held_out_metrics_of_a_perfect_and_of_an_inverted_graph() -> None:
    masks = np.zeros((3, 8, 8), np.bool_)
    masks[:, 2:4, 3:6] = True
    normals = np.zeros((2, 8, 8, 3), np.uint8)
    defects = np.where(masks[..., None], np.uint8(200), np.uint8(0)).repeat(3, axis=3)
    frames = JudgingFrames(normals, defects, masks, normals)

    def score(pictures: NDArray[np.uint8]) -> Scores:
        maps = pictures[..., 0].astype(np.float32)
        return Scores(maps.max(axis=(1, 2)), maps)

    def inverted(pictures: NDArray[np.uint8]) -> Scores:
        scores = score(pictures)
        return Scores(-scores.score, -scores.map)

    perfect = held_out_metrics(score, frames)
    assert (perfect.image_auroc, perfect.pixel_ap, perfect.pictures) == (1, 1, 5)
    worst = held_out_metrics(inverted, frames)
    assert worst.image_auroc == 0 and worst.pixel_ap is not None and worst.pixel_ap < 0.1
