"""The moments at which a part is where the camera looks, and the frame that belongs to each."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.handoff import EndOfFrames
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.source_config import TriggerConfig


@dataclass(frozen=True, slots=True)
class Firing:
    """One trigger.

    Attributes:
        part: counted from 0.
        fired_ns: time.monotonic_ns().
        who: the person or device.
    """

    part: int
    fired_ns: int
    who: str


@dataclass(slots=True, eq=False)
class _Waiting:
    """A trigger that waits for its frame, or with its frame for being taken.

    Attributes:
        frame: its answer.
        fault: why it has no picture yet.
    """

    firing: Firing
    frame: Frame | None = None
    fault: str = "no frame"


class Trigger:
    """Numbers the parts and gives each one frame: the first that arrives after its trigger.

    A frame belongs to one trigger. It is chosen while it arrives, not when somebody has time to judge it:
    by then the camera would show another part. Any thread may fire, one offers frames, one takes answers.

    Args:
        config: delay, time-out and how many may wait.
        events: told of each that is lost because too many wait.
    """

    def __init__(self, config: TriggerConfig = TriggerConfig(), events: Events | None = None) -> None:
        self._delay_ns = round(config.delay_ms * 1e6)
        self._timeout_ns = round(config.timeout_ms * 1e6)
        self._limit = config.queue_limit
        self._events = events if events is not None else Events()
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._next_part = 0
        self._lost = 0
        self._is_finished = False
        self._error: BaseException | None = None
        self._listeners: list[Callable[[Firing], None]] = []

    @property
    def lost(self) -> int:
        """Triggers that came while too many waited."""
        with self._changed:
            return self._lost

    def listen(self, listener: Callable[[Firing], None]) -> None:
        """Call a listener with every trigger from now on, before its part can be judged; lost ones too.

        It is called in the thread that fires, and returns at once.
        """
        with self._changed:
            self._listeners.append(listener)

    def fire(self, who: str = "") -> int | None:
        """A part is there now.

        Args:
            who: pressed the button or sent the message.

        Returns:
            The part's number; None: too many parts wait, and this one will not be judged. It has a number
            all the same, so that the gap shows.
        """
        with self._changed:
            part = self._next_part
            self._next_part += 1
            firing = Firing(part, time.monotonic_ns(), who)
            for listener in self._listeners:
                listener(firing)
            is_taken = len(self._waiting) < self._limit
            if is_taken:
                self._waiting.append(_Waiting(firing))
                self._changed.notify_all()
            else:
                self._lost += 1
        if is_taken:
            return part
        text = f"part {part} is not judged: {self._limit} triggers wait already; lengthen the takt"
        self._events.tell(Event("trigger lost", text, is_alarm=True, who=who))
        return None

    def offer(self, frame: Frame) -> None:
        """Give a frame, as it arrives, to the oldest trigger that waits for one; nobody else gets it."""
        with self._changed:
            for waiting in self._waiting:
                if waiting.frame is not None:
                    continue
                firing = waiting.firing
                if frame.captured_ns > firing.fired_ns + self._timeout_ns:
                    waiting.frame = self._missing(waiting)
                    continue
                if frame.captured_ns > firing.fired_ns + self._delay_ns:
                    if frame.image is not None:
                        waiting.frame = replace(frame, index=firing.part, part=firing.part)
                    else:
                        waiting.fault = frame.fault or waiting.fault
                break
            self._changed.notify_all()

    def finish(self, error: BaseException | None) -> None:
        """There will be no more frames, because of `error` or because that was all."""
        with self._changed:
            if not self._is_finished:
                self._is_finished, self._error = True, error
            for waiting in self._waiting:
                if waiting.frame is None:
                    waiting.fault = "the camera's pictures ended"
                    waiting.frame = self._missing(waiting)
            self._changed.notify_all()

    def answer(self, timeout_s: float) -> Frame | None:
        """The frame of the oldest trigger.

        Returns:
            A frame whose part and index are the part's number, so that lost triggers are gaps; it has a
            fault when no picture came in time. None when no trigger had its answer within `timeout_s`.

        Raises:
            EndOfFrames: there will be no more, and every trigger was answered.
            BaseException: the camera's own error, likewise.
        """
        ends_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        with self._changed:
            while True:
                now_ns, until_ns = time.monotonic_ns(), ends_ns
                if self._waiting:
                    oldest = self._waiting[0]
                    overdue_ns = oldest.firing.fired_ns + self._timeout_ns
                    if oldest.frame is None and (self._is_finished or now_ns >= overdue_ns):
                        oldest.frame = self._missing(oldest)
                    if oldest.frame is not None:
                        self._waiting.popleft()
                        return oldest.frame
                    until_ns = min(ends_ns, overdue_ns)
                elif self._is_finished:
                    raise self._error or EndOfFrames
                if now_ns >= ends_ns:
                    return None
                self._changed.wait((until_ns - now_ns) / 1e9)

    def _missing(self, waiting: _Waiting) -> Frame:
        firing = waiting.firing
        fault = f"lost frame: {waiting.fault} within {self._timeout_ns / 1e6:g} ms of the trigger"
        return Frame(None, firing.part, firing.fired_ns, fault=fault, part=firing.part)
