"""Going on from a checkpoint: the same teacher, the same recipe, the same weights and moments."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dtgd_edge.errors import ConfigError
from dtgd_edge.train.checkpoint import Checkpoint, restore_optimiser, tensors_under
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.teacher import Teacher, resolved
from dtgd_edge.train.teaching import Teaching


def same_teacher(checkpoint: Checkpoint) -> Teacher:
    """Take the teacher out of the checkpoint: its file may be gone or another one by now."""
    backbone = checkpoint.record.recipe.teacher.backbone
    return Teacher(checkpoint.normal_teacher(), backbone, checkpoint.record.teacher)


def same_recipe(checkpoint: Checkpoint, recipe: Recipe, data: DataSet, full: Checkpoint | None) -> Recipe:
    """Make sure that it is the same run that goes on; returns its recipe, resolved."""
    record = checkpoint.record
    backbone = record.recipe.teacher.backbone
    same = replace(resolved(recipe, backbone), augment=recipe.augment.settled(record.recipe.augment))
    if recipe.teacher.backbone not in ("auto", backbone) or same != record.recipe:
        raise ConfigError(
            f"{checkpoint.folder} was trained with another recipe; expected the same one to resume it; "
            "leave --resume out, or choose another --out"
        )
    if Path(record.data).resolve() != data.root.resolve():
        raise ConfigError(
            f"{checkpoint.folder} was trained on {record.data}; expected the same pictures to resume it, not "
            f"{data.root}; leave --resume out, or choose another --out"
        )
    if record.source != (None if full is None else full.record.weights_sha256):
        raise ConfigError(
            f"{checkpoint.folder} was distilled from another checkpoint; expected the same one to resume it; "
            "name that one, leave --resume out, or choose another --out"
        )
    return record.recipe


def restore(
    checkpoint: Checkpoint,
    network: DTGD,
    average: dict[str, Tensor],
    optimiser: torch.optim.Adam,
    teaching: Teaching,
) -> tuple[int, float]:
    """Put a checkpoint's tensors back; returns its step and loss."""
    tensors = checkpoint.tensors
    network.student.load_state_dict(tensors_under(tensors, "student."))
    for name, value in tensors_under(tensors, "average.").items():
        average[name].copy_(value)
    restore_optimiser(optimiser, network.student, tensors, "adam.")
    teaching.restore(tensors)
    return checkpoint.record.step, checkpoint.record.loss
