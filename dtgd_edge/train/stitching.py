"""Tiles inside of the scoring graph: cut out of the frame, and their maps put together again.

Fixed slices, pads and sums only: whatever runs the graph sees one with fixed shapes and a larger batch.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.geometry import TileGrid


def cut(frames: Tensor, grid: TileGrid) -> Tensor:
    """Cut frames [N, H, W, 3] into tiles [C * R * N, h, w, 3]: column after column, in each row after row.

    This order lets `Stitch` take whole columns and then whole rows as slices of the batch.
    """
    height, width = grid.tile_hw
    return torch.cat([frames[:, y : y + height, x : x + width] for x in grid.lefts for y in grid.tops])


class Stitch(nn.Module):
    """Maps of tiles, as `cut` orders them, to maps of frames.

    Where tiles overlap, each one's weight falls linearly towards its own rim, where its features have seen
    padding in place of the part; the weights of a pixel sum to 1.

    Args:
        grid: where the tiles lie.
        stride: pixels of the frame per pixel of the maps.
    """

    across: Tensor
    down: Tensor

    def __init__(self, grid: TileGrid, stride: int) -> None:
        super().__init__()
        height, width = (side // stride for side in grid.tile_hw)
        self.lefts, self.tops = ([start // stride for start in row] for row in (grid.lefts, grid.tops))
        self.register_buffer("across", blending_weights(self.lefts, width).view(-1, 1, 1, 1, width))
        self.register_buffer("down", blending_weights(self.tops, height).view(-1, 1, 1, height, 1))

    def forward(self, tiles: Tensor) -> Tensor:
        """[C * R * N, 1, h, w] to [N, 1, H, W]."""
        height, width = tiles.shape[2:]
        whole_h, whole_w = self.tops[-1] + height, self.lefts[-1] + width
        columns = zip(_parts(tiles, len(self.lefts)), self.across, self.lefts, strict=True)
        wide = [F.pad(part * weight, (x, whole_w - x - width)) for part, weight, x in columns]
        rows = zip(_parts(_sum(wide), len(self.tops)), self.down, self.tops, strict=True)
        return _sum([F.pad(part * weight, (0, 0, y, whole_h - y - height)) for part, weight, y in rows])


def blending_weights(starts: list[int], length: int) -> Tensor:
    """Weights of pieces along one side, float32 [pieces, length]; over each pixel they sum to 1.

    Args:
        starts: where each piece begins, ascending, the first at 0.
        length: of every piece.
    """
    shared = [a + length - b for a, b in pairwise(starts)]
    inside = np.arange(length) + 0.5  # of a pixel's centre, from the piece's beginning
    weights = np.ones((len(starts), length))
    for before, after, overlap in zip(weights, weights[1:], shared, strict=False):
        ramp = np.minimum(1, inside / max(overlap, 0.5))  # pieces that only touch keep their weight
        after[:] = np.minimum(after, ramp)
        before[:] = np.minimum(before, ramp[::-1])
    total = np.zeros(starts[-1] + length)
    for weight, start in zip(weights, starts, strict=True):
        total[start : start + length] += weight
    shares = [weight / total[start : start + length] for weight, start in zip(weights, starts, strict=True)]
    return torch.from_numpy(np.stack(shares).astype(np.float32))


def _parts(batch: Tensor, count: int) -> list[Tensor]:
    """Split a batch into equal parts by fixed slices."""
    size = len(batch) // count
    return [batch[i * size : (i + 1) * size] for i in range(count)]


def _sum(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])
