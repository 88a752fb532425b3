"""Training batches: augmented good pictures, their corrupted twins and masks; tiles of them, where the graph
cuts its frames.

Every sample's randomness comes from (seed, step, place in the batch) alone, so that a resumed run
sees what an uninterrupted one would have seen.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.geometry import TileGrid
from dtgd_edge.train.foreground import Mask, Picture, foregrounds_of, ground_of
from dtgd_edge.train.recipe import AugmentRecipe, Recipe
from dtgd_edge.train.synth import corrupt

# Keeps the generators of training batches and of judging frames apart.
_JUDGING = 1 << 31
# Share of the pictures that are not turned by any angle. Resampling takes away sharpness, and a student that
# never sees a picture as sharp as the camera's finds fault with all of them.
UNTURNED = 0.5


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
        self._foregrounds = foregrounds_of(frames)
        # Only rotation uncovers more than a sliver of what lies beside the picture.
        needs_ground = recipe.augment.rotate_degrees not in ("auto", 0)
        self._grounds = [
            ground_of(frame, mask) if needs_ground and mask is not None else None
            for frame, mask in zip(frames, self._foregrounds, strict=True)
        ]
        self._recipe = recipe
        self._grid = recipe.geometry.tile_grid

    def batch(self, step: int, places: range | None = None) -> Batch:
        """Make the batch of a step, or some places of it; the same step and place give the same sample."""
        size, count = self._recipe.optimiser.batch, len(self._frames)
        chosen = range(size) if places is None else places
        samples = [self._sample(self._order(step * size + i, count), step, i) for i in chosen]
        clean, corrupted, masks = (np.stack(column) for column in zip(*samples, strict=True))
        return Batch(clean, corrupted, masks[:, None].astype(np.float32))

    def batches(
        self, first: int, last: int, places: range | None = None, workers: int = 1
    ) -> Iterator[Batch]:
        """Make the batches of steps first to last - 1 ahead of time, one in each of `workers` threads.

        How many threads there are changes nothing but the time: OpenCV and numpy leave Python free meanwhile.
        """
        pool, upcoming = ThreadPoolExecutor(workers), deque[Future[Batch]]()
        try:
            for step in range(first, last + workers):
                if step < last:
                    upcoming.append(pool.submit(self.batch, step, places))
                if step >= first + workers:
                    yield upcoming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _order(self, position: int, count: int) -> int:
        """Walk through all pictures in a new order each time round."""
        lap, place = divmod(position, count)
        return int(np.random.default_rng([self._recipe.seed, lap, count]).permutation(count)[place])

    def _sample(self, index: int, step: int, place: int) -> tuple[Picture, Picture, Mask]:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step, place])
        foreground, ground = self._foregrounds[index], self._grounds[index]
        clean, foreground = augment(self._frames[index], foreground, recipe.augment, rng, ground)
        if self._grid is not None:
            area = _any_area(self._grid, None, rng)
            clean = np.ascontiguousarray(clean[area])
            foreground = None if foreground is None else foreground[area]
        if rng.random() < recipe.synth.clean_share:
            return clean, clean, np.zeros(clean.shape[:2], np.bool_)
        if rng.random() > recipe.synth.on_object:
            foreground = None
        donor = self._frames[rng.integers(len(self._frames))]
        if self._grid is not None:
            donor = donor[_any_area(self._grid, None, rng)]
        family = recipe.synth.families[rng.integers(len(recipe.synth.families))]
        return clean, *corrupt(clean, donor, foreground, family, rng)


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
    picture: Picture,
    foreground: Mask | None,
    recipe: AugmentRecipe,
    rng: np.random.Generator,
    ground: Picture | None = None,
) -> tuple[Picture, Mask | None]:
    """Change a good picture in ways that leave it good; its foreground moves along.

    An object is kept inside of the picture; one that reaches the border is not rotated freely, because its
    other end is not known.

    Args:
        picture: uint8 [H, W, 3].
        foreground: bool [H, W], or None.
        recipe: what to change; what is still "auto" changes nothing.
        rng: decides everything.
        ground: uint8 [H, W, 3], the picture without its object; where the picture's border comes into view
            the ground goes on behind it, mirrored. None: the picture itself does, as suits a texture.

    Returns:
        The changed picture and its foreground.
    """
    height, width = picture.shape[:2]
    most_degrees = 0.0 if recipe.rotate_degrees == "auto" else recipe.rotate_degrees
    most_shift = 0.0 if recipe.shift == "auto" else recipe.shift
    angle = rng.uniform(-most_degrees, most_degrees)
    if rng.random() < UNTURNED or (foreground is not None and _reaches_border(foreground)):
        angle = 0.0
    transform = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    # Whole pixels: an unturned picture is as sharp as the camera's.
    transform[:, 2] += np.round(rng.uniform(-most_shift, most_shift, 2) * (width, height))
    mirror_x = recipe.flip_horizontal is True and rng.random() < 0.5
    mirror_y = recipe.flip_vertical is True and rng.random() < 0.5
    gain = 1 + rng.uniform(-recipe.light, recipe.light)
    offset = 128 * rng.uniform(-recipe.light, recipe.light)
    turns = 1 if recipe.turns == "auto" else recipe.turns
    quarters = 0 if turns == 1 else int(rng.integers(turns)) * (4 // turns)
    if most_degrees or most_shift:
        if foreground is not None:
            transform = _kept_inside(transform, foreground)
        # Whole pixels need no kernel: the result is the same, and sooner there.
        picture = _moved(picture, transform, cv2.INTER_LANCZOS4 if angle else cv2.INTER_NEAREST, ground)
    if recipe.light:
        picture = np.clip(picture * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    if foreground is not None and (most_degrees or most_shift):
        foreground = _moved(foreground.astype(np.uint8), transform, cv2.INTER_NEAREST).astype(np.bool_)
    flips = (slice(None, None, -1 if mirror_y else 1), slice(None, None, -1 if mirror_x else 1))
    picture = np.ascontiguousarray(np.rot90(picture[flips], quarters))
    if foreground is not None:
        foreground = np.ascontiguousarray(np.rot90(foreground[flips], quarters))
    return picture, foreground


def _corrupted(
    frames: Picture, recipe: Recipe, families: tuple[str, ...], count: int, stream: int
) -> tuple[Picture, NDArray[np.bool_]]:
    pictures, masks, foregrounds, grid = [], [], foregrounds_of(frames), recipe.geometry.tile_grid
    for i in range(count):
        rng = np.random.default_rng([recipe.seed, stream, i])
        index, donor = i % len(frames), frames[rng.integers(len(frames))]
        frame, foreground, family = frames[index], foregrounds[index], families[i % len(families)]
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


def _reaches_border(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _kept_inside(transform: NDArray[np.float64], foreground: Mask) -> NDArray[np.float64]:
    """Correct a transform's shift so that it does not push the object out of the picture, if it fits."""
    if _reaches_border(foreground):
        return transform
    outline = cv2.convexHull(cv2.findNonZero(foreground.astype(np.uint8)))[:, 0]
    places = outline @ transform[:, :2].T + transform[:, 2]
    last = np.array(foreground.shape[::-1]) - 1
    low, high = places.min(axis=0), places.max(axis=0)
    outside = np.maximum(0, -low) - np.maximum(0, high - last)
    kept = transform.copy()
    kept[:, 2] += np.where(high - low <= last, outside, (last - low - high) / 2)
    return kept


def _moved(
    image: NDArray[np.uint8],
    transform: NDArray[np.float64],
    interpolation: int,
    ground: Picture | None = None,
) -> NDArray[np.uint8]:
    height, width = image.shape[:2]

    def moved(
        source: NDArray[np.uint8], border: int, interpolation: int = cv2.INTER_LINEAR
    ) -> NDArray[np.uint8]:
        return cv2.warpAffine(source, transform, (width, height), flags=interpolation, borderMode=border)

    # A mask has nothing beside the picture, a texture goes on there.
    beside = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REFLECT_101
    turned = moved(image, beside, interpolation)
    if ground is None:
        return turned
    inside = moved(np.full((height, width), 255, np.uint8), cv2.BORDER_CONSTANT) == 255
    return np.where(inside[..., None], turned, moved(ground, cv2.BORDER_REFLECT_101))
