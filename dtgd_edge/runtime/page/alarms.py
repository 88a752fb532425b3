"""Recent events, and which faults are open."""

import threading
from collections import deque

from dtgd_edge.runtime.event import Event

_RECENT = 200
_ALARMS = 50

# By the last word of an event's kind: "source lost" opens what "source back" closes.
_OPENING = frozenset({"lost", "down", "failed", "full"})
_CLOSING = frozenset({"back", "up", "passed", "recovered"})


class Alarms:
    """Listens to a line's events; any thread may tell and ask.

    A fault is open from "source lost", "sink down" or "self-test failed" until "source back", "sink back" or
    "self-test passed", whoever of the line's parts tells it for itself. Any other alarm (drift, say) stays
    until somebody has seen it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._faults: dict[tuple[str, str], Event] = {}
        self._alarms: deque[Event] = deque(maxlen=_ALARMS)
        self._counts: dict[str, int] = {}

    def listen(self, event: Event) -> None:
        """Take an event: what Events calls."""
        subject, _, last = event.kind.rpartition(" ")
        key = (subject, event.who)
        with self._lock:
            self._recent.append(event)
            if event.kind in self._counts or len(self._counts) < _RECENT:
                self._counts[event.kind] = self._counts.get(event.kind, 0) + 1
            if last in _CLOSING:
                self._faults.pop(key, None)
            elif last in _OPENING and event.is_alarm and len(self._faults) < _ALARMS:
                self._faults[key] = event
            elif event.is_alarm:
                self._alarms.append(event)

    def recent(self) -> tuple[Event, ...]:
        """The newest first."""
        with self._lock:
            return tuple(reversed(self._recent))

    def faults(self) -> tuple[Event, ...]:
        """Open faults, the newest first."""
        with self._lock:
            return tuple(reversed(self._faults.values()))

    def unseen(self) -> tuple[Event, ...]:
        """Alarms that nobody has seen yet, the newest first."""
        with self._lock:
            return tuple(reversed(self._alarms))

    def see(self) -> int:
        """Somebody has seen them: they are only recent events now; how many there were."""
        with self._lock:
            count = len(self._alarms)
            self._alarms.clear()
            return count

    def counts(self) -> dict[str, int]:
        """How often each kind was told."""
        with self._lock:
            return dict(self._counts)
