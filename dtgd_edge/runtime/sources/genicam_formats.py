"""From the pixels of a GenICam camera to the pictures of a frame."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import SourceNotFound

# OpenCV names a pattern by the second row's second and third pixel, GenICam by the first two of all.
_BAYER_ORDERS = {
    "RG": cv2.COLOR_BayerBG2BGR,
    "GR": cv2.COLOR_BayerGB2BGR,
    "GB": cv2.COLOR_BayerGR2BGR,
    "BG": cv2.COLOR_BayerRG2BGR,
}
_BAYER = {f"Bayer{order}{bits}": code for order, code in _BAYER_ORDERS.items() for bits in (8, 10, 12, 16)}
_MONO = ("Mono8", "Mono10", "Mono12", "Mono16")
_COLOUR = {"RGB8": (2, 1, 0), "BGR8": (0, 1, 2), "RGBa8": (2, 1, 0), "BGRa8": (0, 1, 2)}
_CHANNELS = {"RGBa8": 4, "BGRa8": 4, "RGB8": 3, "BGR8": 3}

FORMATS = (*_MONO, *_BAYER, *_COLOUR)


def check_format(name: str, camera: str) -> None:
    """Refuse a pixel format that no picture can be made of.

    Raises:
        SourceNotFound: names the known ones.
    """
    if name not in FORMATS:
        raise SourceNotFound(
            f"{camera} sends the pixel format {name!r}; expected one of {', '.join(FORMATS)}; name one with "
            "pixel_format=..."
        )


def picture_from_component(component: Any, camera: str) -> NDArray[Any] | None:
    """Copy a picture out of a buffer, so that the buffer can be queued again.

    Args:
        component: Harvester's Component2DImage.

    Returns:
        uint8 or uint16, [H, W] or BGR [H, W, 3]; None when the buffer is shorter than its picture.

    Raises:
        SourceNotFound: the pixel format is not known.
    """
    name = str(component.data_format)
    check_format(name, camera)
    height, width = int(component.height), int(component.width)
    pixels: NDArray[Any] = component.data
    row = width * _CHANNELS.get(name, 1)
    stride = row + int(component.x_padding) // pixels.itemsize
    if row == 0 or height == 0 or pixels.size < height * stride:
        return None
    rows = pixels[: height * stride].reshape(height, stride)[:, :row]
    if name in _BAYER:
        return np.asarray(cv2.demosaicing(np.ascontiguousarray(rows), _BAYER[name]))
    if name in _COLOUR:
        return np.ascontiguousarray(rows.reshape(height, width, _CHANNELS[name])[..., _COLOUR[name]])
    image: NDArray[Any] = rows.copy()
    return image
