"""A bundle that can be timed, a clock that only work moves, and a session that works by it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.benchmarks import timing
from dtgd_edge.benchmarks.core_wait import CoreWait
from dtgd_edge.benchmarks.grey import grey_bundle, grey_score
from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.timing import ONE_AFTER_THE_OTHER, Measurement, measure
from dtgd_edge.benchmarks.timings import SCHEMA, TimedBundle, Timings
from dtgd_edge.bundle import Bundle, Golden
from dtgd_edge.pretend import draw_part
from dtgd_edge.runtime.sessions.null import NullSession
from dtgd_edge.verdict import Scores


def drawn_bundle() -> Bundle:
    """The grey bundle with golden frames that the health gate lets pass."""
    frames = np.stack([draw_part(np.random.default_rng(seed), size=64).image for seed in range(3)])
    score = np.array([grey_score(frame) for frame in frames], np.float32)
    return replace(grey_bundle(), golden=Golden(frames, score))


@dataclass
class Clock:
    """Time stands still but for `sleep`, and what a session says that it worked."""

    now_ns: int = 10**9
    slept_ms: list[float] = field(default_factory=list)

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept_ms.append(round(seconds * 1e3, 3))
        self.work(seconds * 1e3)

    def work(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)


class Worker(NullSession):
    """Takes as long as it is told: by the idle milliseconds since its last frame."""

    def __init__(self, bundle: Bundle, clock: Clock, cost_ms: Callable[[float], float]) -> None:
        super().__init__(bundle)
        self._clock, self._cost_ms, self._last_ns = clock, cost_ms, clock.now_ns

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        self._clock.work(self._cost_ms((self._clock.now_ns - self._last_ns) / 1e6))
        self._last_ns = self._clock.now_ns
        return super().score(frames)


def measured_by_clock(
    monkeypatch: pytest.MonkeyPatch, *costs_ms: Callable[[float], float], **options: Any
) -> tuple[list[Measurement], Clock]:
    """Measure sessions that take so long, one subject for each."""
    clock, bundle, costs = Clock(), drawn_bundle(), iter(costs_ms)
    monkeypatch.setattr(time, "monotonic_ns", clock.monotonic_ns)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    # Whatever else runs on this machine does not touch this clock.
    monkeypatch.setattr(CoreWait, "now_ns", lambda self: [])
    monkeypatch.setattr(timing, "open_session", lambda b, backend, threads: Worker(b, clock, next(costs)))
    made = measure([(bundle, "null")] * len(costs_ms), bench_pictures(bundle, (64, 64)), **options)
    monkeypatch.undo()
    return made, clock


def made_timings(scores_ms: Sequence[float], pace: Pace = ONE_AFTER_THE_OTHER) -> Timings:
    """A run whose session took so long, frame by frame, and whose loop took nothing."""
    left, costs_ms = list(scores_ms), []
    for turn in pace.turns(len(scores_ms)):
        costs_ms += [left[0]] * turn.lead_in + left[: turn.frames]
        del left[: turn.frames]
    costs = iter(costs_ms)
    with pytest.MonkeyPatch.context() as patch:
        measured, _ = measured_by_clock(
            patch, lambda idle: next(costs), lambda idle: 0.01, frames=len(scores_ms), warm_up=0, pace=pace
        )
    bundle = TimedBundle("line/<b>drawn.dtgd", "f" * 64)
    return Timings(SCHEMA, "2026-11-28T08:00:00+00:00", (bundle,), pace, 1, tuple(measured))
