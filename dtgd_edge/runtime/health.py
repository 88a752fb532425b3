"""Whether a frame can be judged at all. Cheap: it looks at a thin sample of the pixels."""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.appearance import Appearance, FrameStatistics
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.light import AppearanceLimits, appearance_fault
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
        still_frames: so many nearly equal live frames in a row are one too: a decoder or a driver that
            repeats a picture, perhaps with a clock in it.
        still_share: two frames are nearly equal when fewer of their pixels differ, as a share of those
            that are not at an end of the scale. Noise of a twentieth of a grey level, less than any
            sensor's, already changes one pixel in twenty between two frames of a still scene; a camera or
            stream that smooths noise away may need 0, which switches it off.
        stale_ms: a live frame older than this when it is judged is a picture of the past.
        appearance: light, focus and colours against the bundle's normal frames.
    """

    black: float = 0.04
    white: float = 0.96
    contrast: float = 0.02
    frozen_frames: int = 5
    still_frames: int = 10
    still_share: float = 0.005
    stale_ms: float = 2000.0
    appearance: AppearanceLimits = field(default_factory=AppearanceLimits)

    def __post_init__(self) -> None:
        # Written as "not within", so that NaN is refused too.
        if not 0 <= self.black < self.white <= 1 or not 0 <= self.contrast <= 1:
            raise ConfigError(
                f"health black {self.black}, white {self.white} and contrast {self.contrast} are impossible; "
                "expected shares of full scale, black below white; use 0.04, 0.96 and 0.02"
            )
        if self.frozen_frames < 2 or self.still_frames < 2 or not 0 <= self.still_share < 1:
            raise ConfigError(
                f"health frozen_frames {self.frozen_frames}, still_frames {self.still_frames} and "
                f"still_share {self.still_share} are impossible; expected at least 2 frames, and a share"
            )
        if not self.stale_ms > 0:
            raise ConfigError(f"health stale_ms {self.stale_ms} is impossible; expected more than 0")


USUAL_LIMITS = HealthLimits()


class Gate(Protocol):
    """Says why a frame cannot be judged, or None."""

    def fault(self, frame: Frame) -> str | None:
        """Judge a frame as it came from the source."""
        ...

    def appearance_fault(self, appearance: Appearance) -> str | None:
        """Judge the same frame after the geometry."""
        ...


class HealthGate:
    """Finds lost, wrongly sized, black, white, frozen, stale, badly lit, blurred and recoloured frames.

    Reasons read "kind: detail", so that a run can count the kinds.

    Args:
        frame_size_hw: height and width that frames must have; None: any (a live source must then keep
            the size of its first frame).
        is_live: whether frames arrive by themselves; only then can they be frozen or stale.
        limits: beyond which a frame is not judged.
        sensor_bits: significant bits of a 16-bit frame.
        statistics: what the bundle's normal frames look like; None: light, focus and colours are not
            compared.
    """

    def __init__(
        self,
        frame_size_hw: tuple[int, int] | None,
        is_live: bool,
        limits: HealthLimits = USUAL_LIMITS,
        *,
        sensor_bits: int = 16,
        statistics: FrameStatistics | None = None,
    ) -> None:
        self._size_hw = frame_size_hw
        self._is_live = is_live
        self._limits = limits
        self._full_scale_16 = (1 << sensor_bits) - 1
        self._statistics = statistics
        self._previous: NDArray[Any] | None = None
        self._equals = self._near_equals = 1

    def fault(self, frame: Frame) -> str | None:
        """Say why a frame cannot be judged; None when it can. Call it once per frame, in order."""
        image = frame.image
        if image is None:
            return frame.fault or "lost frame: the source gave no picture"
        if reason := _layout_fault(image):
            return reason
        if reason := self._size_fault((image.shape[0], image.shape[1])):
            return reason
        step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _SAMPLED_PX))
        sample = image[::step, ::step].copy()  # a source may use its buffer again
        if reason := self._light_fault(sample):
            return reason
        if self._is_live:
            return self._frozen_fault(sample) or self._stale_fault(frame)
        return None

    def appearance_fault(self, appearance: Appearance) -> str | None:
        """Say how a prepared frame differs from the bundle's normal frames; None when it does not."""
        if self._statistics is None:
            return None
        return appearance_fault(appearance, self._statistics, self._limits.appearance)

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
        previous, self._previous = self._previous, sample
        if previous is None or previous.shape != sample.shape or previous.dtype != sample.dtype:
            self._equals = self._near_equals = 1
            return None
        differs = sample != previous
        changed = np.count_nonzero(differs)
        self._equals = 1 if changed else self._equals + 1
        self._near_equals = self._near_equals + 1 if self._is_near_equal(sample, differs) else 1
        if self._equals >= self._limits.frozen_frames:
            return f"frozen: the same picture {self._equals} times in a row; restart the camera"
        if self._near_equals >= self._limits.still_frames:
            return (
                f"nearly frozen: {self._near_equals} pictures in a row differ by less than a sensor's noise; "
                "restart the camera, or lower still_share if it smooths noise away"
            )
        return None

    def _is_near_equal(self, sample: NDArray[Any], differs: NDArray[np.bool_]) -> bool:
        if np.count_nonzero(differs) > self._limits.still_share * differs.size:
            return False
        # A clipped pixel has no noise, so that it says nothing.
        full_scale = 255 if sample.dtype == np.uint8 else self._full_scale_16
        speaks = (sample > 0) & (sample < full_scale)
        changed = np.count_nonzero(differs & speaks)
        # Even three standard deviations more than were counted would be too few: few pixels decide nothing.
        return bool(
            changed + 3 * math.sqrt(changed + 1) < self._limits.still_share * np.count_nonzero(speaks)
        )

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
