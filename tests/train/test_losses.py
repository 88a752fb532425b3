"""The losses against brute force, and the short-cuts they must punish."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dtgd_edge.train.losses import (
    consistency_loss,
    dtgd_losses,
    gate_loss,
    hinge_dissimilarity,
    mask_dissimilarity,
    teacher_loss,
)
from dtgd_edge.train.networks import StudentFeatures
from dtgd_edge.train.recipe import LossRecipe

SHAPES = ((2, 8, 8, 8), (2, 12, 4, 4), (2, 16, 2, 2))


def _features(seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.rand(shape) for shape in SHAPES]


@pytest.fixture
def student() -> StudentFeatures:
    torch.manual_seed(0)
    cleaned, decoded = ([torch.rand(s).requires_grad_() for s in SHAPES] for _ in range(2))
    return StudentFeatures(cleaned, decoded, [torch.randn(s[0], 1, *s[2:]).requires_grad_() for s in SHAPES])


def _cosine(a: Tensor, b: Tensor, at: tuple[int, int, int]) -> float:
    n, y, x = at
    u, v = a[n, :, y, x].detach().double().numpy(), b[n, :, y, x].detach().double().numpy()
    return float(u @ v / np.sqrt((u @ u) * (v @ v)))


def _grid(shape: tuple[int, int, int, int]) -> list[tuple[int, int, int]]:
    return [(n, y, x) for n in range(shape[0]) for y in range(shape[2]) for x in range(shape[3])]


def _pooled(mask: Tensor) -> list[Tensor]:
    return [F.adaptive_avg_pool2d(mask, s[2:])[:, 0] for s in SHAPES]


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.9])
def test_dissimilarity_inside_a_full_mask_is_the_brute_force_value(
    student: StudentFeatures, margin: float
) -> None:
    normal, anomalous = _features(1), _features(2)
    found = hinge_dissimilarity(student, normal, anomalous, _pooled(torch.ones(2, 1, 32, 32)), margin)
    expected = 0.0
    for level, shape in enumerate(SHAPES):
        for features, weight in ((student.decoded, 1.0), (student.cleaned, 0.5)):
            excess = [
                max(
                    0.0,
                    _cosine(features[level], anomalous[level], at)
                    - max(0.0, _cosine(normal[level], anomalous[level], at) - margin),
                )
                for at in _grid(shape)
            ]
            expected += weight * float(np.mean(excess))
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_dissimilarity_outside_of_any_mask_is_zero_with_zero_gradient(student: StudentFeatures) -> None:
    masks = _pooled(torch.zeros(2, 1, 32, 32))
    value = hinge_dissimilarity(student, _features(1), _features(2), masks, 0.1)
    assert value.item() == 0
    value.backward()  # type: ignore[no-untyped-call]
    for feature in (*student.decoded, *student.cleaned):
        assert feature.grad is not None and not feature.grad.any()


def test_dissimilarity_only_pulls_inside_the_mask(student: StudentFeatures) -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :16, :16] = 1
    hinge_dissimilarity(student, _features(1), _features(2), _pooled(mask), 0.5).backward()  # type: ignore[no-untyped-call]
    for feature in student.decoded:
        assert feature.grad is not None
        half = feature.shape[2] // 2
        assert feature.grad[0, :, :half, :half].any()
        outside = feature.grad.clone()
        outside[0, :, :half, :half] = 0
        assert not outside.any()


def test_a_defect_of_one_pixel_still_counts_at_every_level(student: StudentFeatures) -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, 0, 3, 3] = 1
    value = hinge_dissimilarity(student, _features(1), _features(2), _pooled(mask), 0.9)
    value.backward()  # type: ignore[no-untyped-call]
    assert all(f.grad is not None and f.grad.any() for f in student.decoded)


def test_mask_form_is_the_brute_force_value(student: StudentFeatures) -> None:
    anomalous, masks = _features(2), _pooled((torch.rand(2, 1, 32, 32) > 0.5).float())
    expected = sum(
        float(
            np.mean(
                [
                    abs(1 - _cosine(student.decoded[k], anomalous[k], at) - masks[k][at].item())
                    for at in _grid(s)
                ]
            )
        )
        for k, s in enumerate(SHAPES)
    )
    assert mask_dissimilarity(student, anomalous, masks).item() == pytest.approx(expected, abs=1e-4)


def test_mask_form_asks_nothing_of_a_student_beside_a_teacher_tuned_to_the_mask() -> None:
    """Variant U trains 1 - cos(A, N) towards the mask; D = N is then just what the student is asked for."""
    normal = [torch.cat([f, torch.zeros_like(f)], 1) for f in _features(1)]
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :16, :16] = 1
    masks = _pooled(mask)
    tuned = [
        torch.where(m[:, None] > 0, torch.roll(n, n.shape[1] // 2, 1), n)
        for m, n in zip(masks, normal, strict=True)
    ]
    perfect, copied = (StudentFeatures(d, d, []) for d in (normal, tuned))
    assert mask_dissimilarity(perfect, tuned, masks) < 1e-4
    assert mask_dissimilarity(copied, tuned, masks) > 0.3
    # With frozen teachers that see much the same, it is the copy that costs nothing outside of the mask.
    assert mask_dissimilarity(perfect, normal, masks) > 0.3


def test_teacher_loss_is_the_brute_force_value() -> None:
    torch.manual_seed(0)
    frozen, tuned = ([torch.rand(4, *shape[1:]) for shape in SHAPES] for _ in range(2))
    mask = (torch.rand(2, 1, 32, 32) > 0.6).float()
    expected = 0.0
    for level, (shape, soft) in enumerate(zip(SHAPES, _pooled(mask), strict=True)):
        normal, seen = frozen[level][:2], frozen[level][2:]
        of_clean, of_corrupted = tuned[level][:2], tuned[level][2:]
        expected += float(np.mean([1 - _cosine(of_clean, normal, at) for at in _grid(shape)]))
        expected += float(
            np.mean([abs(1 - _cosine(of_corrupted, normal, at) - soft[at].item()) for at in _grid(shape)])
        )
        for n in range(2):
            u, v = of_corrupted[n].flatten().double(), seen[n].flatten().double()
            expected += 0.5 * (1 - float(u @ v / (u.norm() * v.norm())))
    assert teacher_loss(tuned, frozen, mask).item() == pytest.approx(expected, abs=1e-4)


def test_a_teacher_that_agrees_has_no_loss_on_good_pictures() -> None:
    twice = [torch.cat([f, f]) for f in _features(1)]
    assert teacher_loss(twice, twice, torch.zeros(2, 1, 32, 32)).item() < 1e-4
    assert teacher_loss(twice, twice, torch.ones(2, 1, 32, 32)).item() == pytest.approx(3, abs=1e-3)


def test_consistency_is_the_brute_force_value(student: StudentFeatures) -> None:
    normal, recipe = _features(1), LossRecipe(encoder_consistency=0.3, global_consistency=0.7)
    expected = 0.0
    for k, shape in enumerate(SHAPES):
        expected += float(np.mean([1 - _cosine(student.decoded[k], normal[k], at) for at in _grid(shape)]))
        expected += 0.3 * float(
            np.mean([1 - _cosine(student.cleaned[k], normal[k], at) for at in _grid(shape)])
        )
        for n in range(shape[0]):
            u, v = student.decoded[k][n].detach().flatten().double(), normal[k][n].flatten().double()
            expected += 0.7 / shape[0] * (1 - float(u @ v / (u.norm() * v.norm())))
    assert consistency_loss(student, normal, recipe).item() == pytest.approx(expected, abs=1e-4)


def test_a_perfect_student_has_no_consistency_loss() -> None:
    normal = _features(1)
    assert consistency_loss(StudentFeatures(normal, normal, []), normal, LossRecipe()).item() < 1e-5


def test_gates_are_balanced(student: StudentFeatures) -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :8, :8] = 1
    masks = _pooled(mask)
    expected = 0.0
    for gate, soft in zip(student.gates, masks, strict=True):
        logits, keep = gate.detach()[:, 0].double().numpy(), 1 - soft.double().numpy()
        probability = 1 / (1 + np.exp(-logits))
        each = -keep * np.log(probability) - (1 - keep) * np.log(1 - probability)
        weight = keep / max(keep.sum(), 1) + (1 - keep) / max((1 - keep).sum(), 1)
        expected += 0.5 * (each * weight).sum()
    assert gate_loss(student.gates, masks).item() == pytest.approx(expected, rel=1e-4)
    assert gate_loss([], masks).item() == 0


def test_right_gates_cost_less_than_wrong_ones() -> None:
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :16, :16] = 1
    masks = _pooled(mask)
    right = [20 * (0.5 - m)[:, None] for m in masks]
    assert gate_loss(right, masks) < 0.01 < 1 < gate_loss([-g for g in right], masks)


def test_copying_the_anomaly_teacher_costs_more_than_denoising(student: StudentFeatures) -> None:
    normal, mask = _features(1), torch.zeros(2, 1, 32, 32)
    mask[:, :, :16, :16] = 1
    anomalous = [
        torch.where(m[:, None] > 0, other, n)
        for m, other, n in zip(_pooled(mask), _features(2), normal, strict=True)
    ]
    for form in ("hinge", "mask"):
        recipe = LossRecipe(dissimilarity_form=form)  # type: ignore[arg-type]
        copied, cleaned = (
            dtgd_losses(replace(student, decoded=d), normal, anomalous, mask, recipe).total
            for d in (anomalous, normal)
        )
        assert copied > cleaned + 0.05


def test_total_is_the_weighted_sum_and_the_ramp_scales_dissimilarity(student: StudentFeatures) -> None:
    recipe, mask = LossRecipe(dissimilarity=0.7, gate=0.3), torch.ones(2, 1, 32, 32)
    for ramp in (0.0, 0.25, 1.0):
        found = dtgd_losses(student, _features(1), _features(2), mask, recipe, ramp)
        expected = found.consistency + ramp * 0.7 * found.dissimilarity + 0.3 * found.gate
        torch.testing.assert_close(found.total, expected)


@pytest.mark.parametrize("form", ["hinge", "mask"])
def test_losses_are_means(student: StudentFeatures, form: str) -> None:
    recipe = LossRecipe(dissimilarity_form=form)  # type: ignore[arg-type]
    normal, anomalous, mask = _features(1), _features(2), (torch.rand(2, 1, 32, 32) > 0.7).float()

    def twice(tensors: list[Tensor]) -> list[Tensor]:
        return [torch.cat([t, t]) for t in tensors]

    doubled = StudentFeatures(twice(student.cleaned), twice(student.decoded), twice(student.gates))
    one = dtgd_losses(student, normal, anomalous, mask, recipe)
    two = dtgd_losses(doubled, twice(normal), twice(anomalous), torch.cat([mask, mask]), recipe)
    torch.testing.assert_close(one.total, two.total)


def test_no_gradient_reaches_detached_teacher_features(student: StudentFeatures) -> None:
    normal, anomalous = _features(1), _features(2)
    found = dtgd_losses(student, normal, anomalous, torch.ones(2, 1, 32, 32), LossRecipe())
    found.total.backward()  # type: ignore[no-untyped-call]
    assert all(f.grad is None for f in (*normal, *anomalous))
    assert all(f.grad is not None for f in (*student.decoded, *student.cleaned, *student.gates))


def test_half_precision_features_give_a_float32_loss(student: StudentFeatures) -> None:
    def half(tensors: list[Tensor]) -> list[Tensor]:
        return [t.detach().bfloat16() for t in tensors]

    features = StudentFeatures(half(student.cleaned), half(student.decoded), half(student.gates))
    mask = torch.ones(2, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        low = dtgd_losses(features, half(_features(1)), half(_features(2)), mask, LossRecipe())
    high = dtgd_losses(student, _features(1), _features(2), mask, LossRecipe())
    assert low.total.dtype == torch.float32
    assert low.total.item() == pytest.approx(high.total.item(), rel=0.02)
