"""How a camera frame becomes the scoring graph's input: the only implementation of it.

The data set, the calibrator, the parity check, the benchmark and the runtime all call
`Geometry.apply`, so that a picture cannot score differently in two places.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, ShapeError

Image = NDArray[Any]
Fit = Literal["stretch", "letterbox"]

# Grey of the bars that keep the aspect ratio; near the ImageNet mean, so that they say little.
LETTERBOX_GREY = 114


@dataclass(frozen=True, slots=True)
class Geometry:
    """Region, size, resize rule and bit depth.

    Attributes:
        size_hw: height and width of the graph's input, multiples of 32, in pixels.
        region_xywh: part of the frame to inspect, in frame pixels; None: all of it.
        fit: "stretch" to the size, or keep the aspect ratio with a "letterbox".
        sensor_bits: significant bits of a 16-bit frame (10, 12, 16 ...); 8-bit frames ignore it.
    """

    size_hw: tuple[int, int] = (256, 256)
    region_xywh: tuple[int, int, int, int] | None = None
    fit: Fit = "stretch"
    sensor_bits: int = 16

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.size_hw):
            raise ConfigError(
                f"geometry size {self.size_hw[0]}x{self.size_hw[1]} does not fit the graph; "
                "expected a height and a width that are multiples of 32; choose 256, 320, 384 ..."
            )
        if not 8 <= self.sensor_bits <= 16:
            raise ConfigError(f"geometry sensor_bits {self.sensor_bits} is impossible; expected 8 to 16")
        if self.region_xywh is not None and (min(self.region_xywh) < 0 or min(self.region_xywh[2:]) < 1):
            raise ConfigError(
                f"geometry region {self.region_xywh} is impossible; expected x, y >= 0 and width, height >= 1"
            )

    def apply(self, image: Image) -> NDArray[np.uint8]:
        """Prepare one frame for the graph.

        Args:
            image: uint8 or uint16, [H, W] or [H, W, 1] grey, [H, W, 3] BGR or [H, W, 4] BGRA
                (OpenCV's order, alpha is dropped).

        Returns:
            uint8 [*size_hw, 3], RGB, 0 to 255, contiguous.

        Raises:
            ShapeError: another dtype or layout, an empty frame, or a region outside of the frame.
        """
        import cv2

        image = self._to_uint8(image)
        image = self._crop(image)
        if image.ndim == 2 or image.shape[2] == 1:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        else:
            image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        height, width = image.shape[:2]
        top, left, inner_h, inner_w = self._placement(height, width)
        image = _resized(image, inner_h, inner_w)
        if (inner_h, inner_w) == self.size_hw:
            return np.ascontiguousarray(image)
        canvas = np.full((*self.size_hw, 3), LETTERBOX_GREY, np.uint8)
        canvas[top : top + inner_h, left : left + inner_w] = image
        return canvas

    def map_on_frame(
        self, anomaly_map: NDArray[np.float32], frame_hw: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Lay a map from the graph's pixel grid back on the frame's.

        Args:
            anomaly_map: float32 [*size_hw].
            frame_hw: height and width of the frame that was given to `apply`.

        Returns:
            float32 [*frame_hw]; pixels outside of the region carry the map's smallest value.
        """
        import cv2

        x, y, width, height = self.region_xywh or (0, 0, frame_hw[1], frame_hw[0])
        top, left, inner_h, inner_w = self._placement(height, width)
        inner = np.ascontiguousarray(anomaly_map[top : top + inner_h, left : left + inner_w], np.float32)
        region = cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
        if (height, width) == tuple(frame_hw):
            return np.asarray(region, np.float32)
        whole = np.full(frame_hw, float(anomaly_map.min()), np.float32)
        whole[y : y + height, x : x + width] = region
        return whole

    def mask_on_graph(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Prepare a defect mask as `apply` prepares its picture: bool [H, W] to bool [*size_hw]."""
        inside = self._crop(mask.astype(np.float32))
        top, left, inner_h, inner_w = self._placement(*inside.shape[:2])
        resized = _resized(inside, inner_h, inner_w)
        canvas = np.zeros(self.size_hw, np.bool_)
        canvas[top : top + inner_h, left : left + inner_w] = resized >= 0.5
        return canvas

    def _to_uint8(self, image: Image) -> Image:
        if (
            image.ndim not in (2, 3)
            or (image.ndim == 3 and image.shape[2] not in (1, 3, 4))
            or image.size == 0
        ):
            raise ShapeError(
                f"a frame of shape {image.shape} was given; "
                "expected [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]"
            )
        if image.dtype == np.uint8:
            return image
        if image.dtype == np.uint16:
            shifted: Image = np.minimum(image >> (self.sensor_bits - 8), 255).astype(np.uint8)
            return shifted
        raise ShapeError(
            f"a frame of dtype {image.dtype} was given; expected uint8 or uint16; "
            "convert it yourself, because its range cannot be known"
        )

    def _crop(self, image: Image) -> Image:
        if self.region_xywh is None:
            return image
        x, y, width, height = self.region_xywh
        if y + height > image.shape[0] or x + width > image.shape[1]:
            raise ShapeError(
                f"a frame of {image.shape[1]}x{image.shape[0]} px was given; the region {self.region_xywh} "
                "(x, y, width, height) reaches outside of it; correct the region or the camera's format"
            )
        return image[y : y + height, x : x + width]

    def _placement(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where the resized region lies on the graph's grid: top, left, height, width."""
        rows, columns = self.size_hw
        if self.fit == "stretch":
            return 0, 0, rows, columns
        scale = min(rows / height, columns / width)
        inner_h = min(rows, max(1, round(height * scale)))
        inner_w = min(columns, max(1, round(width * scale)))
        return (rows - inner_h) // 2, (columns - inner_w) // 2, inner_h, inner_w


def _resized(image: Image, height: int, width: int) -> Image:
    """Shrink by area averaging, which does not alias, then enlarge linearly; each side on its own.

    In one call OpenCV averages only when both sides shrink; on a line-scan picture of 4096 x 100 px
    it would pick single columns, and thin defects would vanish.
    """
    import cv2

    small = min(height, image.shape[0]), min(width, image.shape[1])
    if small != image.shape[:2]:
        image = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    if small != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image
