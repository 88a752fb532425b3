"""Frames to time a bundle with: its own golden frames, enlarged to a camera's size."""

import re

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import ConfigError

_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")


def frame_size(text: str) -> tuple[int, int]:
    """Read "640x480" (width x height) as (height, width).

    Raises:
        ConfigError: it is not of that form.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(f"frame size {text!r} was given; expected WIDTHxHEIGHT in pixels, as 640x480")
    return int(match[2]), int(match[1])


def bench_pictures(bundle: Bundle, frame_hw: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Make camera frames from a bundle's golden frames: uint8 BGR [*frame_hw, 3] each."""
    import cv2

    size = (frame_hw[1], frame_hw[0])
    return [
        np.asarray(cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_RGB2BGR), np.uint8)
        for frame in bundle.golden.frames
    ]
