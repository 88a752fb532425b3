"""Small pictures of the parts, made while they are scored, so that no large one has to be kept."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.geometry import Geometry
from dtgd_edge.heat import bgr_from_image, draw_heat, heat_range
from dtgd_edge.pictures import read_picture
from dtgd_edge.train.curves import Map, Mask
from dtgd_edge.train.evaluate import PartScore

SIDE_PX = 224  # of a square picture; others have the same area
LONGEST_PX = 2 * SIDE_PX
_PICTURE_QUALITY, _HEAT_QUALITY = 75, 78
_LIGHT, _DARK, _GREY = (255, 255, 255), (0, 0, 0), 150
_SCALE_HW = (14, 280)


@dataclass(frozen=True, slots=True)
class Thumbs:
    """A part's two small pictures.

    Attributes:
        picture: JPEG.
        heat: JPEG, the same with its heat map and the outline of its true defects.
        size_hw: height and width of both, in pixels.
    """

    picture: bytes
    heat: bytes
    size_hw: tuple[int, int]


class Album:
    """Makes the small pictures of an evaluation; `add` is what `evaluate` takes as `watch`.

    Keeps about 25 kB per part and none of the maps.

    Args:
        geometry: of the graph; where it looks at a region only, the pictures show that region and the
            true defects outside of it.
        threshold: fixes the colours, see `heat_range`.
    """

    def __init__(self, geometry: Geometry, threshold: float) -> None:
        self._geometry = geometry
        self._threshold = threshold
        self._thumbs: dict[Path, Thumbs] = {}

    def add(self, part: PartScore, anomaly_map: Map, mask: Mask | None) -> None:
        """Draw one part.

        Args:
            part: its picture is read again.
            anomaly_map: float32 [H, W], on the picture's pixel grid; not kept.
            mask: bool [H, W]; None: not marked.

        Raises:
            DataError: the picture cannot be read any more.
        """
        rows, columns = _shown(self._geometry, anomaly_map.shape, mask)
        image = bgr_from_image(read_picture(part.path)[rows, columns], self._geometry.sensor_bits)
        size_hw = _thumb_size(image.shape[:2])
        picture = _shrunk(image, size_hw)
        heat = picture.copy()
        draw_heat(heat, _peaks(anomaly_map[rows, columns], size_hw), self._threshold)
        if mask is not None:
            _outline(heat, _peaks(mask[rows, columns].astype(np.float32), size_hw) > 0)
        self._thumbs[part.path] = Thumbs(_jpeg(picture), _jpeg_true_to_colour(heat), size_hw)

    def __getitem__(self, path: Path) -> Thumbs:
        """The small pictures of a part that was added."""
        return self._thumbs[path]

    def aspect(self) -> float:
        """Width by height of the usual picture."""
        return float(np.median([t.size_hw[1] / t.size_hw[0] for t in self._thumbs.values()]))

    def colour_scale(self) -> bytes:
        """A PNG of the heat colours on grey, from where heat begins to where it is strongest."""
        import cv2

        low, high = heat_range(self._threshold)
        strip = np.full((*_SCALE_HW, 3), _GREY, np.uint8)
        ramp = np.linspace(low, high, _SCALE_HW[1], dtype=np.float32)
        draw_heat(strip, np.repeat(ramp[None], _SCALE_HW[0], axis=0), self._threshold)
        return cv2.imencode(".png", strip)[1].tobytes()


def _shown(geometry: Geometry, size_hw: tuple[int, ...], mask: Mask | None) -> tuple[slice, slice]:
    """Rows and columns of a picture that are worth showing."""
    import cv2

    if geometry.region_xywh is None:
        return slice(0, size_hw[0]), slice(0, size_hw[1])
    x, y, width, height = geometry.region_xywh
    worth = np.zeros(size_hw, np.uint8) if mask is None else mask.astype(np.uint8)
    worth[y : y + height, x : x + width] = 1
    x, y, width, height = cv2.boundingRect(worth)
    return slice(y, y + height), slice(x, x + width)


def _thumb_size(size_hw: tuple[int, ...]) -> tuple[int, int]:
    height, width = size_hw
    scale = min(1.0, SIDE_PX / math.sqrt(height * width), LONGEST_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shrunk(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    return np.ascontiguousarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _peaks(values: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Shrink by the largest value around each place: a small defect must not be averaged away."""
    import cv2

    steps = [math.ceil(side / small) for side, small in zip(values.shape, size_hw, strict=True)]
    # Twice as far as it takes to lose none, so that one hot pixel becomes two, which can be seen.
    around = np.ones([2 * step - 1 for step in steps], np.uint8)
    largest = cv2.dilate(np.ascontiguousarray(values), around)
    return np.asarray(cv2.resize(largest, size_hw[::-1], interpolation=cv2.INTER_NEAREST), np.float32)


def _outline(picture: NDArray[np.uint8], mask: Mask) -> None:
    """Draw around a mask, in place, not on it: light with a dark rim can be seen on any ground."""
    import cv2

    for reach, colour in ((3, _LIGHT), (4, _DARK)):
        side = 2 * reach + 1
        around = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))
        contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)


def _jpeg(picture: NDArray[Any]) -> bytes:
    import cv2

    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _PICTURE_QUALITY])[1].tobytes()


def _jpeg_true_to_colour(picture: NDArray[Any]) -> bytes:
    """With colours at half the resolution, as JPEG likes it, a small hot spot turns grey."""
    import cv2

    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    options = [cv2.IMWRITE_JPEG_QUALITY, _HEAT_QUALITY, *sampling]
    return cv2.imencode(".jpg", picture, options)[1].tobytes()
