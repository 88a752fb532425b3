"""Whether a frame can be judged at all. Cheap: it looks at a thin sample of the pixels."""

import time
import zlib
from dataclasses import dataclass
from math import isqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.runtime.source import Frame

# Pixels looked at, per frame; a 1080p frame is sampled every 11th row and column.
_SAMPLED_PX = 16_384


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Beyond which a frame is not judged.

    Attributes:
        black: mean brightness below it is black, as a share of full scale.
        white: mean brightness above it is white, as a share of full scale.
        contrast: only with a standard deviation below it, as a share of full scale, is a frame black or
            white; a dark picture of something is a picture.
        frozen_frames: so many equal live frames in a row are a frozen camera. Sensor noise makes two
            equal frames impossible, but a compressed stream of a still scene can repeat itself.
        stale_ms: a live frame older than this when it is judged is a picture of the past.
    """

    black: float = 0.04
    white: float = 0.96
    contrast: float = 0.02
    frozen_frames: int = 5
    stale_ms: float = 2000.0


class Gate(Protocol):
    """Says why a frame cannot be judged, or None."""

    def fault(self, frame: Frame) -> str | None: ...


class HealthGate:
    """Finds lost, wrongly sized, black, white, frozen and stale frames.

    Reasons read "kind: detail", so that a run can count the kinds.

    Args:
        frame_size_hw: height and width that frames must have; None: any (a live source must then keep
            the size of its first frame).
        is_live: whether frames arrive by themselves; only then can they be frozen or stale.
        limits: beyond which a frame is not judged.
        sensor_bits: significant bits of a 16-bit frame.
    """

    def __init__(
        self,
        frame_size_hw: tuple[int, int] | None,
        is_live: bool,
        limits: HealthLimits = HealthLimits(),
        *,
        sensor_bits: int = 16,
    ) -> None:
        self._size_hw = frame_size_hw
        self._is_live = is_live
        self._limits = limits
        self._full_scale_16 = (1 << sensor_bits) - 1
        self._digest: int | None = None
        self._repeats = 0

    def fault(self, frame: Frame) -> str | None:
        """Say why a frame cannot be judged; None when it can. Call it once per frame, in order."""
        image = frame.image
        if image is None:
            return frame.fault or "lost frame: the source gave no picture"
        if reason := _layout_fault(image):
            return reason
        if reason := self._size_fault((image.shape[0], image.shape[1])):
            return reason
        step = max(1, isqrt(image.shape[0] * image.shape[1] // _SAMPLED_PX))
        sample = np.ascontiguousarray(image[::step, ::step])
        if reason := self._light_fault(sample):
            return reason
        if self._is_live:
            return self._frozen_fault(sample) or self._stale_fault(frame)
        return None

    def _size_fault(self, size_hw: tuple[int, int]) -> str | None:
        if self._size_hw is None:
            if self._is_live:
                # A stream that comes back from a fault may come back in another size.
                self._size_hw = size_hw
            return None
        if size_hw != tuple(self._size_hw):
            height, width = self._size_hw
            return (
                f"wrong size: the frame has {size_hw[1]}x{size_hw[0]} px, expected {width}x{height}; "
                "set the camera to that format"
            )
        return None

    def _light_fault(self, sample: NDArray[Any]) -> str | None:
        full_scale = 255 if sample.dtype == np.uint8 else self._full_scale_16
        limits = self._limits
        mean = float(sample.mean()) / full_scale
        # The mean is cheap and nearly always clears the frame; the deviation is not.
        if limits.black <= mean <= limits.white or float(sample.std()) / full_scale >= limits.contrast:
            return None
        if mean < limits.black:
            return f"black: {mean:.1%} of full scale and no contrast; check light, lens cap and exposure"
        return f"white: {mean:.1%} of full scale and no contrast; check light and exposure"

    def _frozen_fault(self, sample: NDArray[Any]) -> str | None:
        digest = zlib.crc32(sample.data)
        self._repeats = self._repeats + 1 if digest == self._digest else 1
        self._digest = digest
        if self._repeats >= max(2, self._limits.frozen_frames):
            return f"frozen: the same picture {self._repeats} times in a row; restart the camera"
        return None

    def _stale_fault(self, frame: Frame) -> str | None:
        age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
        if age_ms > self._limits.stale_ms:
            return f"stale: the frame is {age_ms:.0f} ms old, expected at most {self._limits.stale_ms:.0f} ms"
        return None


def _layout_fault(image: NDArray[Any]) -> str | None:
    is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    if is_image and image.size and image.dtype in (np.uint8, np.uint16):
        return None
    return (
        f"wrong layout: the frame is {image.dtype} {list(image.shape)}, "
        "expected uint8 or uint16, [H, W] or [H, W, 3]; set the camera to that format"
    )
