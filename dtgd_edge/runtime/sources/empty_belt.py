"""What a belt looks like without a part, and which of its pixels have changed."""

from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError
from dtgd_edge.pictures import read_picture
from dtgd_edge.runtime.source_config import PartGateConfig

# A part is told from the belt in a fraction of a millisecond, whatever the camera's size.
_SAMPLE_PIXELS = 10_000


class EmptyBelt:
    """Compares frames with the empty belt, in the region and on a thin sample of its pixels.

    Args:
        config: the region, the reference or how it is learned, and what a change is.

    Raises:
        DataError: the reference cannot be read.
        ConfigError: the region reaches beyond the reference.
    """

    def __init__(self, config: PartGateConfig) -> None:
        self._config = config
        self._size_hw: tuple[int, int] | None = None
        self._reference: NDArray[np.float32] | None = None
        self._samples: list[NDArray[Any]] = []
        if config.reference:
            image = read_picture(Path(config.reference).expanduser())
            self._take_size(image)
            self._reference = self._share_of_full_scale(self._sample(image))

    @property
    def is_known(self) -> bool:
        """Whether frames can be compared with it."""
        return self._reference is not None

    @property
    def learned(self) -> str:
        """How far learning has come: "3 of 15 frames"."""
        return f"{len(self._samples)} of {self._config.learn_frames} frames"

    def fault(self, image: NDArray[Any]) -> str | None:
        """Why a picture cannot be compared: it has another size than those before or than the reference."""
        if self._size_hw is None or image.shape[:2] == self._size_hw:
            return None
        (height, width), (expected_height, expected_width) = image.shape[:2], self._size_hw
        return (
            f"changed format: {width}x{height} px, expected {expected_width}x{expected_height} px as the "
            "empty belt has; set the camera as it was, or take the part gate's reference again"
        )

    def learn(self, image: NDArray[Any]) -> None:
        """Take one more of the first pictures; after `learn_frames` of them the belt is known.

        Args:
            image: uint8 or uint16, [H, W] or BGR [H, W, 3].

        Raises:
            ConfigError: the region reaches beyond the picture.
        """
        if self._size_hw is None:
            self._take_size(image)
        # Copied, because a view would keep every whole frame.
        self._samples.append(self._sample(image).copy())
        if len(self._samples) >= self._config.learn_frames:
            middle = np.median(np.stack([self._share_of_full_scale(s) for s in self._samples]), axis=0)
            self._reference = middle.astype(np.float32)
            self._samples.clear()

    def changed(self, image: NDArray[Any]) -> NDArray[np.bool_]:
        """Find the pixels that differ from the empty belt.

        Args:
            image: as `learn`, of the same size.

        Returns:
            [h, w], the region thinned out; true where any channel has changed.
        """
        assert self._reference is not None, "the belt is compared with once it is known"
        difference = np.abs(self._share_of_full_scale(self._sample(image)) - self._reference)
        changed: NDArray[np.bool_] = difference.max(axis=2) >= self._config.pixel_difference
        return changed

    def _take_size(self, image: NDArray[Any]) -> None:
        height, width = image.shape[:2]
        x, y, region_width, region_height = self._config.region_xywh or (0, 0, width, height)
        if x + region_width > width or y + region_height > height:
            raise ConfigError(
                f"the part gate's region_xywh is {self._config.region_xywh}; expected it inside the frame of "
                f"{width}x{height} px; correct it"
            )
        self._size_hw = (height, width)

    def _sample(self, image: NDArray[Any]) -> NDArray[Any]:
        x, y, width, height = self._config.region_xywh or (0, 0, image.shape[1], image.shape[0])
        step = max(1, isqrt(width * height // _SAMPLE_PIXELS))
        return image[y : y + height : step, x : x + width : step]

    def _share_of_full_scale(self, sample: NDArray[Any]) -> NDArray[np.float32]:
        """As float32 [h, w, 1 or 3], so that a grey reference fits a colour frame and the other way round."""
        full_scale = 255 if sample.dtype == np.uint8 else (1 << self._config.sensor_bits) - 1
        channels = sample[..., np.newaxis] if sample.ndim == 2 else sample
        scaled: NDArray[np.float32] = channels.astype(np.float32) / np.float32(full_scale)
        return scaled
