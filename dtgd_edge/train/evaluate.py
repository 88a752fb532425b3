"""Measure a scoring graph on test pictures, the way the line will use it.

The headline is at the pictures' native resolution, with the masks as they were drawn; the same
measures on the graph's own pixel grid stand beside it. numpy only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import BackendError, DataError, ShapeError
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.data import Part, read_frame, read_mask
from dtgd_edge.train.metrics import Map, Mask, Metrics, pooled_metrics
from dtgd_edge.verdict import Scores

ScoreFrames = Callable[[NDArray[np.uint8]], Scores]


class PartScore(NamedTuple):
    """One test picture and its image score."""

    path: Path
    kind: str
    is_defective: bool
    score: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a scoring graph reaches on a set of test pictures.

    Attributes:
        native: on the pictures' own pixel grids; the headline.
        graph: on the graph's pixel grid, masks brought there by `Geometry.mask_on_graph`.
        graph_size_hw: height and width of that grid.
        per_part: in the order of the parts.
    """

    native: Metrics
    graph: Metrics
    graph_size_hw: tuple[int, int]
    per_part: tuple[PartScore, ...]

    def record(self) -> dict[str, Any]:
        """Plain JSON values: the native measures at the top, "graph" and "parts" below."""
        return {
            **self.native.record(),
            "graph": {"size_hw": list(self.graph_size_hw), **self.graph.record()},
            "parts": [
                {"path": str(p.path), "kind": p.kind, "is_defective": p.is_defective, "score": p.score}
                for p in self.per_part
            ],
        }


def evaluate(
    score: ScoreFrames,
    parts: Sequence[Part],
    geometry: Geometry,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
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

    Raises:
        DataError: no parts, or a picture or a mask that cannot be used.
        ShapeError: `score` answers for another number of frames or another pixel grid.
        BackendError: `score` gives NaN or infinity.
    """
    if not parts:
        raise DataError("there are no test pictures; expected good and defective ones; name their folder")
    native_maps: list[Map] = []
    native_masks: list[Mask | None] = []
    graph_maps: list[Map] = []
    graph_masks: list[Mask | None] = []
    per_part: list[PartScore] = []
    for start in range(0, len(parts), batch):
        chunk = parts[start : start + batch]
        frames, sizes = zip(*(read_frame(part, geometry) for part in chunk), strict=True)
        scores = _checked(score, np.stack(frames), batch, chunk)
        for part, size_hw, value, anomaly_map in zip(
            chunk,
            sizes,
            scores.score,
            scores.map,
            strict=False,  # the filling has no part
        ):
            mask = None if part.is_defective and not part.mask_paths else read_mask(part, size_hw)
            native_maps.append(geometry.map_on_frame(anomaly_map, size_hw))
            native_masks.append(mask)
            graph_maps.append(anomaly_map)
            graph_masks.append(None if mask is None else geometry.mask_on_graph(mask))
            per_part.append(PartScore(part.path, part.kind, part.is_defective, float(value)))
        if progress is not None:
            progress(len(per_part), len(parts))
    image_scores = np.array([p.score for p in per_part])
    labels = [p.is_defective for p in per_part]
    return Evaluation(
        native=pooled_metrics(native_maps, native_masks, image_scores, labels),
        graph=pooled_metrics(graph_maps, graph_masks, image_scores, labels),
        graph_size_hw=geometry.size_hw,
        per_part=tuple(per_part),
    )


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
