"""Only the frames that show a part, out of a stream of a moving belt."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import SourceError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import PartGateConfig
from dtgd_edge.runtime.sources.empty_belt import EmptyBelt

_STUCK_S = 30.0


@dataclass(slots=True)
class _Passage:
    """A part on its way through the region.

    Attributes:
        part: its number.
        begun_ns: when its first frame was captured.
        held: its best-centred frames so far, in order of time, each with its distance from the centre.
    """

    part: int
    begun_ns: int
    held: list[tuple[float, Frame]] = field(default_factory=list)
    is_told: bool = False


class PartGate(FrameSource):
    """Delivers the frames that show a part, a few of each; `Frame.part` numbers the parts from 0.

    A part's frames come when it has left the region, because only then is it known which of them show it
    best; with `frames_per_part = 0` nothing is chosen and each comes at once. Frames of the empty belt and
    frames that are not chosen are left out; they are not counted as dropped, and `index` has no gaps.

    A frame with a fault is passed on at once, with the number of the part that is in the region, if one is:
    a part that was on its way is NO_DECISION and not forgotten. With a lost camera that part ends, because
    what is in the region when the camera is back may be another one; if it is the same, it counts twice.

    Args:
        source: closed with this one.
        config: where a part is looked for and what it is told by.
        events: told of a part that stays for half a minute, "part gate stuck": the belt stands, or it looks
            different from the reference for good and no part is seen any more; and of a source that ended
            before the belt was learned.

    Raises:
        DataError: the reference cannot be read.
        ConfigError: the region reaches beyond the reference; while iterating: beyond the first frame.
    """

    keeps_newest = False
    may_be_silent = True

    def __init__(self, source: FrameSource, config: PartGateConfig, events: Events | None = None) -> None:
        self._source = source
        self._config = config
        self._events = events if events is not None else Events()
        self._closed = threading.Event()
        self._belt = EmptyBelt(config)
        self._passage: _Passage | None = None
        self._next_part = 0

    @property
    def is_live(self) -> bool:
        return self._source.is_live

    @property
    def description(self) -> str:
        return f"{self._source.description}, only frames that show a part"

    @property
    def dropped(self) -> int:
        return self._source.dropped

    def __iter__(self) -> Iterator[Frame]:
        try:
            for index, frame in enumerate(self._delivered()):
                yield replace(frame, index=index)
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        self._source.close()

    def _delivered(self) -> Iterator[Frame]:
        end: SourceError | None = None
        try:
            for frame in self._source:
                if self._closed.is_set():
                    return
                yield from self._frames_due(frame)
        except SourceError as exc:
            # Told after the frames that were taken before it: their part is on the belt.
            end = exc
        if not self._closed.is_set():
            yield from self._left()
            if not self._belt.is_known:
                self._tell_unlearned()
        if end is not None:
            raise end

    def _frames_due(self, frame: Frame) -> list[Frame]:
        """Take the source's next frame; give those that are due by now, in order of time."""
        image = frame.image
        fault = frame.fault if image is None else self._belt.fault(image)
        if image is None or fault is not None:
            return self._after_fault(replace(frame, image=None, fault=fault))
        if not self._belt.is_known:
            self._belt.learn(image)
            return []
        changed = self._belt.changed(image)
        share = float(changed.mean())
        if self._passage is None:
            if share < self._config.enter_share:
                return []
            self._passage = _Passage(self._next_part, frame.captured_ns)
            self._next_part += 1
        # With a leave_share of 0, a part has left when nothing is changed.
        elif share < self._config.leave_share or share == 0:
            return self._left()
        return self._passed(self._passage, frame, changed)

    def _after_fault(self, frame: Frame) -> list[Frame]:
        if self._passage is None:
            return [replace(frame, part=None)]
        frame = replace(frame, part=self._passage.part)
        # While the camera was away one part may have left and another come.
        is_away = (frame.fault or "").startswith("lost frame")
        return [*self._left(), frame] if is_away else [frame]

    def _passed(self, passage: _Passage, frame: Frame, changed: NDArray[np.bool_]) -> list[Frame]:
        """Take one more frame of the part in the region."""
        self._tell_if_stuck(passage, frame.captured_ns)
        frame = replace(frame, part=passage.part)
        if not self._config.frames_per_part:
            return [frame]
        passage.held.append((_distance_from_centre(changed), frame))
        if len(passage.held) > self._config.frames_per_part:
            passage.held.remove(max(passage.held, key=lambda held: held[0]))
        return []

    def _left(self) -> list[Frame]:
        passage, self._passage = self._passage, None
        return [] if passage is None else [frame for _, frame in passage.held]

    def _tell_if_stuck(self, passage: _Passage, now_ns: int) -> None:
        stays_s = (now_ns - passage.begun_ns) / 1e9
        if passage.is_told or stays_s < _STUCK_S:
            return
        passage.is_told = True
        text = (
            f"{self._source.description}: part {passage.part} is in the region for {stays_s:.0f} s; expected "
            "it to leave; start the belt, or if it looks different now, take the part gate's reference again"
        )
        self._events.tell(Event("part gate stuck", text, is_alarm=True))

    def _tell_unlearned(self) -> None:
        text = (
            f"{self._source.description} ended after {self._belt.learned} of the empty belt; expected all of "
            "them and parts behind; name a reference, or lower learn_frames"
        )
        self._events.tell(Event("part gate not ready", text, is_alarm=True))


def _distance_from_centre(changed: NDArray[Any]) -> float:
    """How far the middle of the changed pixels is from the region's; 1 is half its width or height."""
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    y = (2 * float(rows.mean()) + 1) / height - 1
    x = (2 * float(columns.mean()) + 1) / width - 1
    return float(np.hypot(x, y))
