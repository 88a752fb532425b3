"""Teachers of a compact graph: a thin network learns to see as the teacher of a full one does, and its
student to find what the full one's finds.
"""

import torch
from torch import Tensor, nn

from dtgd_edge.train.graph import ScoringGraph
from dtgd_edge.train.losses import angle_loss, distance_difference, spacing_loss
from dtgd_edge.train.memory import patches_of
from dtgd_edge.train.networks import DTGD, cosine
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.teaching import LearningTeacher, Seen, halves

PLACES = 128  # of a picture, on each level, whose angles are compared in a step
PATCHES = 32  # of a picture, whose distances from each other and from those of other pictures are compared


class Thinning(LearningTeacher):
    """The thin teacher is both of the student's teachers, and learns from the full one's angles.

    What the distances of DTGD are made of are angles between features. Angles can be compared where the
    number of channels differs, so that no projection has to be learnt and thrown away.

    Args:
        network: the compact one; its teacher learns.
        recipe: of the training run.
        full: the scoring graph that is distilled, calibrated; it is only read.
    """

    def __init__(self, network: DTGD, recipe: Recipe, full: ScoringGraph) -> None:
        super().__init__(network, recipe)
        self._full = full.network.requires_grad_(False)
        self._scale = full.tail.scale
        self._remembers = full.memory is not None

    def see(self, teacher: nn.Module, both: Tensor, step: int) -> Seen:
        corrupted = both[len(both) // 2 :]
        with torch.no_grad():
            target = self._full.teacher(both)
            anomalous = halves(target)[1]
            entered = self._full.encoder_input(corrupted, anomalous)
            decoded = self._full.student(entered, anomalous).decoded
            distances = [1 - cosine(a, d) for a, d in zip(anomalous, decoded, strict=True)]
        learnt = teacher(both)
        return Seen(*halves(learnt), learnt, target, distances)

    def loss(self, seen: Seen, mask: Tensor, step: int) -> Tensor:
        assert seen.learnt is not None and seen.target is not None
        chance = torch.Generator().manual_seed(step)  # the same when a run is resumed
        angles = angle_loss(seen.learnt, seen.target, PLACES, chance)
        if not self._remembers:
            return angles
        spacing = spacing_loss(patches_of(seen.learnt), patches_of(seen.target), PATCHES, chance)
        return angles + spacing

    def agreement(self, seen: Seen, decoded: list[Tensor]) -> Tensor:
        assert seen.distances is not None
        found = [1 - cosine(a, d) for a, d in zip(seen.anomalous, decoded, strict=True)]
        return distance_difference(found, seen.distances, self._scale)
