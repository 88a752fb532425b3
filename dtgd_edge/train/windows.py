"""The tiles that training sees: those of the graph, moved as far as the recipe lets the frame move.

The graph sees its tiles at fixed places, so training does, too, under the augmentation that the recipe
declares: what lies at a tile's rim, where the network sees padding, is then the same in both. A larger
`augment.shift` makes the places as random as a texture can bear. The pixels that a shifted or turned tile
takes in are the frame's own; only beyond the frame are they mirrored. numpy only.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.geometry import TileGrid
from dtgd_edge.train.recipe import AugmentRecipe

Pixels = TypeVar("Pixels", bound=NDArray[Any])


@dataclass(frozen=True, slots=True)
class Window:
    """A tile somewhere in a frame, with a margin that turning it needs.

    Attributes:
        top, left: of the tile, in pixels of the frame; it may reach beyond it.
        tile_hw: its height and width.
        margin: around it, pixels.
    """

    top: int
    left: int
    tile_hw: tuple[int, int]
    margin: int

    def of(self, frame: Pixels) -> Pixels:
        """Cut tile and margin out of [H, W] or [H, W, C]; beyond the frame lies its mirror image."""
        places = (
            _mirrored(np.arange(start - self.margin, start + side + self.margin), whole)
            for start, side, whole in zip((self.top, self.left), self.tile_hw, frame.shape[:2], strict=True)
        )
        return frame[np.ix_(*places)]  # type: ignore[return-value]

    def tile(self, cut: Pixels) -> Pixels:
        """Take the margin off."""
        height, width = self.tile_hw
        return np.ascontiguousarray(  # type: ignore[return-value]
            cut[self.margin : self.margin + height, self.margin : self.margin + width]
        )


def training_window(
    grid: TileGrid, frame_hw: tuple[int, int], recipe: AugmentRecipe, rng: np.random.Generator
) -> Window:
    """Choose one of the graph's tiles, and shift it within `recipe.shift` of the frame's sides."""
    rows, columns = grid.areas[rng.integers(len(grid.areas))]
    down, across = np.rint(rng.uniform(-recipe.shift, recipe.shift, 2) * frame_hw).astype(int)
    margin = turning_margin(grid.tile_hw, recipe.rotate_degrees)
    return Window(rows.start + int(down), columns.start + int(across), grid.tile_hw, margin)


def turning_margin(tile_hw: tuple[int, int], degrees: float) -> int:
    """Pixels around a tile that come into it when it is turned by up to so many degrees."""
    grown = []
    for side, other in (tile_hw, tile_hw[::-1]):
        angle = min(math.radians(degrees), math.atan2(other, side))  # beyond the diagonal it shrinks again
        grown.append((side * math.cos(angle) + other * math.sin(angle) - side) / 2)
    return math.ceil(max(grown))


def _mirrored(places: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Positions beyond 0 to length - 1, thrown back from the ends; the ends are not doubled."""
    places = np.abs(places) % (2 * length - 2)
    return np.minimum(places, 2 * length - 2 - places)
