"""Measure a scoring graph on test pictures, the way the line will use it.

The headline is at the pictures' native resolution, with the masks as they were drawn; the same
measures on the graph's own pixel grid stand beside it. numpy only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import BackendError, DataError, ShapeError
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.curves import Curve, Map, Mask
from dtgd_edge.train.data import Part, read_frame, read_mask
from dtgd_edge.train.metrics import AUPRO_LIMIT, DETECTIONS, Metrics, Pool
from dtgd_edge.train.operating import OperatingPoint, operating_point, point_detecting
from dtgd_edge.verdict import Decision, Scores, decide

ScoreFrames = Callable[[NDArray[np.uint8]], Scores]

_PRO_POINTS = 200


class PartScore(NamedTuple):
    """One test picture and its image score."""

    path: Path
    kind: str
    is_defective: bool
    score: float


Watch = Callable[[PartScore, Map, Mask | None], None]


@dataclass(frozen=True, slots=True)
class KindMetrics:
    """One kind of defect, measured against all good parts.

    Attributes:
        kind: its name.
        detected: how many of its parts are above the threshold; None without a threshold.
        native, graph: as in Evaluation; `defective` is the number of its parts.
    """

    kind: str
    detected: int | None
    native: Metrics
    graph: Metrics


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a scoring graph reaches on a set of test pictures.

    Attributes:
        native: on the pictures' own pixel grids; the headline.
        graph: on the graph's pixel grid, masks brought there by `Geometry.mask_on_graph`.
        graph_size_hw: height and width of that grid.
        kinds: each kind of defect, by name.
        per_part: in the order of the parts.
        at_threshold: what happens at the graph's own threshold; None without one.
        at_detection: what happens at the thresholds that detect 100, 99 and 95 % of the defective
            parts; empty without good or defective parts.
        pro: native false positive rate (up to 0.3) and mean overlap, enough points to draw; empty without
            marked parts.
    """

    native: Metrics
    graph: Metrics
    graph_size_hw: tuple[int, int]
    kinds: tuple[KindMetrics, ...]
    per_part: tuple[PartScore, ...]
    at_threshold: OperatingPoint | None
    at_detection: tuple[OperatingPoint, ...]
    pro: tuple[tuple[float, float], ...]

    def decision(self, part: PartScore) -> Decision | None:
        """The verdict about a part; None without a threshold."""
        return None if self.at_threshold is None else decide(part.score, self.at_threshold.threshold)

    def record(self) -> dict[str, Any]:
        """Plain JSON values: the native measures at the top, the others below."""
        return {
            **self.native.record(),
            "graph": {"size_hw": list(self.graph_size_hw), **self.graph.record()},
            "at_threshold": None if self.at_threshold is None else self.at_threshold.record(),
            "at_detection": [
                {"at_least": share, **point.record()}
                for share, point in zip(DETECTIONS, self.at_detection, strict=False)
            ],
            "kinds": [
                {"kind": k.kind, "detected": k.detected, **k.native.record(), "graph": k.graph.record()}
                for k in self.kinds
            ],
            "parts": [
                {
                    "path": str(p.path),
                    "kind": p.kind,
                    "is_defective": p.is_defective,
                    "score": p.score,
                    "decision": (decision := self.decision(p)) and decision.value,
                }
                for p in self.per_part
            ],
        }


