"""The moments at which a part is where the camera looks."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dtgd_edge.runtime.event import Event, Events
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


class Trigger:
    """Collects triggers for a source; any thread may fire.

    Args:
        config: how many may wait.
        events: told of each that is lost because too many wait.
    """

    def __init__(self, config: TriggerConfig = TriggerConfig(), events: Events | None = None) -> None:
        self._limit = config.queue_limit
        self._events = events if events is not None else Events()
        self._waiting: deque[Firing] = deque()
        self._changed = threading.Condition()
        self._next_part = 0
        self._lost = 0
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
                self._waiting.append(firing)
                self._changed.notify_all()
            else:
                self._lost += 1
        if is_taken:
            return part
        text = f"part {part} is not judged: {self._limit} triggers wait already; lengthen the takt"
        self._events.tell(Event("trigger lost", text, is_alarm=True, who=who))
        return None

    def take(self, timeout_s: float) -> Firing | None:
        """The oldest trigger that waits; None when none came within the time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            return self._waiting.popleft() if self._waiting else None
