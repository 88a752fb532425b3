"""The pretend part without light: a milled plate with a turned boss, a bore with a keyway, and ten holes.

Lengths are in half picture widths: the picture spans [-1, 1] in x (right) and y (down), the part's own
coordinates u and v are x and y moved and turned by its pose.
"""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

PLATE_HALF, PLATE_CORNER, PLATE_CHAMFER = 0.80, 0.15, 0.030
BOSS_RADIUS, BOSS_WALL = 0.475, 0.036
BORE_RADIUS, BORE_CHAMFER = 0.225, 0.032
KEYWAY_HALF_WIDTH, KEYWAY_DEPTH = 0.055, 0.075
CORNER_AT, CORNER_RADIUS, CORNER_SINK = 0.60, 0.072, 0.036
TAPPED_AT, TAPPED_RADIUS, TAPPED_SINK = 0.355, 0.034, 0.014
CORNER_HOLES, TAPPED_HOLES = 4, 6
CODE_AT, CODE_HALF, CODE_CELLS = (0.0, 0.635), 0.095, 12

# Slope of every chamfer and wall as the light sees it; steeper ones turn into black and white outlines.
_SLOPE = 0.55
# Radius of the face mill, whose tool marks are arcs across the plate.
_CUTTER_RADIUS = 1.1
_PROFILE_CELLS = 2048
# Farther than any distance in the picture: a hole there has not been drilled.
_ABSENT = 9.0


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where the part lies in its fixture.

    Attributes:
        shift_x, shift_y: half picture widths.
        turn: radians.
    """

    shift_x: float
    shift_y: float
    turn: float


@dataclass(frozen=True, slots=True, eq=False)
class Tooling:
    """The tool marks of one part: relative brightness along the two tool paths.

    Attributes:
        turned, milled: float32 [2048] over a path of length 4, standard deviation about 1.
        grain: float32 [S, S], standard deviation about 1.
        blotches: float32 [S, S], in [-1, 1], slow changes of the surface finish.
    """

    turned: Field
    milled: Field
    grain: Field
    blotches: Field


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A part as it lies there, before light falls on it. All fields are float32 [S, S].

    Attributes:
        u, v: part coordinates of every pixel, half picture widths.
        height: continuous height, half picture widths; chamfers and walls are its slopes.
        reflectance: 1 is clean bare metal.
        stain: 0 is clean, 1 is the thickest film.
        plate: share of the pixel that lies within the plate's outline, holes included.
        hole: share of the pixel that is open hole.
        boss: share of the pixel that is on the boss.
        clearance: distance to the nearest edge of anything, negative in holes and off the part.
    """

    u: Field
    v: Field
    height: Field
    reflectance: Field
    stain: Field
    plate: Field
    hole: Field
    boss: Field
    clearance: Field

    @property
    def metal(self) -> Field:
        """Share of the pixel that is metal of the part."""
        return self.plate * (1 - self.hole)


