"""What can go wrong with the pretend part: each defect changes a surface, never a picture."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dtgd_edge.pretend.surface import (
    BORE_CHAMFER,
    BORE_RADIUS,
    CORNER_AT,
    CORNER_HOLES,
    CORNER_RADIUS,
    CORNER_SINK,
    TAPPED_HOLES,
    Field,
    Pose,
    Surface,
    Tooling,
    machined,
    pixel_grid,
    smooth_noise,
)

Spoil = Callable[[np.random.Generator, Surface, float], Surface]


def spoiled(
    rng: np.random.Generator, good: Surface, defect: str, strength: float, pose: Pose, tooling: Tooling
) -> Surface:
    """Give a copy of a good surface one defect.

    Args:
        strength: 1 is usual; larger is deeper, darker or wider.
    """
    if defect == "missing_hole":
        return machined(pose, tooling, missing_hole=int(rng.integers(CORNER_HOLES + TAPPED_HOLES)))
    return _SPOILS[defect](rng, good, strength)


def _scratch(rng: np.random.Generator, good: Surface, strength: float) -> Surface:
    """Draw a hairline, one to two pixels wide at 320: a groove whose torn bottom shines or is dull."""
    x, y = _seen_from(good, _place(rng, good, 0.02))
    angle, half_length = rng.uniform(0, np.pi), rng.uniform(0.14, 0.38)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = (cos * x + sin * y) / np.float32(half_length), cos * y - sin * x
    across = across - np.float32(rng.uniform(-0.06, 0.06)) * along**2
    size = len(x)
    half_width = max(rng.uniform(0.5, 0.85) / 160, 0.75 / size) * strength**0.5
    line = np.exp(-((across / np.float32(half_width)) ** 2)) * np.clip(4 * (1 - np.abs(along)), 0, 1)
    line *= 0.75 + 0.25 * np.sin(along * np.float32(rng.uniform(4, 12)))
    glint = rng.choice([-0.34, 0.42]) * strength
    return replace(
        good,
        height=good.height - np.float32(0.35 * half_width) * line,
        reflectance=good.reflectance * (1 + np.float32(glint) * line),
    )


def _dent(rng: np.random.Generator, good: Surface, strength: float) -> Surface:
    """Press a shallow hollow with a raised rim."""
    radius = rng.uniform(0.05, 0.09)
    x, y = _seen_from(good, _place(rng, good, 0.05))
    stretch = rng.uniform(0.75, 1.3)
    q = ((x * np.float32(stretch)) ** 2 + (y / np.float32(stretch)) ** 2) * np.float32(radius**-2)
    depth = np.float32(radius * rng.uniform(0.20, 0.30) * strength)
    rim = np.exp(-np.square(np.sqrt(q) - np.float32(1.45)) * 12)
    hollow = depth * (np.exp(-(q**1.5)) - np.float32(0.16) * rim)
    return replace(good, height=good.height - hollow)


def _stain(rng: np.random.Generator, good: Surface, strength: float) -> Surface:
    """Leave a dried coolant film with a darker tide mark."""
    size = len(good.u)
    # Beside the bore, which would swallow most of it.
    towards, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.40, 0.62)
    u, v = good.u - np.float32(away * np.cos(towards)), good.v - np.float32(away * np.sin(towards))
    radius = rng.uniform(0.20, 0.32)
    ragged = 0.36 * smooth_noise(rng, size, 9) + 0.12 * smooth_noise(rng, size, 20)
    reach = np.sqrt(u * u + (v * np.float32(rng.uniform(0.8, 1.4))) ** 2)
    inside = 1 - reach * np.float32(1 / radius) + ragged
    film = np.clip(inside * 7, 0, 1)
    tide = np.exp(np.square((inside - np.float32(0.12)) * 10) * -1)
    cloud = np.float32(0.34) + np.float32(0.22) * smooth_noise(rng, size, 12) + np.float32(0.38) * tide
    cover = film * np.clip(cloud, 0.12, 1) * np.float32(strength * rng.uniform(0.85, 1.05))
    return replace(good, stain=np.clip(cover, 0, 1) * good.metal)


def _burr(rng: np.random.Generator, good: Surface, strength: float) -> Surface:
    """Leave a ragged lip of metal, bent over the edge of the bore or of a corner hole."""
    if rng.random() < 0.4:
        # Kept clear of the keyway, whose corners would cut the lip.
        centre, radius, sink, towards = (0.0, 0.0), BORE_RADIUS, BORE_CHAMFER, rng.uniform(-0.4, np.pi + 0.4)
        reach = rng.uniform(0.2, 0.45)
    else:
        centre = (CORNER_AT * rng.choice([-1, 1]), CORNER_AT * rng.choice([-1, 1]))
        radius, sink, towards = CORNER_RADIUS, CORNER_SINK, rng.uniform(-np.pi, np.pi)
        reach = rng.uniform(0.5, 1.1)
    u, v = good.u - np.float32(centre[0]), good.v - np.float32(centre[1])
    turn = (np.arctan2(v, u) - np.float32(towards) + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(
        np.pi
    )
    window = np.clip((1 - np.abs(turn) / np.float32(reach)) * 3, 0, 1)
    teeth = rng.uniform(0.35, 1.0, 24)
    jagged = np.interp(turn, np.linspace(-reach, reach, teeth.size), teeth).astype(np.float32)
    width = window * jagged * np.float32(rng.uniform(0.035, 0.055) * strength**0.5)
    outside = np.hypot(u, v) - np.float32(radius)
    pixels = np.float32(len(u) / 2)
    lip = np.clip((outside + width) * pixels + 0.5, 0, 1) * np.clip(
        (width * 0.6 - outside) * pixels + 0.5, 0, 1
    )
    lip *= window > 0
    crest = np.clip(1 - np.abs(outside + width * 0.3) / (width + np.float32(1e-4)), 0, 1) * window
    shine = 1 + lip * (0.25 * strength * (jagged - 0.4))
    # The lip stands up from the countersink, which it hides.
    height = good.height + lip * np.clip(-outside + sink, 0, sink) * np.float32(0.55) + crest * 0.02
    return replace(good, hole=good.hole * (1 - lip), height=height, reflectance=good.reflectance * shine)


def _pit(rng: np.random.Generator, good: Surface, strength: float) -> Surface:
    """Open one to four pores of the casting, each three to six pixels across at 320."""
    size = len(good.u)
    first = _place(rng, good, 0.03)
    hollow, dark = np.zeros_like(good.u), np.zeros_like(good.u)
    for number in range(int(rng.integers(1, 5))):
        at = first if number == 0 else (first[0] + rng.normal(0, 0.06), first[1] + rng.normal(0, 0.06))
        x, y = _seen_from(good, at)
        radius = max(rng.uniform(0.95, 1.8) / 160, 1.2 / size) * strength**0.5
        angle = rng.uniform(0, np.pi)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        q = (
            (cos * x + sin * y) ** 2 + ((cos * y - sin * x) * np.float32(rng.uniform(1, 1.5))) ** 2
        ) / radius**2
        dark = np.maximum(dark, np.clip(1.5 * np.exp(-q.astype(np.float32)), 0, 1))
        hollow = np.maximum(hollow, np.float32(radius) * np.exp(-q.astype(np.float32)))
    dark *= good.metal
    return replace(
        good,
        height=good.height - np.float32(0.5) * hollow * good.metal,
        reflectance=good.reflectance * (1 - np.float32(min(0.9, 0.62 * strength)) * dark),
    )


_SPOILS: dict[str, Spoil] = {"scratch": _scratch, "dent": _dent, "stain": _stain, "burr": _burr, "pit": _pit}

DEFECTS: tuple[str, ...] = ("scratch", "dent", "missing_hole", "stain", "burr", "pit")


def _place(rng: np.random.Generator, good: Surface, clearance: float) -> tuple[float, float]:
    """Choose a point of the open faces at least `clearance` away from every edge."""
    x, y = pixel_grid(len(good.u))
    rows, columns = np.nonzero(good.clearance > clearance)
    pick = int(rng.random() * len(rows))
    return float(x[rows[pick], columns[pick]]), float(y[rows[pick], columns[pick]])


def _seen_from(good: Surface, point: tuple[float, float]) -> tuple[Field, Field]:
    """Give every pixel's place relative to a point of the picture."""
    x, y = pixel_grid(len(good.u))
    return x - np.float32(point[0]), y - np.float32(point[1])
