"""Tuning the anomaly teacher: it learns where anomalies are, and nothing else gives it a gradient."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.losses import dtgd_losses, masks_at, teacher_loss
from dtgd_edge.train.networks import DTGD, StudentFeatures, cosine
from dtgd_edge.train.recipe import LossRecipe, OptimiserRecipe, Recipe, StudentRecipe, TeacherRecipe
from dtgd_edge.train.tuning import Tuning

QUARTER = "resnet18_quarter"
RECIPE = Recipe(
    teacher=TeacherRecipe(QUARTER, "random", variant="tuned", learning_rate=3e-4),
    student=StudentRecipe(QUARTER),
    optimiser=OptimiserRecipe(steps=40),
)


@dataclass(frozen=True)
class Tuned:
    """A network whose teacher was tuned on one batch, and that batch."""

    network: DTGD
    tuning: Tuning
    clean: Tensor
    corrupted: Tensor
    mask: Tensor

    def both(self) -> Tensor:
        return torch.cat([self.clean, self.corrupted])

    def teacher_loss(self, teacher: ResNet) -> Tensor:
        return teacher_loss(teacher(self.both()), self.tuning.normal(self.both()), self.mask)


def _untuned() -> Tuned:
    torch.manual_seed(0)
    network = DTGD(ResNet(backbone_spec(QUARTER)), RECIPE.student)
    clean = F.interpolate(torch.randn(4, 3, 8, 8), (64, 64), mode="bilinear")
    mask = torch.zeros(4, 1, 64, 64)
    mask[:2, :, 8:40, 16:56] = 1
    corrupted = torch.where(mask > 0, torch.randn(4, 3, 64, 64), clean)
    return Tuned(network, Tuning(network, RECIPE), clean, corrupted, mask)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    made = _untuned()
    for _ in range(30):
        made.teacher_loss(made.network.teacher).backward()  # type: ignore[no-untyped-call]
        made.tuning.update(1.0, 0.9)
    return made


@torch.no_grad()
def _features(tuned: Tuned, teacher: ResNet) -> tuple[list[Tensor], list[Tensor]]:
    """N_k and A_k of the batch with that anomaly teacher."""
    return tuned.tuning.normal(tuned.clean), teacher(tuned.corrupted)


def test_tuning_lowers_its_loss_and_sets_anomalies_apart(tuned: Tuned) -> None:
    before, after = (tuned.teacher_loss(t).item() for t in (tuned.tuning.normal, tuned.network.teacher))
    assert after < 0.92 * before
    for level, mask in enumerate(masks_at(tuned.mask, _features(tuned, tuned.network.teacher)[0])):
        apart = []
        for teacher in (tuned.tuning.normal, tuned.network.teacher):
            normal, anomalous = _features(tuned, teacher)
            distance = 1 - cosine(normal[level], anomalous[level])
            apart.append((distance[mask == 1].mean() - distance[mask == 0].mean()).item())
        assert apart[1] > apart[0] + 0.015


def test_the_normal_teacher_and_batch_norm_statistics_stay(tuned: Tuned) -> None:
    fresh = _untuned().network.teacher
    buffers = dict(fresh.named_buffers())
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in tuned.tuning.normal.state_dict().items())
    assert all(torch.equal(v, buffers[k]) for k, v in tuned.network.teacher.named_buffers())
    assert not any(p.requires_grad for p in tuned.tuning.normal.parameters())


def test_tuning_begins_after_a_tenth_of_the_steps() -> None:
    tuning = _untuned().tuning
    assert [step for step in range(1, 41) if tuning.has_begun(step)] == list(range(5, 41))


def test_restored_tuning_goes_on_bit_for_bit() -> None:
    whole, stopped, resumed = _untuned(), _untuned(), _untuned()
    for _ in range(4):
        whole.teacher_loss(whole.network.teacher).backward()  # type: ignore[no-untyped-call]
        whole.tuning.update(0.5, 0.9)
    for part in (stopped, resumed):
        for _ in range(2):
            part.teacher_loss(part.network.teacher).backward()  # type: ignore[no-untyped-call]
            part.tuning.update(0.5, 0.9)
        if part is stopped:
            resumed.tuning.restore(stopped.tuning.tensors())
    found, expected = resumed.tuning.tensors(), whole.tuning.tensors()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], v) for k, v in expected.items())


@pytest.mark.parametrize("form", ["hinge", "mask"])
@pytest.mark.parametrize("tnr", ["subtract", "inject", "off"])
def test_the_students_losses_give_the_teachers_no_gradient(form: str, tnr: str) -> None:
    part = _untuned()
    network = DTGD(part.network.teacher, replace(RECIPE.student, tnr=tnr, skips=True))  # type: ignore[arg-type]
    Tuning(network, RECIPE)  # thaws it again
    anomalous = [f.detach() for f in network.teacher(part.corrupted)]
    student = network.student(part.corrupted, anomalous)
    recipe = LossRecipe(dissimilarity_form=form)  # type: ignore[arg-type]
    normal = part.tuning.normal(part.clean)
    dtgd_losses(student, normal, anomalous, part.mask, recipe).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.requires_grad and p.grad is None for p in network.teacher.parameters())
    assert all(p.grad is None for p in part.tuning.normal.parameters())
    assert all(f.grad is None for f in anomalous)
    assert any(p.grad is not None and p.grad.any() for p in network.student.parameters())


@pytest.mark.parametrize("variant", ["frozen", "tuned"])
@pytest.mark.parametrize(("form", "weight"), [("hinge", 0.5), ("mask", 0.1), ("mask", 0.5)])
def test_copying_the_anomaly_teacher_costs_more_than_denoising(
    tuned: Tuned, variant: str, form: str, weight: float
) -> None:
    teacher = tuned.network.teacher if variant == "tuned" else tuned.tuning.normal
    normal, anomalous = _features(tuned, teacher)
    recipe = LossRecipe(dissimilarity_form=form, dissimilarity=weight)  # type: ignore[arg-type]
    copied, cleaned = (
        dtgd_losses(StudentFeatures(f, f, []), normal, anomalous, tuned.mask, recipe).total
        for f in (anomalous, normal)
    )
    assert copied > cleaned + 0.05
