"""Resuming: a run that was killed goes on to the same weights, and no other run does."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train import loop
from dtgd_edge.train.checkpoint import Checkpoint, tensors_under
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.loop import train
from dtgd_edge.train.recipe import LossRecipe, Recipe, TeacherRecipe
from tests.train.conftest import at, same

pytestmark = pytest.mark.usefixtures("few_judging_frames")


def _killed(data: DataSet, recipe: Recipe, folder: Path, step: int, save_every_steps: int) -> None:
    """Train, and lose the process after a step."""

    class Killed(Exception):
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        train(data, recipe, folder, device="cpu", report=at(step, kill), save_every_steps=save_every_steps)


@pytest.mark.parametrize("killed_at", [2, 3, 6])
def test_a_killed_run_with_a_tuned_teacher_goes_on_to_the_same_weights(
    data: DataSet, tuned_recipe: Recipe, tuned: Checkpoint, tmp_path: Path, killed_at: int
) -> None:
    _killed(data, tuned_recipe, tmp_path, killed_at, save_every_steps=1)
    stopped = Checkpoint.open(tmp_path)
    assert stopped.record.step == killed_at - 1
    assert bool(tensors_under(stopped.tensors, "tuned_adam.")) is (killed_at > 2)
    assert same(train(data, tuned_recipe, tmp_path, device="cpu", resume=True), tuned)


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_killed_run_goes_on_to_the_same_weights(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path, killed_at: int
) -> None:
    _killed(data, recipe, tmp_path, killed_at, save_every_steps=2)
    steps: list[int] = []
    resumed = train(data, recipe, tmp_path, device="cpu", resume=True, report=lambda p: steps.append(p.step))
    assert steps[0] == (killed_at - 1) // 2 * 2 + 1
    assert same(resumed, uninterrupted)


def test_a_run_killed_by_the_system_goes_on_to_the_same_weights(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    script = f"""
import os, signal, sys, torch
from pathlib import Path
from dtgd_edge.train.data import read_data
from dtgd_edge.train import loop, tuning
from dtgd_edge.train.recipe import Recipe
import msgspec
torch.set_num_threads({torch.get_num_threads()})
recipe = msgspec.json.decode(Path({str(tmp_path / "recipe.json")!r}).read_bytes(), type=Recipe)
loop.MOST_DEFECTS = loop.MOST_FITTED = 4
def report(progress):
    if progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
loop.train(read_data(Path({str(data.root)!r})), recipe, Path({str(tmp_path / "run")!r}), device="cpu",
      report=report, save_every_steps=2)
"""
    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode(recipe))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert Checkpoint.open(tmp_path / "run").record.step == 4
    assert same(train(data, recipe, tmp_path / "run", device="cpu", resume=True), uninterrupted)


def test_resuming_a_finished_run_changes_nothing(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    train(data, recipe, tmp_path, device="cpu")
    assert same(train(data, recipe, tmp_path, device="cpu", resume=True), uninterrupted)


def test_resuming_without_a_checkpoint_starts_afresh(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    assert same(train(data, recipe, tmp_path / "new", device="cpu", resume=True), uninterrupted)


def test_another_recipe_cannot_be_resumed(data: DataSet, recipe: Recipe, uninterrupted: Checkpoint) -> None:
    weights = uninterrupted.record.weights_sha256
    for other in (replace(recipe, seed=1), replace(recipe, loss=LossRecipe(gate=0.1))):
        with pytest.raises(ConfigError, match="was trained with another recipe; expected the same one"):
            train(data, other, uninterrupted.folder, device="cpu", resume=True)
    assert Checkpoint.open(uninterrupted.folder).record.weights_sha256 == weights


def test_other_pictures_cannot_be_resumed(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="expected the same pictures"):
        train(replace(data, root=tmp_path), recipe, uninterrupted.folder, device="cpu", resume=True)


def test_a_resumed_run_takes_the_teacher_from_its_checkpoint(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise DataError("the weight file is gone")

    monkeypatch.setattr(loop, "load_teacher", gone)
    assert same(train(data, recipe, uninterrupted.folder, device="cpu", resume=True), uninterrupted)


def test_a_run_without_encoder_consistency_can_be_resumed(
    data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    plan = replace(
        recipe,
        teacher=TeacherRecipe("resnet18_half", "random"),  # wider than the student: its heads have weights
        loss=LossRecipe(encoder_consistency=0, dissimilarity_form="mask"),
    )
    whole = train(data, plan, tmp_path / "whole", device="cpu")
    _killed(data, plan, tmp_path / "run", 3, save_every_steps=2)
    assert same(train(data, plan, tmp_path / "run", device="cpu", resume=True), whole)
