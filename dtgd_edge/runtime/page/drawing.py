"""Verdicts as JPEG pictures for the page."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.runtime.overlay import marked_picture
from dtgd_edge.verdict import Region, Verdict

_QUALITY = 82


def jpeg_from_verdict(
    image: NDArray[Any] | None, verdict: Verdict, longest_px: int, sensor_bits: int
) -> bytes:
    """Draw a verdict on its picture, made smaller first: what it costs does not grow with the camera."""
    image, verdict = _fitted(image, verdict, longest_px)
    return _encoded(marked_picture(image, verdict, sensor_bits=sensor_bits))


def smaller_jpeg(jpeg: bytes, longest_px: int) -> bytes:
    """Make a thumbnail of a picture that `jpeg_from_verdict` made."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, "it was encoded here"
    scale = min(1.0, longest_px / max(picture.shape[:2]))
    return _encoded(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _fitted(
    image: NDArray[Any] | None, verdict: Verdict, longest_px: int
) -> tuple[NDArray[Any] | None, Verdict]:
    if image is None or image.ndim not in (2, 3) or not image.size:
        return image, verdict
    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image, verdict
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small_map = verdict.map
    if small_map is not None and small_map.shape == (height, width):
        small_map = np.asarray(cv2.resize(small_map, size, interpolation=cv2.INTER_AREA), np.float32)
    regions = tuple(_scaled(region, scale) for region in verdict.regions)
    return (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        replace(verdict, map=small_map, regions=regions),
    )


def _scaled(region: Region, scale: float) -> Region:
    return replace(
        region,
        x=round(region.x * scale),
        y=round(region.y * scale),
        width=max(1, round(region.width * scale)),
        height=max(1, round(region.height * scale)),
    )


def _encoded(picture: NDArray[Any]) -> bytes:
    is_encoded, buffer = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert is_encoded, f"JPEG of {picture.dtype} {picture.shape}"
    return bytes(buffer.tobytes())
