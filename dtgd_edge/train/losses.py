"""The losses of DTGD. All cosines in float32; all terms are means, so that weights do not depend on
the batch or the picture's size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dtgd_edge.train.distributed import area
from dtgd_edge.train.networks import COSINE_EPSILON, StudentFeatures, cosine
from dtgd_edge.train.recipe import LossRecipe

_NEAR = 4.0  # distances beyond this many times the edge of normal are far from every verdict


@dataclass(frozen=True, slots=True)
class Losses:
    """The terms of a step, unweighted, and their weighted sum; scalars."""

    total: Tensor
    consistency: Tensor
    dissimilarity: Tensor
    gate: Tensor


def dtgd_losses(
    student: StudentFeatures,
    normal: list[Tensor],
    anomalous: list[Tensor],
    mask: Tensor,
    recipe: LossRecipe,
    ramp: float = 1.0,
) -> Losses:
    """Compute the losses of a batch.

    Args:
        student: of the corrupted pictures.
        normal: the normal teacher's features of the clean pictures (N_k).
        anomalous: the anomaly teacher's features of the corrupted pictures (A_k).
        mask: float [B, 1, H, W], 1 where the picture was corrupted.
        recipe: weights.
        ramp: share of the dissimilarity weight in force, 0 to 1.
    """
    masks = masks_at(mask, normal)
    consistency = consistency_loss(student, normal, recipe)
    if recipe.dissimilarity_form == "hinge":
        dissimilarity = hinge_dissimilarity(student, normal, anomalous, masks, recipe.hinge_margin)
    else:
        dissimilarity = mask_dissimilarity(student, anomalous, masks)
    gate = gate_loss(student.gates, masks)
    total = consistency + ramp * recipe.dissimilarity * dissimilarity + recipe.gate * gate
    return Losses(total, consistency, dissimilarity, gate)


def teacher_loss(tuned: list[Tensor], frozen: list[Tensor], mask: Tensor) -> Tensor:
    """What tunes the anomaly teacher in variant U (URD's three terms).

    On a clean picture it agrees with the normal teacher; on a corrupted one it differs from what that
    makes of the clean picture just where the mask is; and as a whole it goes on seeing what that sees.

    Args:
        tuned: its features of the clean pictures and, behind them, the corrupted ones: [2 B, C_k, H_k, W_k].
        frozen: the normal teacher's, of the same.
        mask: float [B, 1, H, W], 1 where the picture was corrupted.
    """
    total = mask.new_zeros(())
    for level, level_mask in enumerate(masks_at(mask, frozen)):
        normal, seen = frozen[level].chunk(2)
        of_clean, of_corrupted = tuned[level].chunk(2)
        total = total + (1 - cosine(of_clean, normal)).mean()
        total = total + (1 - cosine(of_corrupted, normal) - level_mask).abs().mean()
        total = total + (1 - whole_cosine(of_corrupted, seen)).mean()
    return total


def angle_loss(learnt: list[Tensor], wanted: list[Tensor], places: int, chance: torch.Generator) -> Tensor:
    """How far two networks are from seeing the same angles; their numbers of channels may differ.

    Compared are the cosines between a picture and its corrupted twin at each position, which is what DTGD's
    distances begin with, and those between all pairs of a few positions of the two.

    Args:
        learnt: features of the clean pictures and, behind them, the corrupted ones: [2 B, C_k, H_k, W_k].
        wanted: another network's, of the same, [2 B, C'_k, H_k, W_k].
        places: most positions of a picture that are paired with each other.
        chance: on the CPU; chooses them.
    """
    total = learnt[0].new_zeros((), dtype=torch.float32)
    for a, b in zip(learnt, wanted, strict=True):
        total = total + (cosine(*a.chunk(2)) - cosine(*b.chunk(2))).abs().mean()
        area_px = a.shape[2] * a.shape[3]
        chosen = torch.randperm(area_px, generator=chance)[:places].to(a.device)
        total = total + (_angles(a, chosen) - _angles(b, chosen)).abs().mean()
    return total


def _angles(features: Tensor, places: Tensor) -> Tensor:
    """Cosines between all chosen positions of a picture and its twin: [2 B, C, H, W] to [B, 2 P, 2 P]."""
    chosen = features.flatten(2)[:, :, places].float()  # [2 B, C, P]
    both = torch.cat(F.normalize(chosen, dim=1, eps=COSINE_EPSILON).chunk(2), 2)  # [B, C, 2 P]
    with torch.autocast(features.device.type, enabled=False):
        return both.transpose(1, 2) @ both


def spacing_loss(learnt: Tensor, wanted: Tensor, places: int, chance: torch.Generator) -> Tensor:
    """How far two networks are from keeping patches equally far apart, in units of the mean distance.

    A memory asks how far a patch is from the nearest one of other pictures, so patches of all pictures are
    compared with each other; the numbers of channels may differ.

    Args:
        learnt: patches, [B, C, H, W]; see memory.patches_of.
        wanted: another network's, of the same pictures, [B, C', H, W].
        places: most positions of a picture that are compared.
        chance: on the CPU; chooses them.
    """
    chosen = torch.randperm(learnt.shape[2] * learnt.shape[3], generator=chance)[:places].to(learnt.device)

    def spaced(patches: Tensor) -> Tensor:
        points = patches.flatten(2)[:, :, chosen].transpose(1, 2).flatten(0, 1).float()  # [B P, C]
        return F.pdist(points)

    a, b = spaced(learnt), spaced(wanted)
    return (a / a.mean() - b / b.mean()).abs().mean()


def distance_difference(found: list[Tensor], wanted: list[Tensor], scale: Tensor) -> Tensor:
    """Mean difference of distances in units of the levels' scales, as the map counts them.

    Args:
        found: 1 - cosine of teacher and decoder, [B, H_k, W_k] per level.
        wanted: what they should be.
        scale: of the wanted ones, one per level; see levels.LevelRule.
    """
    total = scale.new_zeros(())
    for level, (a, b) in enumerate(zip(found, wanted, strict=True)):
        a, b = a / scale[level], b / scale[level]
        # Far inside a defect any distance will do.
        weight = _NEAR / b.detach().abs().clamp_min(_NEAR)
        total = total + (weight * F.smooth_l1_loss(a, b, reduction="none", beta=0.1)).mean()
    return total


def masks_at(mask: Tensor, features: list[Tensor]) -> list[Tensor]:
    """Area averages of a mask [B, 1, H, W] on each level's grid, [B, H_k, W_k]; tiny defects stay."""
    return [F.adaptive_avg_pool2d(mask, (f.shape[2], f.shape[3]))[:, 0] for f in features]