def evaluate(
    score: ScoreFrames,
    parts: Sequence[Part],
    geometry: Geometry,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    threshold: float | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Score parts and compare with what is known about them.

    Holds two maps per part in memory, 4 bytes per pixel each, and sorts all pixels at the end.

    Args:
        score: takes uint8 [N, H, W, 3] frames as returned by `Geometry.apply`, N == batch always
            (the last batch is filled up with its last frame).
        parts: the test pictures; a defective one without a mask is left out of the pixel measures.
        geometry: the graph's.
        batch: number of frames per call of `score`.
        progress: called with the number of parts done and of all parts.
        threshold: the graph's own, if it has one.
        watch: called with every part as it is scored, its map and its mask on the picture's pixel
            grid; a caller that keeps the map holds it twice.

    Raises:
        DataError: no parts, or a picture or a mask that cannot be used.
        ShapeError: `score` answers for another number of frames or another pixel grid.
        BackendError: `score` gives NaN or infinity.
    """
    if not parts:
        raise DataError("there are no test pictures; expected good and defective ones; name their folder")
    native, graph = Pool(), Pool()
    per_part: list[PartScore] = []
    for part, size_hw, value, anomaly_map in _scored(score, parts, geometry, batch):
        scored = PartScore(part.path, part.kind, part.is_defective, value)
        mask = None if part.is_defective and not part.mask_paths else read_mask(part, size_hw)
        native_map = geometry.map_on_frame(anomaly_map, size_hw)
        kind = part.kind if part.is_defective else None
        native.add(kind, value, native_map, mask)
        graph.add(kind, value, anomaly_map, None if mask is None else geometry.mask_on_graph(mask))
        per_part.append(scored)
        if watch is not None:
            watch(scored, native_map, mask)
        if progress is not None and (len(per_part) % batch == 0 or len(per_part) == len(parts)):
            progress(len(per_part), len(parts))
    labels, scores = [p.is_defective for p in per_part], [p.score for p in per_part]
    points = (point_detecting(labels, scores, share) for share in DETECTIONS)
    return Evaluation(
        native=native.metrics(),
        graph=graph.metrics(),
        graph_size_hw=geometry.size_hw,
        kinds=tuple(
            KindMetrics(kind, _detected(per_part, kind, threshold), native.metrics(kind), graph.metrics(kind))
            for kind in native.kinds
        ),
        per_part=tuple(per_part),
        at_threshold=None if threshold is None else operating_point(labels, scores, threshold),
        at_detection=tuple(point for point in points if point is not None),
        pro=_drawable(native.pixel_curve()),
    )


def _scored(
    score: ScoreFrames, parts: Sequence[Part], geometry: Geometry, batch: int
) -> Iterator[tuple[Part, tuple[int, int], float, Map]]:
    """Each part with its picture's height and width, its score and its map on the graph's grid."""
    for start in range(0, len(parts), batch):
        chunk = parts[start : start + batch]
        frames, sizes = zip(*(read_frame(part, geometry) for part in chunk), strict=True)
        scores = _checked(score, np.stack(frames), batch, chunk)
        # Not strict: the filling has no part.
        for part, size_hw, value, anomaly_map in zip(chunk, sizes, scores.score, scores.map, strict=False):
            yield part, size_hw, float(value), anomaly_map


def _detected(parts: Sequence[PartScore], kind: str, threshold: float | None) -> int | None:
    own = [part.score for part in parts if part.is_defective and part.kind == kind]
    return None if threshold is None else sum(decide(value, threshold) is Decision.NG for value in own)


def _drawable(curve: Curve) -> tuple[tuple[float, float], ...]:
    """The PRO curve at a few places, denser near 0, where it rises."""
    if not curve.has_both:
        return ()
    x = AUPRO_LIMIT * np.linspace(0, 1, _PRO_POINTS) ** 2
    return tuple(zip(x.tolist(), np.interp(x, *curve.pro()).tolist(), strict=True))


def _checked(score: ScoreFrames, frames: NDArray[np.uint8], batch: int, parts: Sequence[Part]) -> Scores:
    filling = np.repeat(frames[-1:], batch - len(frames), axis=0)
    frames = np.concatenate([frames, filling])
    scores = score(frames)
    if scores.map.shape != frames.shape[:3]:
        raise ShapeError(
            f"maps of shape {scores.map.shape} came back for frames of shape {frames.shape}; "
            f"expected {frames.shape[:3]}; the geometry or the batch is not this graph's"
        )
    for part, value, anomaly_map in zip(parts, scores.score, scores.map, strict=False):
        if not (np.isfinite(value) and np.isfinite(anomaly_map).all()):
            raise BackendError(
                f"the graph gave NaN or infinity for {part.path}; expected numbers; "
                "use a bundle with a higher precision"
            )
    return scores
