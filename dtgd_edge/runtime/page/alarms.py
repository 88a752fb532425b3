"""Recent events, and which faults are open."""

import threading
from collections import deque

from dtgd_edge.runtime.event import Event

_RECENT = 200
_ALARMS = 50

# What ends which faults. Another bundle comes with a session of its own, proven.
_ENDS = {
    "source back": ("source lost",),
    "sink back": ("sink down",),
    "session back": ("session lost",),
    "encoder back": ("encoder lost",),
    "sync back": ("sync failed",),
    "pictures back": ("pictures lost", "pictures stuck"),
    "self-test passed": ("self-test failed",),
    "master parts passed": ("master parts failed",),
    "bundle switched": ("session lost", "self-test failed"),
    "bundle rolled back": ("session lost", "self-test failed"),
}
_FAULTS = frozenset(kind for kinds in _ENDS.values() for kind in kinds)


class Alarms:
    """Listens to a line's events; any thread may tell and ask.

    A fault, such as "source lost", is open until the event that ends it, "source back". Any other alarm
    (drift, say) stays until somebody has seen it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._faults: dict[tuple[str, str, str], Event] = {}
        self._alarms: deque[Event] = deque(maxlen=_ALARMS)
        self._counts: dict[str, int] = {}

    def listen(self, event: Event) -> None:
        """Take an event: what Events calls."""
        with self._lock:
            self._recent.append(event)
            if event.kind in self._counts or len(self._counts) < _RECENT:
                self._counts[event.kind] = self._counts.get(event.kind, 0) + 1
            for kind in _ENDS.get(event.kind, ()):
                self._end(kind, event)
            if event.is_alarm and event.kind in _FAULTS:
                if len(self._faults) < _ALARMS:
                    self._faults[event.kind, event.who, _name(event)] = event
            elif event.is_alarm:
                self._alarms.append(event)

    def _end(self, kind: str, end: Event) -> None:
        """Close the fault of the part that is named; where none is, all that the same one told."""
        keys = [key for key in self._faults if key[0] == kind]
        named = [key for key in keys if key[2] and end.detail.startswith(key[2])]
        same = [key for key in keys if key[1] == end.who]
        for key in named or same or (keys if len(keys) == 1 else []):
            del self._faults[key]

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


def _name(event: Event) -> str:
    """The part that a detail begins with: "mqtt: no connection"; "" where it names none."""
    name, colon, _ = event.detail.partition(":")
    return name if colon else ""
