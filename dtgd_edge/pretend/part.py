"""One pretend part: draw it, and say exactly where its defect is."""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError
from dtgd_edge.pretend.defects import DEFECTS, spoiled
from dtgd_edge.pretend.shading import Scene, draw_scene, fixture, photographed, sensed
from dtgd_edge.pretend.surface import Field, Surface, Tooling, draw_tooling, machined

GOOD = "good"
SMALLEST_SIZE, LARGEST_SIZE = 64, 2048

# Grey values: what counts as changed, and what a person needs to see in the middle of the change.
_CHANGED, _MEAN_CONTRAST, _PEAK_CONTRAST = 8.0, 15.0, 26.0
_MIN_AREA_PX = 5
_TRIES = 16


@dataclass(frozen=True, slots=True, eq=False)
class PretendPart:
    """A picture of one part and the truth about it.

    Attributes:
        image: uint8 [S, S, 3], BGR.
        mask: bool [S, S], true where the defect changes the picture visibly; all false for a good part.
        defect: "good" or one of DEFECTS.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    defect: str


def draw_part(rng: np.random.Generator, defect: str = GOOD, size: int = 320) -> PretendPart:
    """Draw one part as the line's camera sees it.

    The same generator state gives the same pose and light at every size, and at one size the same good part
    and sensor noise under every defect: the pictures differ by the defect alone.

    Args:
        defect: "good" or one of DEFECTS.
        size: side of the square picture, pixels; 64 to 2048.

    Raises:
        ConfigError: unknown defect, or a size outside the range.
    """
    _check(defect, size)
    scene = draw_scene(rng)
    # A generator of its own for what is drawn per pixel: otherwise the size would decide about the defect.
    per_pixel = np.random.default_rng(rng.integers(2**63))
    tooling = draw_tooling(per_pixel, size)
    surface = machined(scene.pose, tooling)
    ground = fixture(scene, size)
    picture = photographed(scene, surface, ground)
    mask = np.zeros((size, size), np.bool_)
    if defect != GOOD:
        picture, mask = _with_defect(rng, defect, scene, tooling, surface, ground, picture)
    image = np.rint(sensed(per_pixel, picture, scene.noise)).astype(np.uint8)
    return PretendPart(image, mask, defect)


def _with_defect(
    rng: np.random.Generator,
    defect: str,
    scene: Scene,
    tooling: Tooling,
    surface: Surface,
    ground: Field,
    good: Field,
) -> tuple[Field, NDArray[np.bool_]]:
    """Redraw the defect, from the fourth time on ever stronger, until a person would find it."""
    for attempt in range(_TRIES):
        strength = 1 + 0.2 * max(0, attempt - 2)
        bad = spoiled(rng, surface, defect, strength, scene.pose, tooling)
        picture = photographed(scene, bad, ground)
        blue, green, red = np.moveaxis(np.abs(picture - good), 2, 0)
        change = np.maximum(np.maximum(blue, green), red)
        mask = _changed_area(change, np.maximum(surface.metal, bad.metal))
        if mask.sum() >= _MIN_AREA_PX and (
            change[mask].mean() >= _MEAN_CONTRAST and change.max() >= _PEAK_CONTRAST
        ):
            return picture, mask
    raise AssertionError(f"{defect} stays invisible after {_TRIES} tries")


def _changed_area(change: Field, metal: Field) -> NDArray[np.bool_]:
    """Outline where a picture has changed, with gaps closed and enclosed flat spots of the metal filled.

    Args:
        change: float32 [S, S], absolute difference in grey values.
        metal: float32 [S, S], share of the pixel that is metal in either picture.

    Returns:
        bool [S, S].
    """
    import cv2

    changed = change > _CHANGED
    # A dent's flank that happens to be as bright as the face leaves a wide gap, a pit leaves none.
    extent = float(np.sqrt(changed.sum()))
    reach = round(max(1.0, min(0.12 * extent, len(change) / 50)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(closed), contours, -1, 1, cv2.FILLED)
    return np.asarray(changed | ((filled > 0) & (metal > 0.5)), np.bool_)


def _check(defect: str, size: int) -> None:
    if defect != GOOD and defect not in DEFECTS:
        known = ", ".join((GOOD, *DEFECTS))
        nearest = get_close_matches(defect, (GOOD, *DEFECTS), n=1, cutoff=0)[0]
        raise ConfigError(f'"{defect}" is no defect of the pretend part; expected {known}; try "{nearest}"')
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ConfigError(
            f"pictures of {size} pixels were asked for; "
            f"expected {SMALLEST_SIZE} to {LARGEST_SIZE}; choose a size in between"
        )
