"""What a prepared frame looks like in a handful of numbers, and what normal frames look like.

Export measures the held-out good frames, the line measures every frame, both after `Geometry.apply`, so
that they speak of the same pixels: what the graph cannot see does not matter, and what it sees does.
May import numpy and the standard library; cv2 inside functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isqrt

import numpy as np
from numpy.typing import NDArray

# Grey levels at the ends of the scale that count as clipped: averaging leaves few pixels exactly there.
DARK_END, BRIGHT_END = 2, 253

# Colours are looked at on so many pixels, spread evenly.
_SAMPLED_PX = 4096


@dataclass(frozen=True, slots=True)
class Appearance:
    """Light, focus and colours of one prepared frame.

    Attributes:
        brightness: mean grey, as a share of full scale.
        clipped_dark, clipped_bright: share of pixels at either end of the scale.
        sharpness: energy of the second derivatives over that of the first, at half the size. Light and
            contrast cancel out, pixel noise nearly does; 0 for a flat frame.
        red, blue: mean share of that channel in the sum of the three.
        spread_lean: (spread of red - spread of blue) / their sum; changes its sign when the two are
            exchanged.
        correlation_lean: correlation of red and green less that of green and blue; changes its sign too.
        colourfulness: mean distance between a pixel's largest and smallest channel, as a share of full
            scale; exactly 0 when the camera gives grey pictures.
    """

    brightness: float
    clipped_dark: float
    clipped_bright: float
    sharpness: float
    red: float
    blue: float
    spread_lean: float
    correlation_lean: float
    colourfulness: float

    @property
    def mean_lean(self) -> float:
        """Share of red less that of blue; changes its sign when the two are exchanged."""
        return self.red - self.blue


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """Between what bounds the appearance of normal frames lies.

    Attributes:
        frames: number of normal frames that were measured.
        lowest, highest: smallest and largest value of each number.
    """

    frames: int
    lowest: Appearance
    highest: Appearance


def appearance_of(frame: NDArray[np.uint8]) -> Appearance:
    """Measure one frame.

    Args:
        frame: uint8 [H, W, 3], RGB, as returned by Geometry.apply.
    """
    import cv2

    grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    step = max(1, isqrt(grey.size // _SAMPLED_PX))
    sample = np.ascontiguousarray(frame[::step, ::step].reshape(-1, 3).T)  # [3, samples]
    distance = sample.max(0) - sample.min(0)
    values = sample.astype(np.float32)
    means = values.mean(1)
    red, green, blue = (float(mean) for mean in means)
    total = max(red + green + blue, 1e-9)
    values -= means[:, None]
    (rr, rg, _), (_, gg, gb), (_, _, bb) = (values @ values.T).tolist()
    return Appearance(
        brightness=float(cv2.mean(grey)[0]) / 255,
        clipped_dark=float(counts[: DARK_END + 1].sum()) / grey.size,
        clipped_bright=float(counts[BRIGHT_END:].sum()) / grey.size,
        sharpness=_sharpness(grey),
        red=red / total,
        blue=blue / total,
        spread_lean=_ratio(rr**0.5 - bb**0.5, rr**0.5 + bb**0.5),
        correlation_lean=_ratio(rg, (rr * gg) ** 0.5) - _ratio(gb, (gg * bb) ** 0.5),
        colourfulness=float(distance.mean()) / 255,
    )


def statistics_of(frames: Iterable[NDArray[np.uint8]]) -> FrameStatistics | None:
    """Measure normal frames.

    Args:
        frames: as `appearance_of` takes them.

    Returns:
        None without any frame.
    """
    looks = [appearance_of(frame) for frame in frames]
    if not looks:
        return None
    columns = {field.name: [getattr(look, field.name) for look in looks] for field in fields(Appearance)}
    return FrameStatistics(
        len(looks),
        Appearance(**{name: min(column) for name, column in columns.items()}),
        Appearance(**{name: max(column) for name, column in columns.items()}),
    )


def _sharpness(grey: NDArray[np.uint8]) -> float:
    import cv2

    height, width = grey.shape
    # At half the size pixel noise has lost three quarters of its energy, and defocus hardly any.
    small = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA).astype(np.int16)
    across, down = cv2.Sobel(small, cv2.CV_16S, 1, 0, ksize=1), cv2.Sobel(small, cv2.CV_16S, 0, 1, ksize=1)
    slope = cv2.norm(across, cv2.NORM_L2SQR) + cv2.norm(down, cv2.NORM_L2SQR)
    bend = cv2.norm(cv2.Laplacian(small, cv2.CV_16S), cv2.NORM_L2SQR)
    return _ratio(bend, slope)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 1e-9 else 0.0