@lru_cache(maxsize=4)
def pixel_grid(size: int) -> tuple[Field, Field]:
    """Give x and y of the pixel centres, each float32 [S, S] in [-1, 1]; shared, so read-only."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, None], (size, size))
    return x, y


def draw_tooling(rng: np.random.Generator, size: int) -> Tooling:
    """Draw the tool marks of one part at a picture size."""
    return Tooling(
        turned=_profile(rng, size, feed=0.030),
        milled=_profile(rng, size, feed=0.060),
        blotches=smooth_noise(rng, size, 5),
        grain=rng.standard_normal((size, size), dtype=np.float32),
    )


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """Enlarge a random grid smoothly to float32 [S, S], roughly in [-1, 1]."""
    import cv2

    grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def machined(pose: Pose, tooling: Tooling, missing_hole: int | None = None) -> Surface:
    """Machine the part.

    Args:
        missing_hole: which of the ten holes to leave out (0-3 corner, 4-9 tapped); None for a good part.
    """
    size = len(tooling.grain)
    x, y = pixel_grid(size)
    u, v = part_coordinates(x, y, pose)
    rho = np.sqrt(u * u + v * v)
    outline = plate_distance(u, v)
    boss = rho - np.float32(BOSS_RADIUS)
    bore = np.minimum(rho - np.float32(BORE_RADIUS), _keyway_distance(u, v))
    corner, tapped = _hole_distances(u, v, rho, missing_hole)

    height = _rise(-outline, PLATE_CHAMFER) + _rise(-boss, BOSS_WALL)
    height -= _rise(np.float32(BORE_CHAMFER) - bore, BORE_CHAMFER)
    height -= _rise(CORNER_SINK - corner, CORNER_SINK) + _rise(TAPPED_SINK - tapped, TAPPED_SINK)
    wall = np.float32(BOSS_WALL / 2)
    edges = (bore - BORE_CHAMFER, corner - CORNER_SINK, tapped - TAPPED_SINK, np.abs(boss + wall) - wall)

    on_boss = _share(boss, size)
    turned, milled = _along(tooling.turned, rho), _along(tooling.milled, _cutter(u, v))
    marks = on_boss * turned + (1 - on_boss) * 0.8 * milled
    reflectance = 1 + 0.030 * marks + 0.018 * tooling.grain + 0.02 * tooling.blotches
    # The boss keeps some of the sky from the plate at its foot.
    reflectance *= 1 - np.float32(0.16) * (1 - on_boss) * np.clip(1 - boss * np.float32(1 / 0.07), 0, 1)
    reflectance *= 1 - np.float32(0.42) * _engraving(pose, size)
    return Surface(
        u=u,
        v=v,
        height=height,
        reflectance=reflectance,
        stain=np.zeros_like(u),
        plate=_share(outline, size),
        hole=_share(np.minimum(np.minimum(bore, corner), tapped), size),
        boss=on_boss,
        clearance=reduce(np.minimum, edges, -outline - np.float32(PLATE_CHAMFER)),
    )


def part_coordinates(x: Field, y: Field, pose: Pose) -> tuple[Field, Field]:
    """Turn picture coordinates into part coordinates."""
    cos, sin = np.float32(np.cos(pose.turn)), np.float32(np.sin(pose.turn))
    x, y = x - np.float32(pose.shift_x), y - np.float32(pose.shift_y)
    return cos * x + sin * y, cos * y - sin * x


def plate_distance(u: Field, v: Field) -> Field:
    """Give the signed distance to the plate's outline, negative inside."""
    over_u = np.abs(u) - np.float32(PLATE_HALF - PLATE_CORNER)
    over_v = np.abs(v) - np.float32(PLATE_HALF - PLATE_CORNER)
    outside = np.sqrt(np.maximum(over_u, 0) ** 2 + np.maximum(over_v, 0) ** 2)
    return np.asarray(
        outside + np.minimum(np.maximum(over_u, over_v), 0) - np.float32(PLATE_CORNER), np.float32
    )


def _keyway_distance(u: Field, v: Field) -> Field:
    across = np.abs(u) - np.float32(KEYWAY_HALF_WIDTH)
    along = np.abs(v + np.float32(BORE_RADIUS)) - np.float32(KEYWAY_DEPTH)
    return np.asarray(np.maximum(across, along), np.float32)


