"""Procedural textures: colour fields drawn from a random generator, no foreign pictures needed.

Used as the material of synthetic anomalies and as the pictures on which the shipped teacher was
distilled. numpy and cv2 only.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Picture = NDArray[np.uint8]


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Draw value noise: a random grid of `cells`, enlarged smoothly to `size_hw`.

    Returns:
        float32 [H, W], roughly in [-1, 1].
    """
    grid = rng.uniform(-1, 1, (cells[0] + 3, cells[1] + 3)).astype(np.float32)
    height, width = size_hw
    # One spare cell on each side keeps the cubic kernel's border effect outside the picture.
    large = cv2.resize(
        grid,
        (round(width * grid.shape[1] / cells[1]), round(height * grid.shape[0] / cells[0])),
        interpolation=cv2.INTER_CUBIC,
    )
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def fractal_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Sum octaves of smooth noise with a random roll-off, possibly stretched in one direction."""
    stretch = 2.0 ** rng.uniform(-2.5, 2.5)
    persistence = rng.uniform(0.4, 0.95)
    field = np.zeros(size_hw, np.float32)
    for octave in range(int(rng.integers(0, 4)), 7):
        cells = 2.0**octave
        cells_hw = (
            int(np.clip(cells * stretch**0.5, 1, size_hw[0])),
            int(np.clip(cells / stretch**0.5, 1, size_hw[1])),
        )
        field += persistence**octave * smooth_noise(rng, size_hw, cells_hw)
    return _standardised(field)


def waves(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Draw one or two warped gratings: stripes, weaves, ripples."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    warp = rng.uniform(0, 12) * smooth_noise(rng, size_hw, (3, 3))
    field = np.ones(size_hw, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), 2.0 ** rng.uniform(1.8, 5.5)
        phase = (x * np.cos(angle) + y * np.sin(angle) + warp) * (2 * np.pi / period)
        wave = np.sin(phase)
        field = field * wave if rng.random() < 0.5 else field + wave
    sharpness = rng.choice([1.0, 4.0])
    return _standardised(np.tanh(sharpness * field))


def cells(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Draw Voronoi cells: shaded by distance, filled flat, or as a network of joints."""
    count = int(2.0 ** rng.uniform(3, 8))
    seeds = np.full(size_hw, 255, np.uint8)
    rows, columns = rng.integers(0, size_hw[0], count), rng.integers(0, size_hw[1], count)
    seeds[rows, columns] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    style = rng.integers(3)
    if style == 0:
        return _standardised(distance)
    flat = rng.uniform(-1, 1, int(labels.max()) + 1).astype(np.float32)[labels]
    if style == 1:
        return _standardised(flat)
    joints = cv2.morphologyEx(flat, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return _standardised(cv2.GaussianBlur(joints.astype(np.float32), (0, 0), rng.uniform(0.5, 2.0)))


def leaves(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Draw a dead-leaves field: overlapping shapes whose sizes follow a power law.

    Its edges and occlusions have the statistics of photographs (Lee, Mumford, Huang 2001).
    """
    field = np.zeros(size_hw, np.float32)
    span = max(size_hw)
    for _ in range(int(rng.integers(30, 160))):
        radius = span * 0.01 * (0.001 + rng.random() * 0.999) ** -0.5
        radius = float(np.clip(radius, 1.5, span * 0.4))
        centre = rng.uniform(0, 1, 2) * (size_hw[1], size_hw[0])
        _fill_shape(rng, field, centre, radius, float(rng.uniform(-1, 1)))
    return _standardised(field)


def speckles(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Draw grains, pores or fibres on an even ground."""
    field = np.zeros(size_hw, np.float32)
    length, thickness = 2.0 ** rng.uniform(0, 5.5), int(rng.integers(1, 4))
    for _ in range(int(rng.integers(20, 220))):
        start = rng.uniform(0, 1, 2) * (size_hw[1], size_hw[0])
        angle = rng.uniform(0, 2 * np.pi)
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(field, _point(start), _point(end), float(rng.uniform(-1, 1)), thickness, cv2.LINE_AA)
    return _standardised(field)


FIELDS: tuple[Callable[[np.random.Generator, tuple[int, int]], Field], ...] = (
    fractal_noise,
    waves,
    cells,
    leaves,
    speckles,
)


def texture(rng: np.random.Generator, size_hw: tuple[int, int]) -> Picture:
    """Draw one colour texture.

    Returns:
        uint8 [H, W, 3].
    """
    field = FIELDS[rng.integers(len(FIELDS))](rng, size_hw)
    if rng.random() < 0.4:
        other = FIELDS[rng.integers(len(FIELDS))](rng, size_hw)
        field = field + rng.uniform(0.2, 1.0) * other
    return colourised(rng, field)


def colourised(rng: np.random.Generator, field: Field) -> Picture:
    """Map a scalar field to colours along a random palette of three to five stops."""
    stops = rng.integers(3, 6)
    palette = rng.uniform(0, 255, (stops, 3))
    if rng.random() < 0.4:  # nearly grey, as most industrial surfaces are
        palette = palette.mean(1, keepdims=True) + rng.normal(0, 6, (stops, 3))
    # A palette as a table of 256 colours, so that a picture is one look-up.
    at = np.linspace(0, stops - 1, 256)
    table = np.stack([np.interp(at, np.arange(stops), palette[:, c]) for c in range(3)], -1)
    index = np.clip((field * rng.uniform(0.15, 0.35) + rng.uniform(0.35, 0.65)) * 255, 0, 255)
    noise = rng.normal(0, rng.uniform(0, 6), (*field.shape, 1)).astype(np.float32)
    return np.clip(table.astype(np.float32)[index.astype(np.uint8)] + noise, 0, 255).astype(np.uint8)


def _standardised(field: Field) -> Field:
    return ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))


def _fill_shape(
    rng: np.random.Generator,
    field: Field,
    centre: NDArray[np.float64],
    radius: float,
    value: float,
) -> None:
    kind = rng.integers(3)
    angle = rng.uniform(0, 180)
    if kind == 0:
        axes = _point(np.array([radius, radius * rng.uniform(0.3, 1.0)]))
        cv2.ellipse(field, _point(centre), axes, angle, 0, 360, value, -1, cv2.LINE_AA)
        return
    if kind == 1:
        corners = cv2.boxPoints((tuple(centre), (2 * radius, radius * rng.uniform(0.2, 2.0)), angle))
    else:
        turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        reach = radius * rng.uniform(0.4, 1.0, turns.size)
        corners = centre + np.stack([np.cos(turns), np.sin(turns)], -1) * reach[:, None]
    cv2.fillPoly(field, [np.round(corners).astype(np.int32)], value, cv2.LINE_AA)
