"""The training loop: it learns, it survives a kill and a Ctrl-C, and every switch can be thrown."""

import itertools
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.train import loop, tuning
from dtgd_edge.train.checkpoint import Checkpoint, tensors_under
from dtgd_edge.train.data import DataSet, read_data
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import Progress, learning_rate, tensor_from_frames, train
from dtgd_edge.train.metrics import image_auroc, pixel_auroc
from dtgd_edge.train.recipe import (
    DECIDED,
    AugmentRecipe,
    LossRecipe,
    OptimiserRecipe,
    Recipe,
    ScoringRecipe,
    StudentRecipe,
    SynthRecipe,
    TeacherRecipe,
)
from dtgd_edge.train.teacher import load_teacher
from tests.train.conftest import STEPS, at, same

pytestmark = pytest.mark.usefixtures("few_judging_frames")


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
    assert same(train(data, recipe, tmp_path / "again", device="cpu"), uninterrupted)
    other = train(data, replace(recipe, seed=1), tmp_path / "other", device="cpu")
    assert not torch.equal(
        other.tensors["student.encoder.conv1.weight"], uninterrupted.tensors["student.encoder.conv1.weight"]
    )


def test_the_teacher_is_never_changed(uninterrupted: Checkpoint, recipe: Recipe) -> None:
    torch.manual_seed(recipe.seed)
    before = load_teacher(recipe.teacher, lambda text: None).network.state_dict()
    after = tensors_under(uninterrupted.tensors, "teacher.")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_a_tuned_teacher_leaves_the_normal_one_and_all_batch_norm_statistics(
    tuned: Checkpoint, tuned_recipe: Recipe
) -> None:
    torch.manual_seed(tuned_recipe.seed)
    before = load_teacher(tuned_recipe.teacher, lambda text: None).network
    normal, learned = (tensors_under(tuned.tensors, prefix) for prefix in ("teacher.", "tuned."))
    state = before.state_dict()
    assert normal.keys() == learned.keys() == state.keys()
    assert all(torch.equal(normal[k], v) for k, v in state.items())
    assert [k for k, _ in before.named_parameters() if torch.equal(learned[k], state[k])] == []
    assert all(torch.equal(learned[k], v) for k, v in before.named_buffers())


def test_what_ships_has_one_teacher_the_averaged_tuned_one(
    tuned: Checkpoint, uninterrupted: Checkpoint
) -> None:
    network = tuned.network()
    shapes = {k: v.shape for k, v in network.state_dict().items()}
    assert shapes == {k: v.shape for k, v in uninterrupted.network().state_dict().items()}
    shipped = network.teacher.state_dict()
    for prefix, is_it in (("tuned_average.", True), ("tuned.", False), ("teacher.", False)):
        candidate = tensors_under(tuned.tensors, prefix)
        assert all(torch.equal(candidate[k], v) for k, v in shipped.items()) is is_it, prefix
    assert not any(p.requires_grad for p in network.teacher.parameters())


