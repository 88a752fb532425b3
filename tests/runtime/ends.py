"""What a loop lies between: a source that gives or fails as told, and a sink that keeps what it gets."""

import threading
import time
from collections.abc import Iterator

import numpy as np

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.verdict import Verdict


class PretendSource(FrameSource):
    """So many frames, then an error, an end or (blocking) nothing until it is closed."""

    def __init__(
        self,
        frames: int,
        *,
        is_live: bool = False,
        every_s: float = 0.0,
        error: BaseException | None = None,
        blocks: bool = False,
    ) -> None:
        self._frames = frames
        self._is_live = is_live
        self._every_s = every_s
        self._error = error
        self._blocks = blocks
        self.closed = threading.Event()
        self.given = 0

    @property
    def is_live(self) -> bool:
        return self._is_live

    @property
    def description(self) -> str:
        return "pretend source"

    def __iter__(self) -> Iterator[Frame]:
        rng = np.random.default_rng(0)
        while self.given < self._frames:
            if self.closed.wait(self._every_s):
                return
            self.given += 1
            yield Frame(rng.integers(120, 136, (64, 64, 3), np.uint8), self.given - 1)
        if self._blocks:
            self.closed.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed.set()


class Collector(Sink):
    """Keeps what it gets; slow or failing on demand."""

    def __init__(
        self, takes_s: float = 0.0, fails_at: int | None = None, error: Exception | None = None
    ) -> None:
        self.indices: list[int] = []
        self.verdicts: list[Verdict] = []
        self._takes_s = takes_s
        self._fails_at = fails_at
        self._error = error or SinkError("the disk is full")

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if frame.index == self._fails_at:
            raise self._error
        time.sleep(self._takes_s)
        self.indices.append(frame.index)
        self.verdicts.append(verdict)

    def close(self) -> None:
        pass
