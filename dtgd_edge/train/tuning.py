"""Variant U: the anomaly teacher is a copy of the normal one that learns from the synthetic anomalies."""

import torch
from torch import Tensor, nn

from dtgd_edge.train.losses import teacher_loss
from dtgd_edge.train.teaching import LearningTeacher, Seen, halves

BEGINS = 0.1  # share of the steps; until then the student gets to know the teacher as it came


class Tuning(LearningTeacher):
    """The teachers of variant U: the normal one stays, the network's own is tuned and ships."""

    def has_begun(self, step: int) -> bool:
        """Whether the teacher learns in this step, counted from 1."""
        return step > round(BEGINS * self._recipe.optimiser.steps)

    def see(self, teacher: nn.Module, both: Tensor, step: int) -> Seen:
        with torch.no_grad():
            frozen = self.normal(both)
        if not self.has_begun(step):
            return Seen(*halves(frozen))
        tuned = teacher(both)
        return Seen(halves(frozen)[0], halves(tuned)[1], tuned, frozen)

    def loss(self, seen: Seen, mask: Tensor, step: int) -> Tensor:
        if seen.learnt is None or seen.target is None:
            return mask.new_zeros(())
        return teacher_loss(seen.learnt, seen.target, mask)