def _hole_distances(u: Field, v: Field, rho: Field, missing: int | None) -> tuple[Field, Field]:
    """Give the distances to the corner holes and to the tapped holes, each group folded onto one hole."""
    corner = np.sqrt((np.abs(u) - np.float32(CORNER_AT)) ** 2 + (np.abs(v) - np.float32(CORNER_AT)) ** 2)
    sector = np.float32(2 * np.pi / TAPPED_HOLES)
    theta = np.arctan2(v, u)
    number = np.rint(theta / sector)
    folded = theta - number * sector
    tapped = np.sqrt((rho * np.cos(folded) - np.float32(TAPPED_AT)) ** 2 + (rho * np.sin(folded)) ** 2)
    if missing is not None and missing < CORNER_HOLES:
        corner[((u > 0) == (missing % 2 == 1)) & ((v > 0) == (missing >= 2))] = _ABSENT
    elif missing is not None:
        tapped[number % TAPPED_HOLES == missing - CORNER_HOLES] = _ABSENT
    return corner - np.float32(CORNER_RADIUS), tapped - np.float32(TAPPED_RADIUS)


def _rise(inward: Field, width: float) -> Field:
    """Rise from an edge inwards over a chamfer's width, then stay level."""
    return np.asarray(np.clip(inward, 0, np.float32(width)) * np.float32(_SLOPE), np.float32)


def _share(distance: Field, size: int) -> Field:
    """Turn a signed distance into the share of the pixel that lies inside."""
    return np.asarray(np.clip(np.float32(0.5) - distance * np.float32(size / 2), 0, 1), np.float32)


def _cutter(u: Field, v: Field) -> Field:
    """Give the feed position at which the face mill's edge passed over a point."""
    edge = np.sqrt(np.float32(_CUTTER_RADIUS**2) - np.clip(v, -1.05, 1.05) ** 2)
    return np.asarray(u + edge, np.float32)


def _along(profile: Field, position: Field) -> Field:
    """Look a profile up at positions in [-2, 2]."""
    cell = np.clip((position + 2) * np.float32(_PROFILE_CELLS / 4), 0, _PROFILE_CELLS - 1)
    return np.asarray(profile[cell.astype(np.int32)], np.float32)


def _profile(rng: np.random.Generator, size: int, feed: float) -> Field:
    """Draw tool marks: the feed's regular ridges with irregular depth, and finer chatter."""
    position = np.arange(_PROFILE_CELLS) * (4 / _PROFILE_CELLS)
    ridges = np.sin(2 * np.pi * (position / feed + rng.uniform()))
    depth = 0.4 + 0.6 * np.repeat(rng.uniform(0, 1, _PROFILE_CELLS // 32), 32)
    chatter = rng.standard_normal(_PROFILE_CELLS)
    # Nothing finer than a pixel, or small pictures would show moiré.
    window = max(1, round(_PROFILE_CELLS / 2 / size))
    marks = 0.7 * np.convolve(ridges * depth, np.ones(window) / window, "same")
    marks += np.convolve(chatter, np.ones(2 * window) / (2 * window) ** 0.5, "same") * 0.8
    return marks.astype(np.float32)


def _engraving(pose: Pose, size: int) -> Field:
    """Give the laser-marked code's coverage in the picture."""
    import cv2

    stamp = _stamp(size)
    cos, sin = np.cos(pose.turn), np.sin(pose.turn)
    left, top = CODE_AT[0] - len(stamp) / size, CODE_AT[1] - len(stamp) / size
    right = (cos * left - sin * top + pose.shift_x + 1) * size / 2
    down = (sin * left + cos * top + pose.shift_y + 1) * size / 2
    onto = np.array([[cos, -sin, right], [sin, cos, down]])
    return np.asarray(cv2.warpAffine(stamp, onto, (size, size), flags=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=4)
def _stamp(size: int) -> Field:
    """Draw a code like a Data Matrix at its size in the picture; every part carries the same."""
    import cv2

    cells = np.random.default_rng(704).random((CODE_CELLS, CODE_CELLS)) < 0.5
    cells[:, 0] = cells[-1, :] = True
    cells[0, :] = cells[::-1, -1] = np.arange(CODE_CELLS) % 2 == 0
    fine = np.kron(cells, np.ones((16, 16))).astype(np.float32)
    side = max(4, round(CODE_HALF * size))
    return np.pad(np.asarray(cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA), np.float32), 1)
