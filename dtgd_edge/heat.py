"""An anomaly map as heat on a picture, with one colour scale that hangs on the threshold alone.

The camera loop's overlays and the evaluation's report draw with it, so that a colour means the same
in both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STRONGEST = 0.6  # share of the heat colour where the map is highest; the part stays visible under it


def heat_range(threshold: float) -> tuple[float, float]:
    """The map values where heat begins and where it is strongest: half the threshold, and one and a half."""
    span = max(abs(threshold), 1e-6)
    return threshold - 0.5 * span, threshold + 0.5 * span


def draw_heat(picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> None:
    """Draw a map on a picture, in place.

    The scale is the same for every picture whatever its own maximum is: the picture of a good part stays
    clean.

    Args:
        picture: uint8 BGR [H, W, 3].
        anomaly_map: float32 [H, W], finite.
        threshold: see `heat_range`.
    """
    import cv2

    low, high = heat_range(threshold)
    left, top, width, height = cv2.boundingRect(np.asarray(anomaly_map > low, np.uint8))
    if not width:
        return
    inside = slice(top, top + height), slice(left, left + width)
    heat = np.clip((anomaly_map[inside] - low) / (high - low), 0.0, 1.0)
    colours = cv2.applyColorMap(np.asarray(128 + 96 * heat, np.uint8), cv2.COLORMAP_TURBO)
    alpha = (STRONGEST * heat)[:, :, None]
    picture[inside] = np.asarray(picture[inside] * (1 - alpha) + colours * alpha, np.uint8)


def bgr_from_image(image: NDArray[Any], sensor_bits: int = 16) -> NDArray[np.uint8]:
    """A fresh 8-bit colour picture to draw on.

    Args:
        image: uint8 or uint16, [H, W], [H, W, 1], BGR [H, W, 3] or BGRA [H, W, 4].
        sensor_bits: significant bits of a 16-bit image.

    Returns:
        uint8 BGR [H, W, 3], contiguous.
    """
    if image.dtype == np.uint16:
        image = np.minimum(image >> (sensor_bits - 8), 255)
    eight = np.array(image, np.uint8)
    if eight.ndim == 2 or eight.shape[2] == 1:
        eight = np.repeat(eight.reshape(*eight.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(eight[:, :, :3])
