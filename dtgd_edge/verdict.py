"""What a session returns, and what is said about a frame because of it."""

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.appearance import Appearance
from dtgd_edge.errors import ShapeError


class Decision(str, Enum):
    """The three things that can be said about a part."""

    OK = "OK"
    NG = "NG"
    NO_DECISION = "NO_DECISION"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A scoring graph's answer to a batch.

    Attributes:
        score: float32 [N], higher is more anomalous.
        map: float32 [N, H, W], on the graph's pixel grid.
    """

    score: NDArray[np.float32]
    map: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.score.ndim != 1 or self.map.ndim != 3 or len(self.score) != len(self.map):
            raise ShapeError(
                f"scores of shape {self.score.shape} with maps of shape {self.map.shape} were given; "
                "expected [N] and [N, H, W]"
            )


@dataclass(frozen=True, slots=True)
class Region:
    """A connected anomalous area, in frame pixels.

    Attributes:
        x, y, width, height: its bounding box.
        area_px: number of anomalous pixels.
        peak: largest map value inside.
        zone: name of the zone that it lies in; "" outside of all.
    """

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float
    zone: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What was decided about one frame, and why.

    Attributes:
        decision: OK, NG or NO_DECISION.
        frame_index: the frame's number in its source.
        frame_name: file name or position, as the source calls it; "" if it has no name.
        score: None when no score was computed.
        threshold: a score above it is NG, unless `note` says why not.
        map: float32 [H, W] on the frame's pixel grid; None without a score, or where it was let go.
        regions: anomalous areas, largest peak first; empty unless NG.
        stages_ms: duration of each stage, milliseconds, in the order they ran.
        reason: why there is no decision; None otherwise.
        part: number of the part, where the source knows it.
        zone: name of the zone that score and threshold are of; "" when it has none.
        note: what a policy made of the score, where score and threshold alone do not say it, as "kind:
            detail"; "" otherwise. An OK with a score above the threshold always has one.
        appearance: light, focus and colours of the prepared frame; None when they were not measured.
    """

    decision: Decision
    frame_index: int
    threshold: float
    score: float | None = None
    map: NDArray[np.float32] | None = None
    regions: tuple[Region, ...] = ()
    stages_ms: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    frame_name: str = ""
    part: int | None = None
    zone: str = ""
    note: str = ""
    appearance: Appearance | None = None

    def without_map(self) -> "Verdict":
        """The same verdict for those who keep many: a map of a 1080p frame has 8 MB."""
        return replace(self, map=None)

    def record(self) -> dict[str, Any]:
        """Everything but map and appearance as plain JSON values; NaN and infinity become None."""
        return {
            "frame": self.frame_index,
            "name": self.frame_name,
            "part": self.part,
            "decision": self.decision.value,
            "score": _json_number(self.score),
            "threshold": _json_number(self.threshold),
            "zone": self.zone,
            "reason": self.reason,
            "note": self.note,
            "regions": [
                {
                    "x": r.x,
                    "y": r.y,
                    "width": r.width,
                    "height": r.height,
                    "area_px": r.area_px,
                    "peak": _json_number(round(r.peak, 4)),
                    "zone": r.zone,
                }
                for r in self.regions
            ],
            "stages_ms": {name: round(ms, 3) for name, ms in self.stages_ms.items()},
        }


def decide(score: float, threshold: float) -> Decision:
    """The verdict rule: whatever cannot be judged is NO_DECISION, never OK."""
    if not math.isfinite(score) or not math.isfinite(threshold):
        return Decision.NO_DECISION
    return Decision.NG if score > threshold else Decision.OK


def _json_number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
