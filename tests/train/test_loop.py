"""The training loop: it learns, it survives a kill and a Ctrl-C, and every switch can be thrown."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train import loop
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.checkpoint import Checkpoint, tensors_under
from dtgd_edge.train.data import DataSet, read_data
from dtgd_edge.train.loop import Progress, learning_rate, resolved, tensor_from_frames, train
from dtgd_edge.train.recipe import LossRecipe, Recipe, StudentRecipe, TeacherRecipe
from dtgd_edge.train.teacher import Teacher, load_teacher

STEPS = 6


@pytest.fixture(scope="module")
def data(pretend_data: Path) -> DataSet:
    return read_data(pretend_data)


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    """Six steps of two pictures."""
    return replace(tiny_recipe, optimiser=replace(tiny_recipe.optimiser, steps=STEPS, batch=2))


@pytest.fixture(scope="module")
def uninterrupted(data: DataSet, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(data, recipe, tmp_path_factory.mktemp("runs") / "whole", device="cpu")


def _same(a: Checkpoint, b: Checkpoint) -> bool:
    """Bit for bit, the optimiser's moments and the record included."""
    return (
        a.record == b.record
        and a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(v, b.tensors[k]) for k, v in a.tensors.items())
    )


def _at(step: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            act()

    return report


class Killed(Exception):
    pass


def _kill() -> None:
    raise Killed


def test_every_step_is_reported_and_finite(data: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    seen: list[Progress] = []
    checkpoint = train(data, recipe, tmp_path, device="cpu", report=seen.append)
    assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6] and {p.steps for p in seen} == {STEPS}
    assert all(torch.tensor([p.loss, p.consistency, p.dissimilarity, p.gate]).isfinite().all() for p in seen)
    assert checkpoint.record.loss == seen[-1].loss and checkpoint.record.step == STEPS
    assert checkpoint.record.teacher == "random weights" and checkpoint.record.data == str(data.root)


def test_the_seed_decides_everything(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    assert _same(train(data, recipe, tmp_path / "again", device="cpu"), uninterrupted)
    other = train(data, replace(recipe, seed=1), tmp_path / "other", device="cpu")
    assert not torch.equal(other.tensors["student.encoder.conv1.weight"], uninterrupted.tensors["student.encoder.conv1.weight"])


def test_the_teacher_is_never_changed(uninterrupted: Checkpoint, recipe: Recipe) -> None:
    torch.manual_seed(recipe.seed)
    before = load_teacher(recipe.teacher, lambda text: None).network.state_dict()
    after = tensors_under(uninterrupted.tensors, "teacher.")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_everything_else_learns(data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path) -> None:
    one = replace(recipe, optimiser=replace(recipe.optimiser, steps=1))
    first = tensors_under(train(data, one, tmp_path, device="cpu").tensors, "student.")
    last = tensors_under(uninterrupted.tensors, "student.")
    assert [k for k, v in last.items() if torch.equal(v, first[k])] == []


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_killed_run_goes_on_to_the_same_weights(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path, killed_at: int
) -> None:
    with pytest.raises(Killed):
        train(data, recipe, tmp_path, device="cpu", report=_at(killed_at, _kill), save_every_steps=2)
    steps: list[int] = []
    resumed = train(
        data, recipe, tmp_path, device="cpu", resume=True, report=lambda p: steps.append(p.step)
    )
    assert steps[0] == (killed_at - 1) // 2 * 2 + 1
    assert _same(resumed, uninterrupted)


def test_a_run_killed_by_the_system_goes_on_to_the_same_weights(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    script = f"""
import os, signal, sys, torch
from pathlib import Path
from dtgd_edge.config import record_from_toml
from dtgd_edge.train.data import read_data
from dtgd_edge.train.loop import train
from dtgd_edge.train.recipe import Recipe
import msgspec
torch.set_num_threads({torch.get_num_threads()})
recipe = msgspec.json.decode(Path({str(tmp_path / "recipe.json")!r}).read_bytes(), type=Recipe)
def report(progress):
    if progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train(read_data(Path({str(data.root)!r})), recipe, Path({str(tmp_path / "run")!r}), device="cpu",
      report=report, save_every_steps=2)
"""
    import msgspec

    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode(recipe))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert Checkpoint.open(tmp_path / "run").record.step == 4
    assert _same(train(data, recipe, tmp_path / "run", device="cpu", resume=True), uninterrupted)


def test_resuming_a_finished_run_changes_nothing(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    train(data, recipe, tmp_path, device="cpu")
    assert _same(train(data, recipe, tmp_path, device="cpu", resume=True), uninterrupted)


def test_resuming_without_a_checkpoint_starts_afresh(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    assert _same(train(data, recipe, tmp_path / "new", device="cpu", resume=True), uninterrupted)


def test_another_recipe_cannot_be_resumed(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint
) -> None:
    weights = uninterrupted.record.weights_sha256
    for other in (replace(recipe, seed=1), replace(recipe, loss=LossRecipe(gate=0.1))):
        with pytest.raises(ConfigError, match="was trained with another recipe; expected the same one"):
            train(data, other, uninterrupted.folder, device="cpu", resume=True)
    assert Checkpoint.open(uninterrupted.folder).record.weights_sha256 == weights


def test_ctrl_c_finishes_the_step_and_leaves_a_usable_checkpoint(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    stop = _at(3, lambda: signal.raise_signal(signal.SIGINT))
    stopped = train(data, recipe, tmp_path, device="cpu", report=stop)
    assert stopped.record.step == 3
    assert signal.getsignal(signal.SIGINT) is handler
    with torch.inference_mode():
        _, features = stopped.network()(torch.rand(1, 3, 64, 64))
    assert all(d.isfinite().all() for d in features.decoded)
    assert _same(train(data, recipe, tmp_path, device="cpu", resume=True), uninterrupted)


def test_a_second_ctrl_c_is_not_held_back(data: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(data, recipe, tmp_path, device="cpu", report=_at(3, twice), save_every_steps=2)
    assert Checkpoint.open(tmp_path).record.step == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    "switch",
    [
        {"student": StudentRecipe("resnet18_quarter", tnr=False)},
        {"loss": LossRecipe(dissimilarity=0)},
        {"loss": LossRecipe(gate=0)},
        {"loss": LossRecipe(encoder_consistency=0)},
        {"loss": LossRecipe(global_consistency=0)},
        {"loss": LossRecipe(dissimilarity_form="mask", dissimilarity=0.1)},
    ],
    ids=lambda switch: str(next(iter(switch.values()))),
)
def test_every_switch_can_be_thrown(
    data: DataSet, recipe: Recipe, tmp_path: Path, switch: dict[str, StudentRecipe | LossRecipe]
) -> None:
    short = replace(recipe, optimiser=replace(recipe.optimiser, steps=2))
    checkpoint = train(data, replace(short, **switch), tmp_path, device="cpu")  # type: ignore[arg-type]
    assert checkpoint.record.step == 2
    with torch.inference_mode():
        _, student = checkpoint.network()(torch.rand(1, 3, 64, 64))
    assert bool(student.gates) is checkpoint.record.recipe.student.tnr
    assert all(d.isfinite().all() for d in student.decoded)


def test_an_infinite_loss_stops_the_run_and_keeps_the_last_checkpoint(
    data: DataSet, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = loop.dtgd_losses
    calls: list[int] = []

    def broken(*args: object) -> object:
        calls.append(1)
        found = losses(*args)  # type: ignore[arg-type]
        return replace(found, total=found.total * float("nan")) if len(calls) == 4 else found

    monkeypatch.setattr(loop, "dtgd_losses", broken)
    with pytest.raises(DataError, match=r"the loss became nan at step 4; .*learning_rate"):
        train(data, recipe, tmp_path, device="cpu", save_every_steps=2)
    assert Checkpoint.open(tmp_path).record.step == 2


def test_backbones_are_filled_in() -> None:
    def student(teacher: str, student: str = "auto") -> str:
        network = ResNet(backbone_spec("resnet18_quarter"))
        plan = Recipe(teacher=TeacherRecipe("auto", "shipped"), student=StudentRecipe(student))
        filled = resolved(plan, Teacher(network, teacher, "nowhere"))
        assert filled.teacher.backbone == teacher
        return filled.student.backbone

    assert student("resnet18_half") == "resnet18_half"
    assert student("wide_resnet50_2") == "resnet18"
    assert student("wide_resnet50_2", "resnet34") == "resnet34"


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe()
    rates = [learning_rate(recipe, step) for step in range(1, recipe.optimiser.steps + 1)]
    top = max(rates)
    peak = rates.index(top)
    assert top == pytest.approx(recipe.optimiser.learning_rate)
    assert peak + 1 == round(recipe.optimiser.warm_up * recipe.optimiser.steps)
    assert all(a < b for a, b in zip(rates[:peak], rates[1 : peak + 1], strict=True))
    assert all(a > b for a, b in zip(rates[peak:-1], rates[peak + 1 :], strict=True))
    assert 0 < rates[-1] < 1e-4 * top


def test_frames_are_normalised_as_imagenet_was() -> None:
    frames = torch.tensor([0, 255, 124], dtype=torch.uint8).expand(1, 2, 2, 3).numpy()
    x = tensor_from_frames(frames, torch.device("cpu"))
    assert x.shape == (1, 3, 2, 2)
    expected = torch.tensor([-0.485 / 0.229, (1 - 0.456) / 0.224, (124 / 255 - 0.406) / 0.225])
    torch.testing.assert_close(x[0, :, 1, 1], expected)


def test_an_unknown_device_is_refused_before_anything_is_written(
    data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'npu' is not known"):
        train(data, recipe, tmp_path / "run", device="npu")
    assert not (tmp_path / "run").exists()
