"""Variant U: the anomaly teacher is a copy of the normal one that learns from the synthetic anomalies."""

import copy

import torch
from torch import Tensor, nn

from dtgd_edge.train.backbones import ResNet, set_requires_grad
from dtgd_edge.train.checkpoint import optimiser_tensors, restore_optimiser, tensors_under
from dtgd_edge.train.recipe import Recipe

BEGINS = 0.1  # share of the steps; until then the student gets to know the teacher as it came


class Tuning:
    """What training needs beside the network to tune its teacher. None of it ships but the average.

    The average has the same decay as the student's: an averaged student reads and is compared with the
    features of the steps it averages over, not with those of the last one.

    Args:
        teacher: the network's; it is thawed and changed from now on. Its batch norms keep their statistics.
        recipe: of the training run.

    Attributes:
        normal: the frozen normal teacher, a copy of the teacher as it came.
        average: the tuned teacher's averaged state; this is what ships.
    """

    def __init__(self, teacher: ResNet, recipe: Recipe) -> None:
        self.normal = copy.deepcopy(teacher)
        self.average = {name: value.detach().clone() for name, value in teacher.state_dict().items()}
        self._teacher = teacher
        self._recipe = recipe
        self._optimiser = torch.optim.Adam(teacher.parameters(), recipe.teacher.learning_rate, (0.5, 0.999))
        set_requires_grad(teacher, True)

    def has_begun(self, step: int) -> bool:
        """Whether the teacher learns in this step, counted from 1."""
        return step > round(BEGINS * self._recipe.optimiser.steps)

    def update(self, rate: float) -> None:
        """Take a step along the gradients.

        Args:
            rate: share of the highest learning rate in force.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.teacher.learning_rate * rate
        nn.utils.clip_grad_norm_(self._teacher.parameters(), self._recipe.optimiser.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it: tuned., tuned_average. and tuned_adam.<moment>. tensors."""
        tensors = {f"tuned.{name}": value for name, value in self._teacher.state_dict().items()}
        tensors |= {f"tuned_average.{name}": value for name, value in self.average.items()}
        return tensors | optimiser_tensors(self._optimiser, self._teacher, "tuned_adam.")

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put a checkpoint's tensors back."""
        self._teacher.load_state_dict(tensors_under(tensors, "tuned."))
        for name, value in tensors_under(tensors, "tuned_average.").items():
            self.average[name].copy_(value)
        restore_optimiser(self._optimiser, self._teacher, tensors, "tuned_adam.")
