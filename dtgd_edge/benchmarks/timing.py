"""Time a bundle the way the line uses it: frame by frame through the Inspector, stage by stage."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.bundle import Bundle
from dtgd_edge.config import mapping_from_record
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.health import HealthGate
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session
from dtgd_edge.runtime.source import Frame

SCORE, TOTAL, LOOP = "score", "total", "all but score"
SETTLE_S = 0.005

Samples = dict[str, list[float]]
Times = dict[str, float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratios of times that were taken side by side.

    Attributes:
        median: of the ratios of the single frames.
        lower, upper: quartiles; the middle half of the ratios lies between them.
    """

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> "Ratio":
        """Divide frame by frame; both [N], N >= 1."""
        median, lower, upper = np.percentile(np.divide(over, under), (50, 25, 75))
        return cls(float(median), float(lower), float(upper))


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of one session.

    Attributes:
        backend: "ort", "null", ...
        device: where it ran, for people.
        precision: of the bundle.
        graph_sha256: of the bundle.
        frame_hw: size of the frames that were judged.
        warm_up: frames judged before the clock counted.
        stages_ms: milliseconds per stage; "total" is from arrival to verdict, without capture, and
            "all but score" what of it the session does not take.
        speed: median over the frames of the first subject's time to score over this one's.
        machine: where.
    """

    backend: str
    device: str
    precision: str
    graph_sha256: str
    frame_hw: tuple[int, int]
    warm_up: int
    stages_ms: dict[str, Percentiles]
    speed: float
    machine: Machine

    @property
    def frames_per_s(self) -> float:
        """How many frames a second can be judged at most, one after the other, by the median frame."""
        median_ms = self.stages_ms[TOTAL].p50
        return 1e3 / median_ms if median_ms else 0.0

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**mapping_from_record(self), "frames_per_s": round(self.frames_per_s, 1)}


def measure(
    subjects: Sequence[tuple[Bundle, str]],
    pictures: Sequence[NDArray[np.uint8]],
    *,
    frames: int = 200,
    warm_up: int = 20,
    threads: int | None = None,
) -> list[Measurement]:
    """Judge the same frames with each subject in turn, interleaved so that foreign load hits all alike.

    Args:
        subjects: bundles, each with a backend as open_session takes it.
        pictures: uint8 BGR [H, W, 3], all of one size; used round and round.
        frames: counted frames per subject.
        warm_up: frames per subject before that.
        threads: as open_session takes them.

    Raises:
        BackendError: a session cannot be opened or fails.
    """
    with contextlib.ExitStack() as stack:
        inspectors = []
        for bundle, backend in subjects:
            # Frames of any size may be timed, whatever the bundle was trained on.
            gate = HealthGate(None, is_live=False)
            inspectors.append(Inspector(open_session(bundle, backend, threads), bundle.manifest, gate))
            stack.callback(inspectors[-1].close)
        turns = [_turn(inspector, pictures) for inspector in inspectors]
        samples = interleaved(turns, frames, warm_up)
        machine = this_machine()
        return [
            Measurement(
                backend=inspector.session.spec.backend,
                device=inspector.session.spec.device,
                precision=bundle.manifest.precision,
                graph_sha256=bundle.manifest.graph_sha256,
                frame_hw=(pictures[0].shape[0], pictures[0].shape[1]),
                warm_up=warm_up,
                stages_ms={stage: Percentiles.of(ms) for stage, ms in times.items()},
                speed=Ratio.of(samples[0][SCORE], times[SCORE]).median,
                machine=machine,
            )
            for (bundle, _), inspector, times in zip(subjects, inspectors, samples, strict=True)
        ]


def interleaved(
    turns: Sequence[Callable[[int], Times]],
    frames: int,
    warm_up: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Samples]:
    """Let subjects take turns, one frame each, so that foreign load hits all alike.

    Args:
        turns: called with the number of the frame; each returns milliseconds by stage.
        frames: counted frames per subject.
        warm_up: frames per subject before that.
        progress: called with the number of rounds done and of all.

    Returns:
        Milliseconds per frame by stage, for each subject.
    """
    samples: list[Samples] = [{} for _ in turns]
    for index in range(warm_up + frames):
        for turn, times in zip(turns, samples, strict=True):
            for stage, ms in turn(index).items():
                if index >= warm_up:
                    times.setdefault(stage, []).append(ms)
            # A pool's threads go on spinning for a while, which would slow the next subject down.
            time.sleep(SETTLE_S)
        progress(index + 1, warm_up + frames)
    return samples


def _turn(inspector: Inspector, pictures: Sequence[NDArray[np.uint8]]) -> Callable[[int], Times]:
    return lambda index: _timed(inspector, pictures[index % len(pictures)], index)


def _timed(inspector: Inspector, picture: NDArray[np.uint8], index: int) -> Times:
    """Milliseconds per stage of one frame, and their total."""
    arrived = time.monotonic_ns()
    verdict = inspector.inspect(Frame(picture, index, arrived))
    total_ms = (time.monotonic_ns() - arrived) / 1e6
    assert verdict.score is not None, verdict.reason
    stages = {stage: ms for stage, ms in verdict.stages_ms.items() if stage not in ("capture", "wait")}
    return {**stages, LOOP: total_ms - stages[SCORE], TOTAL: total_ms}
