"""What of a frame is inspected, and with which threshold.

A zone's score is to its pixels what the graph's score is to the frame: the mean of the largest pixels of the
coarse map that lie in it. Coarse pixels outside of the frame (a letterbox's bars) belong to no zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, ShapeError
from dtgd_edge.geometry import Geometry, size_text
from dtgd_edge.manifest import Pooling
from dtgd_edge.pictures import read_picture
from dtgd_edge.runtime.policy import PolicyConfig, Rectangle

REST = ""


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A zone on the pixels of one frame size.

    Attributes:
        name: "" for what lies outside of all named zones.
        factor: of the threshold.
        on_frame: bool [H, W], on the frame; None: all of it.
        on_coarse: bool [h, w], on the coarse map; None: the graph's own score is this zone's.
    """

    name: str
    factor: float
    on_frame: NDArray[np.bool_] | None = None
    on_coarse: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class ZoneScore:
    """What a zone got.

    Attributes:
        zone: which.
        score: of its pixels; a number, perhaps not finite.
        threshold: a score above it is NG.
    """

    zone: Zone
    score: float
    threshold: float


class Zones:
    """Lays the zones of a policy over frames, and scores them.

    Args:
        policy: masks and zones.
        geometry: of the bundle.
        pooling: of the bundle; None: of an older one, whose zones are scored by the map's maximum, which is
            a little below the graph's score where a peak is sharp.
        frame_size_hw: of the bundle; what does not fit on such frames is refused at once.

    Raises:
        ConfigError: a mask or zone does not fit on frames of that size.
        DataError: the mask cannot be read.
    """

    def __init__(
        self,
        policy: PolicyConfig,
        geometry: Geometry,
        pooling: Pooling | None,
        frame_size_hw: tuple[int, int] | None = None,
    ) -> None:
        self._policy = policy
        self._geometry = geometry
        self._pooling = pooling or Pooling()
        self._mask = (
            None if policy.ignore_mask is None else ignored_from_picture(read_picture(policy.ignore_mask))
        )
        self._size_hw: tuple[int, int] | None = None
        self._zones: tuple[Zone, ...] = (Zone(REST, 1.0),)
        if frame_size_hw is not None:
            self.on_frames(frame_size_hw)

    def on_frames(self, size_hw: tuple[int, int]) -> tuple[Zone, ...]:
        """The zones on frames of that size.

        Raises:
            ConfigError: a mask or zone does not fit on them, or nothing of it is inspected.
        """
        if self._policy.has_zones and size_hw != self._size_hw:
            self._zones = self._laid_out(size_hw)
            self._size_hw = size_hw
        return self._zones

    def score(
        self, zones: Sequence[Zone], score: float, graph_map: NDArray[np.float32], threshold: float
    ) -> tuple[ZoneScore, ...]:
        """Score zones.

        Args:
            zones: from `on_frames`.
            score: the graph's.
            graph_map: float32 [H, W], the graph's, finite.
            threshold: of the frame; each zone has its factor.
        """
        if all(zone.on_coarse is None for zone in zones):
            return tuple(ZoneScore(zone, score, threshold * zone.factor) for zone in zones)
        coarse = coarse_map(graph_map, self._pooling.stride)
        return tuple(
            ZoneScore(zone, self._pooled(coarse, zone.on_coarse, score), threshold * zone.factor)
            for zone in zones
        )

    def _pooled(self, coarse: NDArray[np.float32], inside: NDArray[np.bool_] | None, whole: float) -> float:
        if inside is None:
            return whole
        values = coarse[inside]
        top = min(self._pooling.top, values.size)
        return float(values.max()) if top == 1 else float(np.partition(values, -top)[-top:].mean())

    def _laid_out(self, size_hw: tuple[int, int]) -> tuple[Zone, ...]:
        inspected = np.ones(size_hw, np.bool_)
        if self._mask is not None:
            if self._mask.shape != size_hw:
                raise ConfigError(
                    f"{self._policy.ignore_mask} has {size_text(self._mask.shape)} px; expected the frame's "
                    f"{size_text(size_hw)}; draw the mask on a frame"
                )
            inspected &= ~self._mask
        for rectangle in self._policy.ignore:
            inspected[_inside("policy ignore", rectangle, size_hw)] = False
        rest, zones = inspected.copy(), []
        for config in self._policy.zones:
            area = _inside(f"zone {config.name!r}", config.rectangle, size_hw)
            on_frame = np.zeros(size_hw, np.bool_)
            on_frame[area] = inspected[area]
            rest[area] = False
            zones.append(self._zone(config.name, config.threshold_factor, on_frame))
        if self._policy.outside_zones == "judge" and (not zones or self._on_coarse(rest).any()):
            zones.append(self._zone(REST, 1.0, rest))
        return tuple(zones)

    def _zone(self, name: str, factor: float, on_frame: NDArray[np.bool_]) -> Zone:
        on_coarse = self._on_coarse(on_frame)
        if not on_coarse.any():
            what = f"zone {name!r}" if name else "the frame"
            raise ConfigError(
                f"nothing of {what} is inspected; expected some of it outside of the ignored areas and "
                "inside of the bundle's region, and larger than a pixel of the map; move or enlarge it"
            )
        return Zone(name, factor, on_frame, on_coarse)

    def _on_coarse(self, on_frame: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A coarse pixel belongs to a zone when any of its map pixels does: nothing falls between."""
        try:
            on_map = self._geometry.mask_on_graph(on_frame)
        except ShapeError as exc:
            raise ConfigError(str(exc)) from exc
        stride = self._pooling.stride
        rows, columns = on_map.shape[0] // stride, on_map.shape[1] // stride
        return np.asarray(on_map.reshape(rows, stride, columns, stride).any((1, 3)), np.bool_)


def coarse_map(graph_map: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Take back the linear enlargement of a map.

    Left and above of a coarse pixel's centre two map pixels lie on one straight line with it; half a step
    and one and a half steps away, so that the centre is 1.5 times the nearer less 0.5 times the farther.

    Args:
        graph_map: float32 [H, W], enlarged without aligned corners.
        stride: 1, or an even number of at least 4.

    Returns:
        float32 [H / stride, W / stride], exact but for rounding.
    """
    if stride == 1:
        return graph_map
    near, far = stride // 2 - 1, stride // 2 - 2
    down = 1.5 * graph_map[near::stride] - 0.5 * graph_map[far::stride]
    return np.asarray(1.5 * down[:, near::stride] - 0.5 * down[:, far::stride], np.float32)


def ignored_from_picture(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What is not black in a mask's picture, uint8 [H, W, 3] to bool [H, W]."""
    return np.asarray((picture > 0).any(-1), np.bool_)


def _inside(what: str, rectangle: Rectangle, size_hw: tuple[int, int]) -> tuple[slice, slice]:
    x, y, width, height = rectangle
    if y + height > size_hw[0] or x + width > size_hw[1]:
        raise ConfigError(
            f"{what} has the rectangle {list(rectangle)}, which reaches outside of frames of "
            f"{size_text(size_hw)} px; expected one inside; correct it or the camera's format"
        )
    return slice(y, y + height), slice(x, x + width)