def whole_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of two features as a whole, in float32: [B, C, H, W] x 2 to [B]."""
    return F.cosine_similarity(a.float().flatten(1), b.float().flatten(1))


def consistency_loss(student: StudentFeatures, normal: list[Tensor], recipe: LossRecipe) -> Tensor:
    """Agreement with the normal teacher, per position and as a whole (the latter as in RD4AD)."""
    total = normal[0].new_zeros((), dtype=torch.float32)
    for decoded, target in zip(student.decoded, normal, strict=True):
        total = total + (1 - cosine(decoded, target)).mean()
        if recipe.global_consistency:
            total = total + recipe.global_consistency * (1 - whole_cosine(decoded, target)).mean()
    for cleaned, target in zip(student.cleaned, normal[-len(student.cleaned) :], strict=True):
        # Even with weight 0: resuming and several processes expect a gradient in every parameter.
        total = total + recipe.encoder_consistency * (1 - cosine(cleaned, target)).mean()
    return total


def hinge_dissimilarity(
    student: StudentFeatures,
    normal: list[Tensor],
    anomalous: list[Tensor],
    masks: list[Tensor],
    margin: float,
) -> Tensor:
    """Inside the mask, be less similar to the anomaly teacher than the clean target is, by a margin.

    Relative, as AAND's: pushing the cosine to 0 would fight the consistency loss wherever the two
    teachers agree.
    """
    total = normal[0].new_zeros((), dtype=torch.float32)
    shared = len(masks) - len(student.cleaned)  # levels on which the encoder has no feature of its own
    for level, mask in enumerate(masks):
        target = cosine(normal[level], anomalous[level])
        limit = (target - margin).clamp_min(0)
        inside = area(mask)
        features = [(student.decoded[level], 1.0)]
        if level >= shared:
            features.append((student.cleaned[level - shared], 0.5))
        for feature, weight in features:
            excess = (cosine(feature, anomalous[level]) - limit).clamp_min(0)
            total = total + weight * (excess * mask).sum() / inside
    return total


def mask_dissimilarity(student: StudentFeatures, anomalous: list[Tensor], masks: list[Tensor]) -> Tensor:
    """Regress the distance to the anomaly teacher to the mask, as URD does."""
    total = anomalous[0].new_zeros((), dtype=torch.float32)
    for decoded, teacher, mask in zip(student.decoded, anomalous, masks, strict=True):
        total = total + ((1 - cosine(decoded, teacher)).clamp(0, 1) - mask).abs().mean()
    return total


def gate_loss(gates: list[Tensor], masks: list[Tensor]) -> Tensor:
    """Cross-entropy of the keep-gates against 1 - mask; both classes weigh the same."""
    total = masks[0].new_zeros(())
    if not gates:
        return total
    for gate, mask in zip(gates, masks[-len(gates) :], strict=True):
        keep = 1 - mask
        weight = keep / area(keep) + mask / area(mask)
        each = F.binary_cross_entropy_with_logits(gate[:, 0].float(), keep, reduction="none")
        total = total + 0.5 * (each * weight).sum()
    return total
