"""Tells a fault that repeats once, then now and then with a count."""

from dtgd_edge.runtime.event import Event

INTERVAL_NS = 10_000_000_000


class News:
    """Collects events; of one kind that repeats at most one in ten seconds.

    Nothing is called from here: the logic that finds faults holds a lock which listeners must not meet.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._told_ns: dict[str, int] = {}
        self._untold: dict[str, int] = {}

    def add(self, kind: str, detail: str, now_ns: int, *, is_alarm: bool = True) -> None:
        """Note an event, or count it when its kind was told a moment ago."""
        told_ns = self._told_ns.get(kind)
        if told_ns is not None and now_ns - told_ns < INTERVAL_NS:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        if untold := self._untold.pop(kind, 0):
            detail = f"{detail} ({untold} more since the last word of it)"
        self._told_ns[kind] = now_ns
        self._events.append(Event(kind, detail, is_alarm))

    def take(self) -> list[Event]:
        """Give out what was noted."""
        events, self._events = self._events, []
        return events
