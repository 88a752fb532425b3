"""One frame on its way to a verdict."""

import time

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.appearance import Appearance
from dtgd_edge.runtime.regions import LIMIT
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.zones import ZoneScore
from dtgd_edge.verdict import Decision, Region, Verdict


class Stopwatch:
    """Bills the time since the last lap to a stage, adding to what it has."""

    def __init__(self, stages: dict[str, float], begun_ns: int) -> None:
        self.stages = stages
        self._last_ns = begun_ns

    def lap(self, stage: str) -> None:
        now_ns = time.monotonic_ns()
        self.stages[stage] = self.stages.get(stage, 0.0) + (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns


class Case:
    """What is known of the frame that is being judged.

    Attributes:
        threshold: read once, so that it cannot change within a frame.
        appearance: once it was measured.
    """

    def __init__(self, frame: Frame, threshold: float, watch: Stopwatch) -> None:
        self.frame = frame
        self.threshold = threshold
        self.watch = watch
        self.appearance: Appearance | None = None

    def decided(
        self,
        decision: Decision,
        scored: ZoneScore,
        frame_map: NDArray[np.float32],
        regions: tuple[Region, ...],
        note: str,
    ) -> Verdict:
        return Verdict(
            decision,
            self.frame.index,
            scored.threshold,
            score=scored.score,
            map=frame_map,
            regions=regions[:LIMIT],
            stages_ms=self.watch.stages,
            frame_name=self.frame.name,
            part=self.frame.part,
            zone=scored.zone.name,
            note=note,
            appearance=self.appearance,
        )

    def undecided(self, reason: str) -> Verdict:
        return Verdict(
            Decision.NO_DECISION,
            self.frame.index,
            self.threshold,
            stages_ms=self.watch.stages,
            reason=reason,
            frame_name=self.frame.name,
            part=self.frame.part,
            appearance=self.appearance,
        )
