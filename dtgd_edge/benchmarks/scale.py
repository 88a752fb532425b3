"""How far one machine reaches: cost against number of cameras, frame size and number of tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.config import mapping_from_record
from dtgd_edge.geometry import Shrink
from dtgd_edge.percentiles import Percentiles

# A step that brings less than this share more in total is past the bend.
GAIN = 0.10
# Share of the limit that the cameras ask for when the latency of a line is measured: no line is planned
# to its limit.
LOAD = 0.7
# At its limit a session on the CPU keeps at least so much of one core busy, unless other programs have it.
BUSY = 0.8

Sessions = Literal["shared", "own"]
Mode = Literal["limit", "paced"]


@dataclass(frozen=True, slots=True)
class CameraStep:
    """Some cameras at once.

    Attributes:
        cameras: how many.
        sessions: "shared": one for all of them; "own": one each, with its share of the threads.
        mode: "limit": each camera always has a next frame; "paced": together they give LOAD of what the
            limit of the same round was.
        frames_per_s: judged, of all together; the median of the rounds.
        lowest_per_s, highest_per_s: the same of the worst and the best round.
        slowest_per_s: of the camera that got least, median of the rounds.
        processor_ms, busy_cores: as CamerasRun, medians of the rounds.
        latency_ms: from arrival to verdict, frames of all rounds.
        dropped: frames that made room for newer ones, of all rounds.
        held_mib: memory that the process held, the least of all rounds: what earlier steps left behind is no
            camera's.
        batches: how often the shared session scored so many frames at once.
    """

    cameras: int
    sessions: Sessions
    mode: Mode
    frames_per_s: float
    lowest_per_s: float
    highest_per_s: float
    slowest_per_s: float
    processor_ms: float
    busy_cores: float
    latency_ms: Percentiles
    dropped: int
    held_mib: float
    batches: dict[int, int]


@dataclass(frozen=True, slots=True)
class FrameCost:
    """One camera with frames of some size.

    Attributes:
        frame_hw: of the frames.
        shrink: how the geometry makes them small.
        stages_ms: milliseconds per stage, as Measurement has them.
    """

    frame_hw: tuple[int, int]
    shrink: Shrink
    stages_ms: dict[str, Percentiles]


@dataclass(frozen=True, slots=True)
class TileCost:
    """One camera with a graph that cuts its frames into tiles.

    Attributes:
        name: of the bundle.
        precision: of the bundle.
        tiles: rows and columns.
        tile_hw: size of a tile as the network sees it.
        size_hw: of the graph's input.
        stages_ms: milliseconds per stage, as Measurement has them.
    """

    name: str
    precision: str
    tiles: tuple[int, int]
    tile_hw: tuple[int, int]
    size_hw: tuple[int, int]
    stages_ms: dict[str, Percentiles]


@dataclass(frozen=True, slots=True)
class Scale:
    """All of it, of one bundle on one machine.

    Attributes:
        name, precision, graph_sha256: of the bundle.
        batch: frames that its graph takes at once.
        device: where the session ran.
        frame_hw: size of the frames that the cameras gave.
        frames: counted frames of all cameras together, per step and round; more where a camera would have
            had less than a few.
        rounds: how often all steps were gone through.
        steps: by cameras; "shared" at its limit and paced, then "own" at its limit.
        frame_costs: by frame size and rule.
        tile_costs: of the bundles that were given for it.
        machine: where.
    """

    name: str
    precision: str
    graph_sha256: str
    batch: int
    device: str
    frame_hw: tuple[int, int]
    frames: int
    rounds: int
    steps: tuple[CameraStep, ...]
    frame_costs: tuple[FrameCost, ...]
    tile_costs: tuple[TileCost, ...]
    machine: Machine

    def chosen(self, sessions: Sessions, mode: Mode) -> list[CameraStep]:
        """The steps of one kind, by cameras."""
        return [step for step in self.steps if (step.sessions, step.mode) == (sessions, mode)]

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs had the cores, so that times and bends say nothing about this machine."""
        busy = min(step.busy_cores for step in self.steps if step.mode == "limit")
        return self.device.startswith("CPU") and busy < BUSY

    def bend(self, sessions: Sessions) -> int | None:
        """From how many cameras on more of them judge no more frames; None: not yet at the most."""
        return bend_of([(step.cameras, step.frames_per_s) for step in self.chosen(sessions, "limit")])

    def mib_per_camera(self, sessions: Sessions) -> float | None:
        """Memory that each further camera takes; None with only one number of cameras."""
        steps = self.chosen(sessions, "limit")
        first, last = steps[0], steps[-1]
        if first is last:
            return None
        return (last.held_mib - first.held_mib) / (last.cameras - first.cameras)

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        kinds: tuple[Sessions, ...] = ("shared", "own")
        return {
            **mapping_from_record(self),
            "is_disturbed": self.is_disturbed,
            "bend": {kind: self.bend(kind) for kind in kinds},
            "mib_per_camera": {kind: self.mib_per_camera(kind) for kind in kinds},
        }


def bend_of(points: Sequence[tuple[int, float]]) -> int | None:
    """Where a curve of throughput bends: the first point from which the next one gains less than GAIN.

    Args:
        points: (cameras, frames a second of all together), ascending by cameras.

    Returns:
        The cameras of that point; None: each step still gains.
    """
    for (cameras, before), (_, after) in pairwise(points):
        if after < before * (1 + GAIN):
            return cameras
    return None
