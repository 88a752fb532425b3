"""Training batches: augmented good pictures, their corrupted twins and masks; tiles of them, where the graph
cuts its frames.

Every sample's randomness comes from (seed, step, place in the batch) alone, so that a resumed run
sees what an uninterrupted one would have seen.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.geometry import TileGrid
from dtgd_edge.train.recipe import AugmentRecipe, Recipe
from dtgd_edge.train.synth import Mask, Picture, corrupt, foreground_of
from dtgd_edge.train.windows import training_window

# Keeps the generators of training batches and of judging frames apart.
_JUDGING = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Arrays of one step.

    Attributes:
        clean: uint8 [B, H, W, 3], RGB; frames, or tiles where the graph cuts its frames.
        corrupted: uint8 [B, H, W, 3]; equal to clean where the mask is empty.
        mask: float32 [B, 1, H, W], 1 where corrupted.
    """

    clean: Picture
    corrupted: Picture
    mask: NDArray[np.float32]


class BatchMaker:
    """Makes batches from good frames.

    Args:
        frames: uint8 [N, H, W, 3], RGB, as returned by Geometry.apply; never cut.
        recipe: the training run.
    """

    def __init__(self, frames: Picture, recipe: Recipe) -> None:
        self._frames = frames
        self._foregrounds = [foreground_of(frame) for frame in frames]
        self._recipe = recipe
        self._grid = recipe.geometry.tile_grid

    def batch(self, step: int) -> Batch:
        """Make the batch of a step; the same step gives the same batch."""
        size, count = self._recipe.optimiser.batch, len(self._frames)
        samples = [self._sample(self._order(step * size + i, count), step, i) for i in range(size)]
        clean, corrupted, masks = (np.stack(column) for column in zip(*samples, strict=True))
        return Batch(clean, corrupted, masks[:, None].astype(np.float32))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Make the batches of steps first to last - 1, one ahead of time in a thread."""
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.batch, first)
            for step in range(first, last):
                ready = upcoming.result()
                if step + 1 < last:
                    upcoming = pool.submit(self.batch, step + 1)
                yield ready

    def _order(self, position: int, count: int) -> int:
        """Walk through all pictures in a new order each time round."""
        lap, place = divmod(position, count)
        return int(np.random.default_rng([self._recipe.seed, lap, count]).permutation(count)[place])

    def _sample(self, index: int, step: int, place: int) -> tuple[Picture, Picture, Mask]:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step, place])
        clean, foreground = self._good(index, rng)
        if rng.random() < recipe.synth.clean_share:
            return clean, clean, np.zeros(clean.shape[:2], np.bool_)
        if rng.random() > recipe.synth.on_object:
            foreground = None
        donor = self._frames[rng.integers(len(self._frames))]
        if self._grid is not None:
            donor = donor[_any_area(self._grid, None, rng)]
        family = recipe.synth.families[rng.integers(len(recipe.synth.families))]
        return clean, *corrupt(clean, donor, foreground, family, rng)

    def _good(self, index: int, rng: np.random.Generator) -> tuple[Picture, Mask | None]:
        """An augmented good picture, or one tile of it, and its foreground."""
        frame, foreground, recipe = self._frames[index], self._foregrounds[index], self._recipe.augment
        if self._grid is None:
            return augment(frame, foreground, recipe, rng)
        window = training_window(self._grid, frame.shape[:2], recipe, rng)
        area = None if foreground is None else window.of(foreground)
        picture, area = augment(window.of(frame), area, replace(recipe, shift=0.0), rng)
        return window.tile(picture), None if area is None else window.tile(area)


def judging_defects(frames: Picture, recipe: Recipe, count: int) -> tuple[Picture, NDArray[np.bool_]]:
    """Corrupt held-out frames with the family that training never sees.

    Returns:
        uint8 [count, H, W, 3] and their masks, bool [count, H, W].
    """
    return _corrupted(frames, recipe, (recipe.synth.held_out,), count, _JUDGING)


def calibration_frames(frames: Picture, recipe: Recipe, count: int) -> Picture:
    """Take good training frames and corrupted twins of them, for the activation ranges of INT8."""
    good = frames[: (count + 1) // 2]
    bad, _ = _corrupted(good, recipe, recipe.synth.families, count - len(good), _JUDGING + 1)
    return np.concatenate([good, bad])


def augment(
    picture: Picture, foreground: Mask | None, recipe: AugmentRecipe, rng: np.random.Generator
) -> tuple[Picture, Mask | None]:
    """Change a good picture in ways that leave it good; its foreground moves along."""
    height, width = picture.shape[:2]
    angle = rng.uniform(-recipe.rotate_degrees, recipe.rotate_degrees)
    transform = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    transform[:, 2] += rng.uniform(-recipe.shift, recipe.shift, 2) * (width, height)
    mirror_x = recipe.flip_horizontal and rng.random() < 0.5
    mirror_y = recipe.flip_vertical and rng.random() < 0.5
    gain = 1 + rng.uniform(-recipe.light, recipe.light)
    offset = 128 * rng.uniform(-recipe.light, recipe.light)
    if recipe.rotate_degrees or recipe.shift:
        picture = _moved(picture, transform, cv2.INTER_LINEAR)
    if recipe.light:
        picture = np.clip(picture * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    if foreground is not None and (recipe.rotate_degrees or recipe.shift):
        foreground = _moved(foreground.astype(np.uint8), transform, cv2.INTER_NEAREST).astype(np.bool_)
    flips = (slice(None, None, -1 if mirror_y else 1), slice(None, None, -1 if mirror_x else 1))
    picture = np.ascontiguousarray(picture[flips])
    return picture, None if foreground is None else np.ascontiguousarray(foreground[flips])


def _corrupted(
    frames: Picture, recipe: Recipe, families: tuple[str, ...], count: int, stream: int
) -> tuple[Picture, NDArray[np.bool_]]:
    pictures, masks, grid = [], [], recipe.geometry.tile_grid
    for i in range(count):
        rng = np.random.default_rng([recipe.seed, stream, i])
        frame, donor = frames[i % len(frames)], frames[rng.integers(len(frames))]
        family, foreground = families[i % len(families)], foreground_of(frame)
        if grid is None:
            picture, mask = corrupt(frame, donor, foreground, family, rng)
        else:  # as large as a tile's defects: it is for them that the frame is cut
            area, source = _any_area(grid, foreground, rng), _any_area(grid, None, rng)
            object_there = None if foreground is None else foreground[area]
            picture, mask = frame.copy(), np.zeros(frame.shape[:2], np.bool_)
            picture[area], mask[area] = corrupt(frame[area], donor[source], object_there, family, rng)
        pictures.append(picture)
        masks.append(mask)
    empty = np.zeros((0, *frames.shape[1:3]), np.bool_)
    return (np.stack(pictures), np.stack(masks)) if pictures else (frames[:0], empty)


def _any_area(grid: TileGrid, foreground: Mask | None, rng: np.random.Generator) -> tuple[slice, slice]:
    """One of the tiles, with some of the object in it if there is one."""
    areas = [a for a in grid.areas if foreground is None or foreground[a].any()] or grid.areas
    return areas[rng.integers(len(areas))]


def _moved(image: NDArray[np.uint8], transform: NDArray[np.float64], interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    moved = cv2.warpAffine(
        image, transform, (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)
