"""Synthetic anomalies: a good picture and a random generator to a corrupted picture and its mask.

Masks after DRAEM (Zavrtanik et al. 2021: thresholded noise, blended texture); textures are drawn,
not taken from a data set; structural and tonal families are our own. numpy and cv2 only.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.train.foreground import Mask, Picture, ground_of
from dtgd_edge.train.textures import smooth_noise, texture

Soft = NDArray[np.float32]

# Smallest change of a pixel, in grey levels, that counts as anomalous: below it even a person sees none.
VISIBLE_LEVELS = 8
# Smallest anomaly, in pixels of a 256 x 256 picture.
SMALLEST_PX = 12
# Share of blended textures that lie all over the picture: only large areas teach the student to fill in
# what it has not seen.
ALL_OVER = 0.6


def corrupt(
    picture: Picture,
    donor: Picture,
    foreground: Mask | None,
    family: str,
    rng: np.random.Generator,
) -> tuple[Picture, Mask]:
    """Put one synthetic anomaly into a picture.

    Args:
        picture: uint8 [H, W, 3].
        donor: another good picture of the same size, the source of pasted pieces.
        foreground: bool [H, W]: the object to put it on; None: anywhere.
        family: a key of FAMILIES.
        rng: decides everything.

    Returns:
        The corrupted picture, uint8 [H, W, 3], and the mask of visibly changed pixels, bool [H, W].
    """
    height, width = picture.shape[:2]
    smallest = SMALLEST_PX * height * width / 256**2
    if family in SHOWS_GROUND:
        donor = _hole(picture) if foreground is None else ground_of(picture, foreground)
    for _ in range(8):
        centre = _centre(foreground, (height, width), rng)
        changed = FAMILIES[family](picture, donor, centre, rng)
        if foreground is not None and family not in MOVES_OUTLINES:
            changed = np.where(foreground[..., None], changed, picture)
        difference = cv2.absdiff(changed, picture).max(axis=2)
        mask = (difference >= VISIBLE_LEVELS).astype(np.uint8)
        # Closing joins the parts of one defect that happen to match the ground between them.
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        if mask.sum() >= smallest:
            return changed, mask.astype(np.bool_)
    return changed, mask.astype(np.bool_)


def blend_texture(
    picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator
) -> Picture:
    """Blend a foreign texture in where noise exceeds a threshold: in one place, or all over the picture."""
    size_hw = picture.shape[:2]
    area = _noise_areas(size_hw, rng) if rng.random() < ALL_OVER else _noise_blob(size_hw, centre, rng)
    foreign = texture(rng, size_hw) if rng.random() < 0.7 else _jittered(donor, rng)
    if not np.ptp(picture, axis=2).any():  # a monochrome camera sees no colours
        foreign = cv2.cvtColor(cv2.cvtColor(foreign, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(picture, foreign.astype(np.float32), area * rng.uniform(0.2, 1.0))


def scratch(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Draw a thin bent stroke, lighter or darker than its ground."""
    side = min(picture.shape[:2])
    area = np.zeros(picture.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 4))):
        steps = int(rng.integers(4, 12))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, steps))
        stride = side * rng.uniform(0.01, 0.05)
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * stride, axis=0) + centre
        thickness = max(1, round(side / 256 * float(rng.integers(1, 4))))
        cv2.polylines(area, [np.round(path).astype(np.int32)], False, 1.0, thickness, cv2.LINE_AA)
    area = cv2.GaussianBlur(area, (0, 0), rng.uniform(0.3, 0.8))
    return _shade(picture, area, rng)


