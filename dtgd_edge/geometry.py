"""How a camera frame becomes the scoring graph's input: the only implementation of it.

The data set, the calibrator, the parity check, the benchmark and the runtime all call
`Geometry.apply`, so that a picture cannot score differently in two places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, ShapeError

Image = NDArray[Any]
Fit = Literal["stretch", "letterbox"]
Bars = Literal["grey", "edge"]
Shrink = Literal["area", "halves"]

# Of the network's deepest stage: sides of frames and tiles are multiples of it, and tiles begin at one, so
# that every level's map of a tile lies on whole pixels of the frame's map.
STRIDE = 32

# Grey of the bars that keep the aspect ratio; near the ImageNet mean, so that they say little.
LETTERBOX_GREY = 114
# One side is squeezed by so much more than the other that shapes look wrong, and thin defects thinner.
FAR_FROM_EQUAL = 1.25


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where the tiles of a prepared frame lie, in its pixels; all multiples of STRIDE.

    Attributes:
        tile_hw: height and width of every tile.
        tops, lefts: where the rows and the columns of tiles begin, ascending; the first at 0, the last so
            that it ends with the frame.
    """

    tile_hw: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def areas(self) -> tuple[tuple[slice, slice], ...]:
        """Rows and columns of every tile, to index a prepared frame with; row by row."""
        height, width = self.tile_hw
        return tuple((slice(y, y + height), slice(x, x + width)) for y in self.tops for x in self.lefts)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Region, size, resize rule, tiles and bit depth.

    Attributes:
        size_hw: height and width of the graph's input, multiples of 32, in pixels.
        region_xywh: part of the frame to inspect, in frame pixels; None: all of it.
        fit: "stretch" to the size, or keep the aspect ratio with a "letterbox".
        bars: colour of the letterbox: a fixed "grey", or the median colour of the picture's own "edge".
        tiles: rows and columns of tiles that the graph cuts the frame into; (1, 1): it is not cut.
        overlap: smallest share of a tile's side that it has in common with its neighbour, 0 to 0.5.
        margin: pixels that the graph adds, mirrored, on each side of a picture or tile before the networks
            see it, so that the map's rim is not made from padding; a multiple of 16.
        sensor_bits: significant bits of a 16-bit frame (10, 12, 16 ...); 8-bit frames ignore it.
        shrink: "area" averages what each pixel covers in one step; "halves" halves both sides as often as it
            can before: a fifth of the time on a 1080p frame, for slightly softer pixels.
    """

    size_hw: tuple[int, int] = (256, 256)
    region_xywh: tuple[int, int, int, int] | None = None
    fit: Fit = "stretch"
    bars: Bars = "grey"
    tiles: tuple[int, int] = (1, 1)
    overlap: float = 0.2
    margin: int = 0
    sensor_bits: int = 16
    shrink: Shrink = "area"

    def __post_init__(self) -> None:
        if any(side < STRIDE or side % STRIDE for side in self.size_hw):
            raise ConfigError(
                f"geometry size {size_text(self.size_hw)} does not fit the graph; "
                f"expected a width and a height that are multiples of {STRIDE}; choose 256, 320, 384 ..."
            )
        if not 8 <= self.sensor_bits <= 16:
            raise ConfigError(f"geometry sensor_bits {self.sensor_bits} is impossible; expected 8 to 16")
        if self.region_xywh is not None and (min(self.region_xywh) < 0 or min(self.region_xywh[2:]) < 1):
            raise ConfigError(
                f"geometry region {self.region_xywh} is impossible; expected x, y >= 0 and width, height >= 1"
            )
        if min(self.tiles) < 1:
            raise ConfigError(
                f"geometry tiles {list(self.tiles)} is impossible; expected at least 1 row and 1 column"
            )
        if not 0 <= self.overlap <= 0.5:
            raise ConfigError(
                f"geometry overlap {self.overlap:g} is impossible; expected a share of a tile's side, 0 "
                "to 0.5; use 0.2"
            )
        if None in self._tile_rows():
            rows, columns = self.tiles
            raise ConfigError(
                f"geometry size {size_text(self.size_hw)} has no room for {rows} rows and {columns} columns "
                f"of tiles; expected tiles that overlap by {self.overlap:g} and begin at multiples of "
                f"{STRIDE} px; choose fewer tiles, a smaller overlap or a larger size"
            )
        grid = self.tile_grid
        if (
            self.margin < 0
            or 2 * self.margin % STRIDE
            or self.margin >= min(grid.tile_hw if grid else self.size_hw)
        ):
            raise ConfigError(
                f"geometry margin {self.margin} is impossible; expected a multiple of {STRIDE // 2} that is "
                "smaller than the picture or tile; use 0 or 16"
            )

    @property
    def tile_grid(self) -> TileGrid | None:
        """The tiles: as small as the overlap allows, spread evenly; None: the frame is not cut."""
        if self.tiles == (1, 1):
            return None
        rows, columns = self._tile_rows()
        assert rows is not None and columns is not None, "checked when made"
        return TileGrid((rows[0], columns[0]), rows[1], columns[1])

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

        image = self._to_uint8(image)
        image = self._crop(image)
        height, width = image.shape[:2]
        top, left, inner_h, inner_w = self._placement(height, width)
        if self.shrink == "halves":
            image = _halved(image, inner_h, inner_w)
        # Channels are resized each on its own, so the colours can wait until there are fewer pixels.
        image = _resized(image, inner_h, inner_w)
        prepared = _rgb(image)
        if (inner_h, inner_w) == self.size_hw:
            return np.ascontiguousarray(prepared)
        colour = LETTERBOX_GREY if self.bars == "grey" else _edge_colour(prepared)
        canvas = np.full((*self.size_hw, 3), colour, np.uint8)
        canvas[top : top + inner_h, left : left + inner_w] = prepared
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

    def scale_yx(self, frame_hw: tuple[int, int]) -> tuple[float, float]:
        """Pixels of the graph per pixel of the frame, down and across; above 1 the frame is enlarged."""
        height, width = self.inspected_hw(frame_hw)
        _, _, inner_h, inner_w = self._placement(height, width)
        return inner_h / height, inner_w / width

    def inspected_hw(self, frame_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width, in frame pixels, of what the graph sees of a frame."""
        return frame_hw if self.region_xywh is None else (self.region_xywh[3], self.region_xywh[2])

    def aspect_advice(self, frame_hw: tuple[int, int]) -> str | None:
        """Say what size would keep the frames' aspect ratio; None: they are hardly distorted."""
        height, width = self.inspected_hw(frame_hw)
        rows, columns = self.size_hw
        stretch = (width / height) / (columns / rows)
        if self.fit == "letterbox" or max(stretch, 1 / stretch) < FAR_FROM_EQUAL:
            return None
        shrink = math.sqrt(rows * columns / (height * width))  # as many pixels as now
        short = max(STRIDE, STRIDE * round(min(height, width) * shrink / STRIDE))
        long = STRIDE * round(short * max(height, width) / min(height, width) / STRIDE)
        kept = (short, long) if height <= width else (long, short)
        what = "pictures" if self.region_xywh is None else "region"
        return (
            f"the {what} of {width}x{height} px will be squeezed into {size_text(self.size_hw)}; "
            f"a size of {size_text(kept)} keeps the aspect ratio at about the same cost, "
            'fit = "letterbox" with bars'
        )

    def _tile_rows(self) -> list[tuple[int, tuple[int, ...]] | None]:
        """Side and starts of the tiles down and across; None where they do not fit."""
        pairs = zip(self.size_hw, self.tiles, strict=True)
        return [_tiles_along(side, count, self.overlap) for side, count in pairs]

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


