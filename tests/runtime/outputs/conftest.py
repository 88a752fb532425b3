"""What the tests of outputs share."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


class Heard:
    """Listens to events."""

    def __init__(self) -> None:
        self.events = Events()
        self.all: list[Event] = []
        self._changed = threading.Condition()
        self.events.listen(self._hear)

    def _hear(self, event: Event) -> None:
        with self._changed:
            self.all.append(event)
            self._changed.notify_all()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.all]

    def wait_for(self, kind: str, count: int = 1, timeout_s: float = 10.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.kinds().count(kind) >= count, timeout_s)


class Commands:
    """A line that only remembers what it was told."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.resumed = 0

    def acknowledge(self, sequence: int) -> None:
        self.acknowledged.append(sequence)

    def resume(self) -> None:
        self.resumed += 1


def until(is_so: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Wait until something is so."""
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.005)
    return True


def written(index: int, decision: Decision = Decision.OK, part: int | None = None) -> tuple[Verdict, Frame]:
    """A verdict on a frame captured just now."""
    reason = "black: mean 0.01" if decision is Decision.NO_DECISION else None
    score = None if reason else 1.25
    frame = Frame(np.zeros((4, 4), np.uint8), index, part=part)
    anomaly_map = None if reason else np.zeros((4, 4), np.float32)
    return Verdict(decision, index, 2.5, score, anomaly_map, reason=reason, part=part), frame


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def commands() -> Commands:
    return Commands()