def spots(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Draw one to a few small pits or specks, 2 to 10 pixels wide at 256."""
    side = min(picture.shape[:2])
    area = np.zeros(picture.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 5))):
        at = np.array(centre) + rng.normal(0, side * 0.06, 2)
        axes = np.maximum(1, side / 256 * rng.uniform(1, 5, 2)).round().astype(int)
        position = int(at[0]), int(at[1])
        cv2.ellipse(
            area, position, (int(axes[0]), int(axes[1])), rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA
        )
    return _shade(picture, cv2.GaussianBlur(area, (0, 0), rng.uniform(0.3, 1.0)), rng)


def warp(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Push, twist, pinch or bulge a round area: dents, bent and displaced pieces."""
    height, width = picture.shape[:2]
    radius = min(height, width) * rng.uniform(0.04, 0.16)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx, dy = x - centre[0], y - centre[1]
    weight = np.exp(-(dx**2 + dy**2) / (2 * (radius * 0.6) ** 2))
    kind = rng.integers(3)
    if kind == 0:  # push
        angle, reach = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.4, 1.0)
        shift_x, shift_y = reach * np.cos(angle) * weight, reach * np.sin(angle) * weight
    elif kind == 1:  # twist
        turn = weight * rng.choice([-1, 1]) * rng.uniform(0.7, 2.0)
        shift_x, shift_y = (
            dx * (np.cos(turn) - 1) - dy * np.sin(turn),
            dx * np.sin(turn) + dy * (np.cos(turn) - 1),
        )
    else:  # pinch or bulge
        scale = weight * rng.choice([-0.6, 0.9])
        shift_x, shift_y = dx * scale, dy * scale
    return cv2.remap(
        picture,
        (x + shift_x).astype(np.float32),
        (y + shift_y).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.uint8)


def stain(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Tint, darken or lighten a soft-edged patch."""
    area = cv2.GaussianBlur(_noise_blob(picture.shape[:2], centre, rng), (0, 0), rng.uniform(1, 5))
    colour = (
        np.clip(rng.normal(110, 60, 3), 0, 255) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    )
    tinted = picture * (colour / 128.0)
    return _blend(picture, np.clip(tinted, 0, 255).astype(np.float32), area * rng.uniform(0.25, 0.8))


def blur(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Wipe the detail out of a patch: worn, smeared or missing structure."""
    area = cv2.GaussianBlur(_noise_blob(picture.shape[:2], centre, rng), (0, 0), 1.0)
    sigma = min(picture.shape[:2]) / 256 * rng.uniform(3, 14)
    return _blend(picture, cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.float32), area)


def missing(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Show the donor, which is the ground, where a piece is missing: a hole, a gaping crack, a corner."""
    size_hw = picture.shape[:2]
    shape = (_noise_blob, _wedge, _corner)[rng.integers(3)]
    area = cv2.GaussianBlur(shape(size_hw, centre, rng), (0, 0), rng.uniform(0.3, 1.2))
    dimmed = donor * rng.uniform(0.6, 1.1)  # the piece left throws a shadow
    return _blend(picture, np.clip(dimmed, 0, 255).astype(np.float32), area)


def cut_paste(picture: Picture, donor: Picture, centre: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Paste a turned piece of another good picture where it does not belong (after Li et al. 2021)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    half = side * 0.5 * rng.uniform(0.05, 0.25, 2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    v = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
    if rng.random() < 0.5:
        area = ((np.abs(u) < half[0]) & (np.abs(v) < half[1])).astype(np.float32)
    else:
        area = ((u / half[0]) ** 2 + (v / half[1]) ** 2 < 1).astype(np.float32)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), rng.uniform(0.8, 1.25))
    turn[:, 2] += rng.uniform(-0.4, 0.4, 2) * (width, height)
    piece = cv2.warpAffine(_jittered(donor, rng), turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return _blend(picture, piece.astype(np.float32), cv2.GaussianBlur(area, (0, 0), rng.uniform(0.3, 1.2)))


Corruption = Callable[[Picture, Picture, tuple[int, int], np.random.Generator], Picture]
FAMILIES: dict[str, Corruption] = {
    "texture": blend_texture,
    "scratch": scratch,
    "spots": spots,
    "warp": warp,
    "stain": stain,
    "blur": blur,
    "missing": missing,
    "cutpaste": cut_paste,
}


# Families that bend or shift pieces: what they do to an object's outline reaches over its ground.
MOVES_OUTLINES = ("warp",)
# Families whose donor is what lies behind the object.
SHOWS_GROUND = ("missing",)


def _centre(foreground: Mask | None, size_hw: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Choose x, y inside of the foreground, or anywhere."""
    if foreground is not None and foreground.any():
        rows, columns = np.nonzero(foreground)
        index = rng.integers(len(rows))
        return int(columns[index]), int(rows[index])
    return int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))