def size_text(size_hw: Sequence[int]) -> str:
    """A size as cameras name it: width x height."""
    return f"{size_hw[1]}x{size_hw[0]}"


def _tiles_along(side: int, count: int, overlap: float) -> tuple[int, tuple[int, ...]] | None:
    """Side of the smallest tiles that cover a side with that overlap, and where they begin; None: none do."""
    whole = side // STRIDE
    if count == 1:
        return side, (0,)
    for tile in range(1, whole - count + 2):  # beyond that two would begin at the same place
        starts = [round(i * (whole - tile) / (count - 1)) for i in range(count)]
        shared = min(a + tile - b for a, b in pairwise(starts))
        if shared >= overlap * tile:
            return tile * STRIDE, tuple(start * STRIDE for start in starts)
    return None


def _edge_colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Median colour of the outermost pixels, uint8 [3]: the ground, where there is one."""
    sides = (image[0], image[-1], image[:, 0], image[:, -1])
    colour: NDArray[np.uint8] = np.median(np.concatenate(sides), axis=0).astype(np.uint8)
    return colour


def _rgb(image: Image) -> NDArray[np.uint8]:
    import cv2

    channels = 1 if image.ndim == 2 else image.shape[2]
    codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    return np.asarray(cv2.cvtColor(image, codes[channels]), np.uint8)


def _halved(image: Image, height: int, width: int) -> Image:
    """Halve both sides as often as they stay large enough; an odd last row or column goes.

    Exact halves are the one factor for which OpenCV averages with vector instructions.
    """
    import cv2

    while min(image.shape[0] // height, image.shape[1] // width) >= 2:
        half = image.shape[1] // 2, image.shape[0] // 2
        even = image[: 2 * half[1], : 2 * half[0]]
        image = cv2.resize(even, half, interpolation=cv2.INTER_AREA)
    return image


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
