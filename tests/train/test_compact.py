"""Compact checkpoints: what they learn from, what they share, and that a killed run goes on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dtgd_edge.errors import ConfigError
from dtgd_edge.train import compact
from dtgd_edge.train.checkpoint import Checkpoint, tensors_under
from dtgd_edge.train.compact import Comparison, compact_recipe, train_compact
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import Progress, train
from dtgd_edge.train.metrics import Metrics
from dtgd_edge.train.recipe import Recipe, TeacherRecipe

STEPS = 5

pytestmark = pytest.mark.usefixtures("few_judging_frames")


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def full(data: DataSet, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A few steps of two pictures, with a teacher that is wider than the compact one's."""
    recipe = replace(
        tiny_recipe,
        teacher=TeacherRecipe("resnet18", "random"),
        optimiser=replace(tiny_recipe.optimiser, steps=STEPS, batch=2),
    )
    return train(data, recipe, tmp_path_factory.mktemp("runs") / "full", device="cpu")


@pytest.fixture(scope="module")
def distilled(
    full: Checkpoint, data: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkpoint, Comparison]:
    return train_compact(full, data, tmp_path_factory.mktemp("runs") / "compact", device="cpu")


def test_the_recipe_is_the_full_one_but_for_the_networks(full: Checkpoint) -> None:
    before, after = full.record.recipe, compact_recipe(full.record.recipe, 7)
    assert after.teacher.variant == "thin" and after.teacher.backbone == "resnet18_half"
    assert after.student.shares == "stage1" and after.optimiser.steps == 7
    assert after.memory == replace(before.memory, components=before.memory.components // 2)
    same = replace(after, teacher=before.teacher, student=before.student, optimiser=before.optimiser)
    assert replace(same, memory=before.memory) == before


def test_a_full_graph_that_is_thin_already_is_not_widened(tiny_recipe: Recipe) -> None:
    recipe = compact_recipe(tiny_recipe)
    widths = {recipe.teacher.backbone, recipe.student.backbone, recipe.student.decoder}
    assert widths == {"resnet18_quarter"}


def test_it_is_an_ordinary_checkpoint_with_a_lighter_graph(
    full: Checkpoint, distilled: tuple[Checkpoint, Comparison]
) -> None:
    checkpoint, _ = distilled
    record = checkpoint.record
    assert record.graph == "compact" and record.source == full.record.weights_sha256
    assert full.record.graph == "full" and full.record.source is None
    graph = distil(checkpoint)
    scores = graph.score(checkpoint.frames().normals[:1])
    assert scores.map.shape == (1, 64, 64)
    names = [name for name, _ in graph.network.student.named_modules()]
    assert not any(name.startswith(("encoder.conv1", "encoder.layer1")) for name in names)


def test_the_thin_teacher_learns_and_ships_its_average(distilled: tuple[Checkpoint, Comparison]) -> None:
    checkpoint, _ = distilled
    came, average = (tensors_under(checkpoint.tensors, p) for p in ("teacher.", "tuned_average."))
    shipped = checkpoint.network().teacher.state_dict()
    assert all(torch.equal(v, average[k]) for k, v in shipped.items())
    assert not torch.equal(came["layer1.0.conv1.weight"], average["layer1.0.conv1.weight"])
    assert torch.equal(came["bn1.running_mean"], average["bn1.running_mean"])


def test_every_step_says_what_the_full_model_adds(full: Checkpoint, data: DataSet, tmp_path: Path) -> None:
    seen: list[Progress] = []
    recipe = compact_recipe(full.record.recipe, 2)
    train(data, recipe, tmp_path, device="cpu", report=seen.append, full=full)
    assert len(seen) == 2 and all(p.teacher > 0 and p.agreement > 0 for p in seen)
    student = [
        p.consistency + min(1, p.step / 0.4) * (0.5 * p.dissimilarity + p.agreement) + 0.2 * p.gate
        for p in seen
    ]
    assert [p.loss for p in seen] == pytest.approx(
        [s + p.teacher for s, p in zip(student, seen, strict=True)]
    )


def test_a_killed_run_goes_on_to_the_same_weights(
    full: Checkpoint, data: DataSet, distilled: tuple[Checkpoint, Comparison], tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.step == 4:
            raise Killed

    recipe = compact_recipe(full.record.recipe)
    with pytest.raises(Killed):
        train(data, recipe, tmp_path, device="cpu", report=kill, save_every_steps=2, full=full)
    checkpoint, comparison = train_compact(full, data, tmp_path, device="cpu", resume=True)
    expected, compared = distilled
    assert checkpoint.record == expected.record and comparison == compared
    assert checkpoint.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(v, expected.tensors[k]) for k, v in checkpoint.tensors.items())


def test_another_full_checkpoint_cannot_resume_it(
    full: Checkpoint, data: DataSet, distilled: tuple[Checkpoint, Comparison]
) -> None:
    other = replace(full, record=replace(full.record, weights_sha256="0" * 64))
    with pytest.raises(ConfigError, match="distilled from another checkpoint"):
        train_compact(other, data, distilled[0].folder, device="cpu", resume=True)


def test_what_cannot_be_distilled_is_refused(
    full: Checkpoint, data: DataSet, distilled: tuple[Checkpoint, Comparison], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="compact checkpoint already"):
        train_compact(distilled[0], data, tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="no full checkpoint was given"):
        train(data, compact_recipe(full.record.recipe), tmp_path, device="cpu")
    assert not (tmp_path / "checkpoint.json").exists()


@pytest.mark.parametrize(("lost", "holds"), [(0.009, True), (0.011, False)])
def test_it_holds_when_it_loses_little(
    monkeypatch: pytest.MonkeyPatch, full: Checkpoint, lost: float, holds: bool
) -> None:
    metrics = Metrics(0.95, 0.9, 0.5, 0.9, 0.8, 0.9, 8, 4)
    results = iter((metrics, replace(metrics, image_auroc=0.95 - lost)))
    monkeypatch.setattr(compact, "held_out_metrics", lambda score, frames: next(results))
    assert compact.compared(full, full).holds is holds