def _noise_blob(size_hw: tuple[int, int], centre: tuple[int, int], rng: np.random.Generator) -> Soft:
    """Threshold smooth noise inside a window around the centre: ragged areas of all sizes, 0 to 1."""
    cells = 2.0 ** rng.uniform(1, 5.5)
    noise = smooth_noise(rng, size_hw, (max(1, round(cells)), max(1, round(cells * 2 ** rng.uniform(-1, 1)))))
    radius = min(size_hw) * 2.0 ** rng.uniform(-4.5, -1.3)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    window = 1 - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / radius**2
    return ((window + 0.6 * noise) > 0.2).astype(np.float32) * (window > -1.5)


def _wedge(size_hw: tuple[int, int], centre: tuple[int, int], rng: np.random.Generator) -> Soft:
    """A jagged crack that opens from its tip on, 0 or 1."""
    side = min(size_hw)
    along = np.linspace(0, side * rng.uniform(0.1, 0.5), 12)
    half = np.linspace(0, side * rng.uniform(0.01, 0.1), 12)
    bend = np.cumsum(rng.normal(0, 0.012 * side, 12))
    rough = rng.normal(0, 0.006 * side, (2, 12))
    across = np.concatenate([bend + half + rough[0], (bend - half + rough[1])[::-1]])
    angle = rng.uniform(0, 2 * np.pi)
    outline = np.stack([np.concatenate([along, along[::-1]]), across], -1) - (along[-1] * rng.random(), 0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    area = np.zeros(size_hw, np.float32)
    cv2.fillPoly(area, [np.round(outline @ turn + centre).astype(np.int32)], 1.0)
    return area


def _corner(size_hw: tuple[int, int], centre: tuple[int, int], rng: np.random.Generator) -> Soft:
    """All that lies beyond a ragged line, up to a distance, 0 or 1."""
    side, angle, cells = min(size_hw), rng.uniform(0, 2 * np.pi), int(rng.integers(4, 24))
    ragged = rng.uniform(0.02, 0.1) * side * smooth_noise(rng, size_hw, (cells, cells))
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    x, y = x - centre[0], y - centre[1]
    beyond = x * np.cos(angle) + y * np.sin(angle) + ragged > 0
    return (beyond & (np.hypot(x, y) < side * rng.uniform(0.08, 0.35))).astype(np.float32)


def _hole(picture: Picture) -> Picture:
    """What a hole in a texture shows: its darkest shade."""
    return np.broadcast_to(np.quantile(picture, 0.01, axis=(0, 1)), picture.shape).astype(np.uint8)


def _noise_areas(size_hw: tuple[int, int], rng: np.random.Generator) -> Soft:
    """Threshold smooth noise over the whole picture, as DRAEM does: many areas or one large one, 0 or 1."""
    rows, columns = 2.0 ** rng.integers(0, 6, 2)
    noise = smooth_noise(rng, size_hw, (int(rows), int(columns)))
    height, width = size_hw
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-90, 90), 1.0)
    noise = cv2.warpAffine(noise, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return (noise > 0.5 * np.abs(noise).max()).astype(np.float32)


def _blend(picture: Picture, other: NDArray[np.float32], alpha: Soft) -> Picture:
    alpha = alpha[..., None]
    return np.clip(picture * (1 - alpha) + other * alpha + 0.5, 0, 255).astype(np.uint8)


def _shade(picture: Picture, area: Soft, rng: np.random.Generator) -> Picture:
    """Move an area's brightness away from its ground: dark, light, or with a bright rim."""
    strength = rng.uniform(20, 130) * rng.choice([-1.0, 1.0])
    change = area * strength
    if rng.random() < 0.4:  # the lit far wall of a groove
        change = change - 0.6 * strength * np.roll(area, (1, 1), (0, 1))
    tint = 1 + rng.uniform(-0.15, 0.15, 3)
    return np.clip(picture + change[..., None] * tint, 0, 255).astype(np.uint8)


def _jittered(picture: Picture, rng: np.random.Generator) -> Picture:
    gain, offset = rng.uniform(0.6, 1.4), rng.uniform(-40, 40)
    return np.clip(picture.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)
