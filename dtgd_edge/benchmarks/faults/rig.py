"""A line to break: coloured parts, the grey bundle, and a run in a thread that can be looked at.

Its threshold accepts every part, so that only the line's own doubts can keep a frame from being OK.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.appearance import statistics_of
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.benchmarks.grey import grey_bundle
from dtgd_edge.errors import DtgdError
from dtgd_edge.pretend import line_parts
from dtgd_edge.runtime.assembly import Line, open_line
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.line import LineConfig, LoopConfig
from dtgd_edge.runtime.live import OpenInspector
from dtgd_edge.runtime.recovery import RecoveryConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig, SourceConfig
from dtgd_edge.runtime.summary import Summary

Picture = NDArray[np.uint8]

PARTS, SIDE_PX = 16, 192
ACCEPTS_ALL = 100.0
# Brass: the pretend line's parts are grey, and exchanged colours could not be seen on them.
_TINT_BGR = (0.55, 0.8, 1.0)
_JOIN_S = 20.0


def parts() -> tuple[Picture, ...]:
    """Different good parts in brass, uint8 BGR [SIDE_PX, SIDE_PX, 3]."""
    drawn = islice(line_parts(0, 0.0, SIDE_PX), PARTS)
    return tuple(np.rint(part.image * _TINT_BGR).astype(np.uint8) for part in drawn)


def write_bundle(path: Path, pictures: Sequence[Picture]) -> None:
    """Write the grey bundle as if it had been trained on these pictures."""
    bundle = grey_bundle(ACCEPTS_ALL)
    manifest = replace(
        bundle.manifest,
        frame_size_hw=(pictures[0].shape[0], pictures[0].shape[1]),
        statistics=statistics_of(bundle.manifest.geometry.apply(picture) for picture in pictures),
    )
    replace(bundle, manifest=manifest).save(path)


class PacedSource(FrameSource):
    """Pictures round and round, as a live camera gives them.

    Args:
        pictures: shown.
        fps: frames per second.
    """

    is_live = True
    description = "paced pictures"

    def __init__(self, pictures: Sequence[Picture], fps: float) -> None:
        self._pictures = pictures
        self._period_s = 1.0 / fps
        self._closed = threading.Event()
        self.given = 0

    def __iter__(self) -> Iterator[Frame]:
        while not self._closed.wait(self._period_s):
            index, self.given = self.given, self.given + 1
            yield Frame(self._pictures[index % len(self._pictures)], index)

    def close(self) -> None:
        self._closed.set()


def line_config(uri: str = "sample:", **tables: Any) -> LineConfig:
    """A line that gets over faults in fractions of a second, so that there is time for many of them."""
    reconnect = ReconnectConfig(first_wait_s=0.05, longest_wait_s=0.2, timeout_s=1.0, open_timeout_s=3.0)
    config = LineConfig(
        source=SourceConfig(uri, reconnect=reconnect),
        loop=LoopConfig(backend="ort", threads=1),
        recovery=RecoveryConfig(first_wait_s=0.05, longest_wait_s=0.2, tries=0),
    )
    return config.changed(**tables)


class Running:
    """A line that runs in a thread.

    Attributes:
        line: what runs.
        watch: sees every verdict, after all other sinks.
        told: events so far.
    """

    def __init__(self, line: Line, watch: Watch, told: list[Event]) -> None:
        self.line = line
        self.watch = watch
        self.told = told
        self.summary: Summary | None = None
        self.error: DtgdError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="line-under-test", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether the loop still turns."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the run and wait for it."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def told_of(self, kind: str) -> int:
        """How often an event of a kind was told."""
        return sum(event.kind == kind for event in self.told)

    def _run(self) -> None:
        try:
            self.summary = self.line.run(self._stop)
        except DtgdError as exc:
            self.error = exc


@contextmanager
def running(
    config: LineConfig,
    bundle: Path,
    source: FrameSource,
    watch: Watch,
    *,
    open_inspector: OpenInspector | None = None,
    sinks: Sequence[Sink | Outlet] = (),
    events: Events | None = None,
) -> Iterator[Running]:
    """Run a line while the block breaks it; when the block is left, the run is over."""
    told: list[Event] = []
    events = events or Events()
    events.listen(told.append)
    with open_line(config, bundle, source, open_inspector=open_inspector, events=events) as line:
        line.outlets += [*sinks, Outlet(watch, "watch", "end")]
        run = Running(line, watch, told)
        run.start()
        try:
            yield run
        finally:
            run.stop()
