"""Thinning: a thin teacher learns the full one's angles, and its student the full one's distances."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.graph import ScoringGraph
from dtgd_edge.train.losses import angle_loss, distance_difference, spacing_loss
from dtgd_edge.train.memory import Memory, patches_of
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import OptimiserRecipe, Recipe, ScoringRecipe, StudentRecipe, TeacherRecipe
from dtgd_edge.train.thinning import Thinning

QUARTER = "resnet18_quarter"
RECIPE = Recipe(
    teacher=TeacherRecipe(QUARTER, "random", variant="thin", learning_rate=3e-4),
    student=StudentRecipe(QUARTER, shares="stage1"),
    optimiser=OptimiserRecipe(steps=40),
)


@pytest.fixture
def network() -> DTGD:
    torch.manual_seed(0)
    return DTGD(ResNet(backbone_spec(QUARTER)), RECIPE.student)


@pytest.fixture
def full() -> ScoringGraph:
    torch.manual_seed(1)
    wide = DTGD(ResNet(backbone_spec("resnet18_half")), StudentRecipe(QUARTER, shares="nothing"))
    return ScoringGraph(wide, (64, 64), ScoringRecipe()).eval()


@pytest.fixture
def both() -> Tensor:
    torch.manual_seed(2)
    clean = F.interpolate(torch.randn(2, 3, 8, 8), (64, 64), mode="bilinear")
    corrupted = clean.clone()
    corrupted[:, :, 16:48, 16:48] = torch.randn(2, 3, 32, 32)
    return torch.cat([clean, corrupted])


def _mask() -> Tensor:
    return torch.zeros(2, 1, 64, 64)


def test_a_thin_teacher_comes_to_see_the_full_ones_angles(
    network: DTGD, full: ScoringGraph, both: Tensor
) -> None:
    thinning, losses = Thinning(network, RECIPE, full), []
    for step in range(1, 21):
        seen = thinning.see(network.teacher, both, step)
        loss = thinning.loss(seen, _mask(), step)
        losses.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        thinning.update(1.0, 0.9)
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    assert all(p.grad is None for p in full.parameters())
    assert all(torch.equal(v, thinning.normal.state_dict()[k]) for k, v in network.teacher.named_buffers())


def test_patches_come_to_lie_as_far_apart_as_those_that_the_full_graph_remembers(
    network: DTGD, full: ScoringGraph, both: Tensor
) -> None:
    spec = backbone_spec("resnet18_half")
    full.memory = Memory((spec.channels(2), spec.channels(3)), 4, 8, 1.0)
    thinning, spacings = Thinning(network, RECIPE, full), []
    for step in range(1, 21):
        seen = thinning.see(network.teacher, both, step)
        assert seen.learnt is not None and seen.target is not None
        chance = torch.Generator().manual_seed(0)
        spacing = spacing_loss(patches_of(seen.learnt), patches_of(seen.target), 64, chance)
        spacings.append(spacing.item())
        thinning.loss(seen, _mask(), step).backward()  # type: ignore[no-untyped-call]
        thinning.update(1.0, 0.9)
    assert sum(spacings[-3:]) < 0.5 * sum(spacings[:3])


def test_what_the_student_gets_has_no_gradient_and_the_full_ones_distances(
    network: DTGD, full: ScoringGraph, both: Tensor
) -> None:
    seen = Thinning(network, RECIPE, full).see(network.teacher, both, 1)
    assert not any(f.requires_grad for f in (*seen.normal, *seen.anomalous))
    assert seen.distances is not None and [d.shape[1] for d in seen.distances] == [16, 8, 4]
    _, expected = full.network(both[2:])
    again = full.network(both[2:])
    torch.testing.assert_close(seen.distances[0], 1 - F.cosine_similarity(again[0][0], expected.decoded[0]))


def test_agreement_is_nothing_where_the_distances_are_the_full_ones(full: ScoringGraph, both: Tensor) -> None:
    same = DTGD(full.network.teacher, StudentRecipe(QUARTER, shares="nothing"))
    thinning = Thinning(same, replace(RECIPE, student=StudentRecipe(QUARTER)), full)
    seen = thinning.see(same.teacher, both, 1)
    teacher, student = full.network(both[2:])
    assert thinning.agreement(seen, student.decoded).item() < 1e-4
    assert thinning.agreement(seen, [2 * a for a in teacher]).item() > 1e-3  # a copy finds nothing


def test_angles_do_not_depend_on_channels_or_length() -> None:
    features = [torch.rand(4, 8, 6, 6), torch.rand(4, 16, 3, 3)]
    turned = [3 * torch.cat([f, torch.zeros_like(f)], 1).flip(1) for f in features]
    chance = torch.Generator().manual_seed(0)
    assert angle_loss(turned, features, 16, chance).item() < 1e-3
    other = [torch.rand_like(f) for f in features]
    assert angle_loss(other, features, 16, chance).item() > 0.05


def test_spacing_does_not_depend_on_channels_or_length() -> None:
    patches = torch.rand(4, 8, 6, 6)
    patches[1] = patches[0]  # a picture whose twin is not corrupted: distances of 0
    turned = (3 * torch.cat([patches, torch.zeros_like(patches)], 1).flip(1)).requires_grad_()
    chance = torch.Generator().manual_seed(0)
    same = spacing_loss(turned, patches, 16, chance)
    same.backward()  # type: ignore[no-untyped-call]
    assert same.item() < 1e-5 and turned.grad is not None and turned.grad.isfinite().all()
    assert spacing_loss(torch.rand_like(patches), patches, 16, chance).item() > 0.05


def test_distances_are_compared_in_units_of_their_levels() -> None:
    wanted = [torch.full((1, 4, 4), 0.1), torch.full((1, 2, 2), 0.1)]
    found = [d + 0.1 for d in wanted]
    small, large = (distance_difference(found, wanted, torch.tensor([s, s])).item() for s in (0.1, 1.0))
    assert small == pytest.approx(2 * (1 - 0.05)) and large == pytest.approx(2 * 0.05)  # Huber, beta 0.1
