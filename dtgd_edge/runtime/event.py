"""What happens on a line beside verdicts: a camera lost, a threshold changed, a self-test failed."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: what, in two or three words; the same words every time: "source lost".
        detail: the particulars, one sentence.
        is_alarm: whether somebody must do something.
        who: the person or part of the program that caused it; "" if nobody did.
        at_ns: time.time_ns(), for people and records; durations are measured elsewhere.
    """

    kind: str
    detail: str
    is_alarm: bool = False
    who: str = ""
    at_ns: int = field(default_factory=time.time_ns)


class Events:
    """Passes events on to whoever listens; any thread may tell.

    A listener is called in the teller's thread and must be quick. One that raises is logged and the others
    are still called: news of a fault must not become a second one.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call a listener with every event from now on."""
        with self._lock:
            self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Log an event and pass it on."""
        level = logging.WARNING if event.is_alarm else logging.INFO
        _log.log(level, "%s: %s", event.kind, event.detail)
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a listener failed on %r", event.kind)
