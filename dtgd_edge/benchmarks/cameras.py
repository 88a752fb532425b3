"""Several pretended cameras through the real camera loop, one loop each, and what all of them got."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.flatness import held_bytes
from dtgd_edge.errors import BackendError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.verdict import Verdict

# Frames of each camera before the clock counts.
WARM_UP = 1


@dataclass(frozen=True, slots=True)
class CamerasRun:
    """What one run of several cameras showed.

    Attributes:
        frames_per_s: of all cameras together.
        slowest_per_s: of the camera that got least.
        processor_ms: processor time of the whole process, per frame: what other programs take is not in it.
        busy_cores: processor time over time. Much less than the threads of a session that computes on the
            CPU means that other programs had the cores.
        latencies_ms: from each frame's arrival to its verdict.
        dropped: frames that made room for newer ones.
        held_mib: memory that the process held at the end, with all cameras still running.
    """

    frames_per_s: float
    slowest_per_s: float
    processor_ms: float
    busy_cores: float
    latencies_ms: tuple[float, ...]
    dropped: int
    held_mib: float

    @property
    def latency_ms(self) -> Percentiles:
        return Percentiles.of(self.latencies_ms)


def run_cameras(
    inspectors: Sequence[Inspector],
    pictures: Sequence[NDArray[np.uint8]],
    frames: int,
    each_per_s: float | None = None,
    seed: int = 0,
) -> CamerasRun:
    """Let as many cameras as there are inspectors run at the same time.

    Args:
        inspectors: one per camera; they stay open.
        pictures: uint8 BGR [H, W, 3], all of one size; every camera shows copies of them, round and round.
        frames: counted, of all cameras together.
        each_per_s: frames a second that each camera gives, at irregular distances (half to one and a half
            of the mean), the newest being kept; None: each camera has its next frame ready at any time, so
            that the machine is at its limit.
        seed: of the irregular distances.

    Raises:
        BackendError: a session failed, or a picture cannot be judged.
    """
    stop = threading.Event()
    meter = _Meter(len(inspectors), frames, stop)
    errors: list[BaseException] = []
    dropped: list[int] = []

    def run(camera: int) -> None:
        rhythm = None if each_per_s is None else _Rhythm(each_per_s, np.random.default_rng((seed, camera)))
        first = camera % len(pictures)
        source = _Camera([*pictures[first:], *pictures[:first]], rhythm)
        try:
            summary = run_loop(source, inspectors[camera], [meter.sink(camera)], stop=stop, queue_size=1)
            dropped.append(summary.dropped)
        except BaseException as exc:
            errors.append(exc)
            stop.set()

    threads = [threading.Thread(target=run, args=(camera,)) for camera in range(len(inspectors))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return meter.run(sum(dropped))


class _Rhythm:
    """When the next frame is due: at distances that are irregular, as parts and cameras without a common
    clock are.
    """

    def __init__(self, per_s: float, chance: np.random.Generator) -> None:
        self._mean_ns = 1e9 / per_s
        self._chance = chance
        self._due_ns = time.monotonic_ns() + round(chance.uniform(0, self._mean_ns))

    def next_due_ns(self) -> int:
        due_ns = self._due_ns
        self._due_ns += round(self._chance.uniform(0.5, 1.5) * self._mean_ns)
        return due_ns


class _Camera(FrameSource):
    """Shows pictures; in a rhythm as a live camera, or as fast as they are taken."""

    description = "pretended camera"
    # On a busy machine the pace may be minutes.
    may_be_silent = True

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], rhythm: _Rhythm | None) -> None:
        self._pictures = pictures
        self._rhythm = rhythm
        self._closed = threading.Event()

    @property
    def is_live(self) -> bool:
        return self._rhythm is not None

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closed.is_set():
            arrived_ns = time.monotonic_ns()
            if self._rhythm is not None:
                # The time at which it was due: waiting for a busy processor is part of the latency.
                arrived_ns = self._rhythm.next_due_ns()
                if self._closed.wait(max(0.0, (arrived_ns - time.monotonic_ns()) / 1e9)):
                    return
            # A camera's driver writes each frame into memory of its own.
            yield Frame(self._pictures[index % len(self._pictures)].copy(), index, arrived_ns)
            index += 1

    def close(self) -> None:
        self._closed.set()


class _Meter:
    """Counts the verdicts of all cameras between the end of the warm-up and the last one that is wanted."""

    def __init__(self, cameras: int, frames: int, stop: threading.Event) -> None:
        self._warm_up = WARM_UP * cameras
        self._last = self._warm_up + frames
        self._stop = stop
        self._lock = threading.Lock()
        self._seen = 0
        self._per_camera = [0] * cameras
        self._latencies_ms: list[float] = []
        self._begun = self._ended = (0, 0)
        self._held_mib = 0.0

    def sink(self, camera: int) -> Sink:
        """Where a camera's verdicts go."""
        return _MeterSink(self, camera)

    def count(self, camera: int, latency_ms: float) -> None:
        """A verdict of a camera; any thread may call it."""
        now = time.monotonic_ns(), time.process_time_ns()
        with self._lock:
            self._seen += 1
            if self._seen == self._warm_up:
                self._begun = now
            if not self._warm_up < self._seen <= self._last:
                return
            self._per_camera[camera] += 1
            self._latencies_ms.append(latency_ms)
            if self._seen == self._last:
                self._ended = now
        if self._seen >= self._last:
            self._held_mib = held_bytes() / 2**20
            self._stop.set()

    def run(self, dropped: int) -> CamerasRun:
        """What was counted."""
        seconds, processor_s = ((b - a) / 1e9 for a, b in zip(self._begun, self._ended, strict=True))
        frames = len(self._latencies_ms)
        return CamerasRun(
            frames_per_s=frames / seconds,
            slowest_per_s=min(self._per_camera) / seconds,
            processor_ms=1e3 * processor_s / frames,
            busy_cores=processor_s / seconds,
            latencies_ms=tuple(self._latencies_ms),
            dropped=dropped,
            held_mib=self._held_mib,
        )


class _MeterSink(Sink):
    def __init__(self, meter: _Meter, camera: int) -> None:
        self._meter = meter
        self._camera = camera

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if verdict.score is None:
            raise BackendError(
                f"a frame was not judged ({verdict.reason}); expected a score for each; "
                "choose another bundle, whose golden frames are pictures"
            )
        self._meter.count(self._camera, sum(verdict.stages_ms.values()))

    def close(self) -> None:
        """Nothing is held."""
