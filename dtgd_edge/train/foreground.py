"""Where the object is, found without labels: good pictures to a mask each, and what lies behind the object.

An object is what differs from the colours along the picture's border; a texture has no such thing.
numpy and cv2 only.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Longest side of the picture that is looked at; masks need no finer edges than this gives.
_SIDE_PX = 128
# Colours that fill less of the border than this are not the ground's: a part that reaches the border.
_GROUND_SHARE = 0.06
# The cut between object and ground lies at least this far from the ground in CIELAB ...
_LEAST_CONTRAST = 6.0
# ... and the two account for this share of the variance. Any picture can be cut in two by a threshold;
# noise and soft gradients reach 0.65 to 0.75 that way.
_LEAST_SEPARATION = 0.77
# Share of the pictures in which an object must be found before any of them is believed.
_LEAST_FOUND = 0.75


def foregrounds_of(frames: Sequence[Picture] | Picture) -> list[Mask | None]:
    """Find the object in each picture of a set.

    The set decides whether there are objects at all: a texture that looks like one in a few pictures
    is still a texture.

    Args:
        frames: uint8 [N, H, W, 3].

    Returns:
        For each picture bool [H, W], slightly grown; None where no object was found, and None
        throughout when fewer than three quarters of the pictures show one.
    """
    found = [foreground_of(frame) for frame in frames]
    shown = sum(mask is not None for mask in found)
    return found if shown >= _LEAST_FOUND * len(found) else [None] * len(found)


def foreground_of(picture: Picture) -> Mask | None:
    """Find an object whose colours differ from those along the picture's border.

    A ground of several colours (a tray's edge, a belt's stripe) and soft light are fine, as long as
    each of them reaches the border; so are holes in the object.

    Args:
        picture: uint8 [H, W, 3].

    Returns:
        bool [H, W], slightly grown, or None when nothing stands out.
    """
    height, width = picture.shape[:2]
    distance = _distance_to_ground(picture)
    levels = np.clip(distance * 4, 0, 255).astype(np.uint8)
    cut, binary = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    inside = binary.astype(np.bool_)
    if not inside.any() or inside.all():
        return None
    share, step = inside.mean(), levels[inside].mean() - levels[~inside].mean()
    if share * (1 - share) * step**2 < _LEAST_SEPARATION * levels.var() or cut < 4 * _LEAST_CONTRAST:
        return None
    # What is coloured like the ground at the object's rim, such as a screw's furrows, is object too.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    padded = cv2.copyMakeBorder(
        binary, 3, 3, 3, 3, cv2.BORDER_CONSTANT
    )  # else closing reaches for the border
    mask = _largest_parts(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[3:-3, 3:-3])
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if border.mean() > 0.15 or not 0.005 < mask.mean() < 0.9:
        return None
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    return cv2.resize(grown, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.bool_)


def ground_of(picture: Picture, foreground: Mask) -> Picture:
    """Take the object out of a picture: the ground's colours go on behind it, and so does its grain.

    Args:
        picture: uint8 [H, W, 3].
        foreground: bool [H, W], not all True.

    Returns:
        uint8 [H, W, 3]; equal to the picture away from the foreground.
    """
    height, width = picture.shape[:2]
    # The object's shadow goes with it.
    margin = 2 * max(2, round(0.04 * min(height, width))) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
    hole = cv2.dilate(foreground.astype(np.uint8), disc)
    if hole.all():
        hole = foreground.astype(np.uint8)
    # Filled in at a quarter of the size, which is quick; a pixel there is hole if any of its own pixels is.
    small = max(4, width // 4), max(4, height // 4)
    hole_small = (cv2.resize(hole * 255, small, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    picture_small = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    filled = cv2.inpaint(picture_small, hole_small, 3, cv2.INPAINT_TELEA)
    smooth = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    # Without grain the fill would be a patch of its own; edges of other things are no grain.
    grain = picture - smooth
    most = 3 * np.median(np.abs(grain[hole == 0]), axis=0)
    elsewhere = np.roll(
        np.clip(grain, -most, most) * (1 - hole[..., None]), (height // 2, width // 2), (0, 1)
    )
    alpha = np.maximum(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.5), hole)[..., None]
    return np.clip(picture * (1 - alpha) + (smooth + elsewhere) * alpha + 0.5, 0, 255).astype(np.uint8)


def _distance_to_ground(picture: Picture) -> NDArray[np.float32]:
    """Distance in CIELAB of each pixel to the ground's colours, float32 on a grid of 128 or fewer."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
    rim = max(1, round(0.03 * min(size)))
    sides = (lab[:rim], lab[-rim:], lab[rim:-rim, :rim], lab[rim:-rim, -rim:])
    ground = np.concatenate([side.reshape(-1, 3) for side in sides])
    ground = ground[:: max(1, len(ground) // 400)]
    # To the nearest colour that is not rare: otherwise a part that touches the border would be ground.
    rank = round(_GROUND_SHARE * len(ground))
    pixels = lab.reshape(-1, 3)
    squared = (pixels**2).sum(1)[:, None] + (ground**2).sum(1) - 2 * pixels @ ground.T
    nearest = np.partition(squared, rank, axis=1)[:, rank]
    return np.sqrt(np.maximum(nearest, 0)).reshape(lab.shape[:2])


def _largest_parts(binary: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the largest part and others that come near to it, without their holes.

    Whatever is smaller or touches the border is dirt, glare or a piece of the surroundings.
    """
    count, labels, found, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    areas = found[:, cv2.CC_STAT_AREA]
    largest = 1 + int(areas[1:].argmax())
    height, width = binary.shape
    kept = np.zeros_like(binary)
    for part in range(1, count):
        x, y, w, h = found[part, : cv2.CC_STAT_AREA]
        is_inside = x > 0 and y > 0 and x + w < width and y + h < height
        if part == largest or (is_inside and areas[part] > 0.1 * areas[largest]):
            outlines, _ = cv2.findContours(
                (labels == part).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(kept, outlines, -1, 1, cv2.FILLED)
    return kept