def test_a_tuned_teacher_rests_for_a_tenth_of_the_steps_and_then_costs_something(
    data: DataSet, tuned_recipe: Recipe, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    train(data, tuned_recipe, tmp_path, device="cpu", report=seen.append)
    assert [p.teacher > 0 for p in seen] == [False, True, True, True, True, True]  # a tenth of 6 is 1


def test_a_tuned_teacher_learns_from_its_own_loss_alone(
    data: DataSet, tuned_recipe: Recipe, tuned: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(features: list[torch.Tensor], *_: object) -> torch.Tensor:
        return sum((0 * f.sum() for f in features), torch.zeros(()))

    monkeypatch.setattr(tuning, "teacher_loss", nothing)
    checkpoint = train(data, tuned_recipe, tmp_path, device="cpu")
    normal, learned = (tensors_under(checkpoint.tensors, prefix) for prefix in ("teacher.", "tuned."))
    assert all(torch.equal(learned[k], v) for k, v in normal.items())
    student, other = (tensors_under(c.tensors, "student.") for c in (checkpoint, tuned))
    assert not all(torch.equal(other[k], v) for k, v in student.items())  # it saw another teacher there


def test_everything_else_learns(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    one = replace(recipe, optimiser=replace(recipe.optimiser, steps=1))
    first = tensors_under(train(data, one, tmp_path, device="cpu").tensors, "student.")
    last = tensors_under(uninterrupted.tensors, "student.")
    assert [k for k, v in last.items() if torch.equal(v, first[k])] == []


def test_the_checkpoint_says_what_the_pictures_decided(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    decided = uninterrupted.record.recipe.augment
    assert "auto" not in {getattr(decided, name) for name in DECIDED}
    explicit = replace(recipe, augment=decided)
    with caplog.at_level("INFO"):
        assert same(train(data, explicit, uninterrupted.folder, device="cpu", resume=True), uninterrupted)
        assert "used in training" not in caplog.text
        train(data, replace(recipe, optimiser=replace(recipe.optimiser, steps=1)), tmp_path, device="cpu")
    assert caplog.text.count("used in training") == 1
    other = replace(recipe, augment=replace(decided, rotate_degrees=90.0))
    with pytest.raises(ConfigError, match="another recipe"):
        train(data, other, uninterrupted.folder, device="cpu", resume=True)


def test_ctrl_c_finishes_the_step_and_leaves_a_usable_checkpoint(
    data: DataSet, recipe: Recipe, uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    stop = at(3, lambda: signal.raise_signal(signal.SIGINT))
    stopped = train(data, recipe, tmp_path, device="cpu", report=stop)
    assert stopped.record.step == 3
    assert signal.getsignal(signal.SIGINT) is handler
    with torch.inference_mode():
        _, features = stopped.network()(torch.rand(1, 3, 64, 64))
    assert all(d.isfinite().all() for d in features.decoded)
    assert same(train(data, recipe, tmp_path, device="cpu", resume=True), uninterrupted)


@pytest.fixture
def foreground_process() -> Iterator[None]:
    """Python's own Ctrl-C handler, which a job in a shell's background does not get."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground_process")
def test_a_second_ctrl_c_is_not_held_back(data: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(data, recipe, tmp_path, device="cpu", report=at(3, twice), save_every_steps=2)
    assert Checkpoint.open(tmp_path).record.step == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    "switch",
    [
        {"student": StudentRecipe("resnet18_quarter", tnr="off")},
        {"student": StudentRecipe("resnet18_quarter", tnr="inject")},
        {"student": StudentRecipe("resnet18_quarter", skips=True)},
        {"teacher": TeacherRecipe("resnet18_quarter", "random", variant="tuned")},
        {"loss": LossRecipe(dissimilarity=0)},
        {"loss": LossRecipe(gate=0)},
        {"loss": LossRecipe(encoder_consistency=0)},
        {"loss": LossRecipe(global_consistency=0)},
        {"loss": LossRecipe(dissimilarity_form="mask", dissimilarity=0.1)},
    ],
    ids=lambda switch: str(next(iter(switch.values()))),
)
def test_every_switch_can_be_thrown(
    data: DataSet,
    recipe: Recipe,
    tmp_path: Path,
    switch: dict[str, StudentRecipe | TeacherRecipe | LossRecipe],
) -> None:
    short = replace(recipe, optimiser=replace(recipe.optimiser, steps=2))
    checkpoint = train(data, replace(short, **switch), tmp_path, device="cpu")  # type: ignore[arg-type]
    assert checkpoint.record.step == 2
    with torch.inference_mode():
        _, student = checkpoint.network()(torch.rand(1, 3, 64, 64))
    assert bool(student.gates) is (checkpoint.record.recipe.student.tnr != "off")
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


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe()
    rates = [learning_rate(recipe, step) for step in range(1, recipe.optimiser.steps + 1)]
    top = max(rates)
    peak = rates.index(top)
    assert top == pytest.approx(recipe.optimiser.learning_rate)
    assert peak + 1 == round(recipe.optimiser.warm_up * recipe.optimiser.steps)
    assert all(a < b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[peak:]))
    assert 0 < rates[-1] < 1e-4 * top


def test_frames_are_normalised_as_imagenet_was() -> None:
    frames = torch.tensor([0, 255, 124], dtype=torch.uint8).expand(1, 2, 2, 3).numpy()
    x = tensor_from_frames(frames, torch.device("cpu"))
    assert x.shape == (1, 3, 2, 2)
    expected = torch.tensor([-0.485 / 0.229, (1 - 0.456) / 0.224, (124 / 255 - 0.406) / 0.225])
    torch.testing.assert_close(x[0, :, 1, 1], expected)


def _drawn_part(seed: int) -> NDArray[np.uint8]:
    """A ring on a striped ground with a little noise."""
    rng = np.random.default_rng(seed)
    stripes = 70 + 25 * np.sin((np.arange(64) + rng.integers(4)) * np.pi / 8)
    picture = np.broadcast_to(stripes[None, :, None], (64, 64, 3)).astype(np.float32).copy()
    cv2.circle(picture, (32, 32), 22, (150, 140, 130), -1)
    cv2.circle(picture, (32, 32), 9, (60, 60, 70), -1)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def _with_drawn_defects(
    good: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Ellipses of one colour or of noise: of no family that training knows."""
    rng = np.random.default_rng(7)
    pictures, masks = [], []
    for i in range(count):
        picture, mask = good[i % len(good)].copy(), np.zeros((64, 64), np.uint8)
        (x, y), (a, b), angle = rng.integers(10, 54, 2), rng.integers(3, 8, 2), rng.integers(180)
        cv2.ellipse(mask, (int(x), int(y)), (int(a), int(b)), int(angle), 0, 360, 1, -1)
        area = mask > 0
        picture[area] = rng.integers(0, 256, 3) if i % 2 else rng.integers(0, 256, (area.sum(), 1))
        pictures.append(picture)
        masks.append(area)
    return np.stack(pictures), masks


def test_a_few_dozen_steps_find_defects_never_seen(tmp_path: Path) -> None:
    for index in range(12):
        write_picture(tmp_path / "data" / f"{index:02d}.png", _drawn_part(index))
    recipe = Recipe(
        seed=1,
        geometry=Geometry(size_hw=(64, 64)),
        teacher=TeacherRecipe(weights="shipped"),
        synth=SynthRecipe(families=("texture", "spots", "scratch", "stain")),
        augment=AugmentRecipe(symmetry="none", shift=0, light=0),
        optimiser=OptimiserRecipe(steps=40, batch=8, learning_rate=4e-3),
        scoring=ScoringRecipe(blur_sigma=0.5),
    )
    checkpoint = train(read_data(tmp_path / "data"), recipe, tmp_path / "run", device="cpu")
    good = checkpoint.frames().normals
    bad, masks = _with_drawn_defects(good, 40)
    graph = distil(checkpoint)
    scores = graph.score(bad)
    labels = np.repeat([False, True], [len(good), len(bad)])
    by_frame = image_auroc(labels, np.concatenate([graph.score(good).score, scores.score]))
    by_pixel = pixel_auroc(list(scores.map), masks)
    with torch.inference_mode():
        _, student = checkpoint.network()(tensor_from_frames(bad, torch.device("cpu")))
        shut = torch.nn.functional.interpolate(-student.gates[0], size=(64, 64), mode="bilinear")
    by_gate = pixel_auroc(list(shut[:, 0].numpy()), masks)
    assert by_frame is not None and by_pixel is not None and by_gate is not None
    assert min(by_frame, by_pixel, by_gate) > 0.9, (by_frame, by_pixel, by_gate)


def test_an_unknown_device_is_refused_before_anything_is_written(
    data: DataSet, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'npu' is not known"):
        train(data, recipe, tmp_path / "run", device="npu")
    assert not (tmp_path / "run").exists()


def test_compiling_is_for_cuda_with_triton(
    data: DataSet, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="compiling was asked for on the cpu; expected a CUDA device"):
        train(data, recipe, tmp_path / "run", device="cpu", compiled=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"triton is not installed; .* pip install triton"):
        train(data, recipe, tmp_path / "run", device="cuda", compiled=True)
    assert not (tmp_path / "run").exists()
