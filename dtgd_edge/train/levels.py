"""What puts the levels of a map on one scale: good frames' distances to a centre and a scale per level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.train.recipe import Fusion

# Of a good part's distances on one level: what is subtracted, and what becomes 1 on the map.
CENTRE_QUANTILE, EDGE_QUANTILE = 0.5, 0.995
SMALLEST_SCALE = 1e-4


@dataclass(frozen=True, slots=True)
class LevelRule:
    """How a scoring graph weighs its levels.

    Only "calibrated" weighs them by their good parts. For "sum" all cosines have one scale, and in a product
    the scales are one factor, so that both rank pixels as the plain distances do.

    Attributes:
        fusion: how the levels are put together.
        memory_weight: what the memory, the last level, counts for in a sum, where a cosine counts for 1;
            None: there is no memory.
    """

    fusion: Fusion = "calibrated"
    memory_weight: float | None = None

    def constants(self, distances: Sequence[NDArray[np.float32]]) -> list[tuple[float, float]]:
        """Centre and scale per level, from good frames; 1 on the map is about the edge of normal.

        Idea: EfficientAD's quantile normalisation (Batzner et al. 2023).

        Args:
            distances: per level, 1 - cosine at any number of pixels; the memory's last, if there is one.
        """
        quantiles = [np.quantile(level, [CENTRE_QUANTILE, EDGE_QUANTILE]) for level in distances]
        if self.fusion == "calibrated":
            pairs = [(median, edge - median) for median, edge in quantiles]
        else:
            pairs = [(0.0, edge) for _, edge in quantiles]
        if self.fusion == "sum":
            cosines = pairs if self.memory_weight is None else pairs[:-1]
            pairs[: len(cosines)] = [(0.0, np.mean([edge for _, edge in cosines]))] * len(cosines)
        constants = [(float(centre), max(float(scale), SMALLEST_SCALE)) for centre, scale in pairs]
        if self.memory_weight is not None:
            centre, scale = constants[-1]
            constants[-1] = centre, scale / self.memory_share
        return constants

    @property
    def memory_share(self) -> float:
        """What the memory's scale is divided by: its weight; a product has none."""
        return 1.0 if self.memory_weight is None or self.fusion == "product" else self.memory_weight
