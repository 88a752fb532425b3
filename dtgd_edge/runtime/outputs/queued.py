"""Keeps a slow or dead peer away from the loop: a bounded queue and a thread."""

import logging
import threading
import time
from collections import deque

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

CAPACITY = 1000
FLUSH_S = 5.0

_log = logging.getLogger(__name__)


class Refused(SinkError):
    """A peer is there and does not want this verdict: trying again would change nothing."""


class QueuedSink(Sink):
    """Delivers verdicts to another sink in a thread; `write` returns at once and never fails.

    Verdicts are delivered in order. While the inner sink fails, the oldest waits and is tried again with
    growing pauses; when the queue is full the oldest is dropped and counted. "sink down" and "sink back"
    are told once each. Pictures and maps are not kept: the inner sink gets frame and verdict without them.

    Args:
        inner: closed by `close`; raises SinkError to be tried again, Refused to have a verdict dropped.
        name: what it is, for people.
        events: is told.
        capacity: verdicts that wait.
        flush_s: how long `close` waits for the queue to empty.
        backoff: the pauses.
    """

    def __init__(
        self,
        inner: Sink,
        name: str,
        events: Events,
        *,
        capacity: int = CAPACITY,
        flush_s: float = FLUSH_S,
        backoff: Backoff | None = None,
    ) -> None:
        assert capacity >= 1, "a queue holds at least one verdict"
        self._inner = inner
        self.name = name
        self._events = events
        self._capacity = capacity
        self._flush_s = flush_s
        self._backoff = backoff or Backoff()
        self._waiting: deque[tuple[Verdict, Frame]] = deque()
        self._changed = threading.Condition()
        self._give_up_at: float | None = None
        self._is_down = False
        self._is_refused = False
        self._delivered = 0
        self._dropped = 0
        self._dropped_before = 0
        self._thread = threading.Thread(target=self._run, name=f"dtgd-{name.split()[0]}", daemon=True)
        self._thread.start()

    @property
    def is_up(self) -> bool:
        """Whether the last try worked."""
        return not self._is_down

    @property
    def delivered(self) -> int:
        """Verdicts that the inner sink took."""
        return self._delivered

    @property
    def dropped(self) -> int:
        """Verdicts that were lost: by a full queue, by a refusal, or at the end."""
        return self._dropped

    def write(self, verdict: Verdict, frame: Frame) -> None:
        # A picture of 6 MB and a map of 8 MB times a thousand would fill the memory.
        bare = Frame(
            None, frame.index, frame.captured_ns, frame.name, fault="picture not kept", part=frame.part
        )
        with self._changed:
            if self._give_up_at is not None:
                raise SinkError(f"{self.name} is closed; expected no more verdicts; open it again")
            self._waiting.append((verdict.without_map(), bare))
            if len(self._waiting) > self._capacity:
                self._waiting.popleft()
                self._dropped += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver what waits, within a limit of time; what is left is counted as dropped."""
        with self._changed:
            if self._give_up_at is None:
                self._give_up_at = time.monotonic() + self._flush_s
            self._changed.notify_all()
        self._thread.join(self._flush_s + 2.0)

    def _run(self) -> None:
        try:
            while (pair := self._oldest()) is not None:
                self._deliver(pair)
        finally:
            with self._changed:
                self._give_up_at = self._give_up_at or time.monotonic()
                left = len(self._waiting)
                self._dropped += left
                self._waiting.clear()
            if left:
                detail = f"{self.name}: {left} verdicts were not delivered when it was closed"
                self._events.tell(Event("verdicts lost", detail, is_alarm=True))
            self._inner.close()

    def _oldest(self) -> tuple[Verdict, Frame] | None:
        """Wait for a verdict; None when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._give_up_at is not None)
            if not self._waiting or self._is_time_over():
                return None
            return self._waiting[0]

    def _is_time_over(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _deliver(self, pair: tuple[Verdict, Frame]) -> None:
        try:
            self._inner.write(*pair)
        except Refused as exc:
            self._take_out(pair)
            with self._changed:
                self._dropped += 1
            if not self._is_refused:
                self._is_refused = True
                self._events.tell(Event("verdict refused", f"{self.name}: {exc}", is_alarm=True))
            self._came_back()
        except SinkError as exc:
            self._went_down(exc)
        else:
            self._take_out(pair)
            self._delivered += 1
            self._is_refused = False
            self._came_back()

    def _take_out(self, pair: tuple[Verdict, Frame]) -> None:
        with self._changed:
            # It may have made room for a newer one meanwhile.
            if self._waiting and self._waiting[0] is pair:
                self._waiting.popleft()
            else:
                self._dropped -= 1

    def _went_down(self, error: SinkError) -> None:
        if not self._is_down:
            self._is_down = True
            self._dropped_before = self._dropped
            self._events.tell(Event("sink down", f"{self.name}: {error}", is_alarm=True))
        _log.debug("%s: %s", self.name, error)
        wait_s = self._backoff.next_s()
        with self._changed:
            if self._give_up_at is None:
                self._changed.wait_for(lambda: self._give_up_at is not None, wait_s)
            else:
                # The last tries before the end.
                self._changed.wait_for(self._is_time_over, min(wait_s, self._flush_s / 4))

    def _came_back(self) -> None:
        self._backoff.reset()
        if self._is_down:
            self._is_down = False
            lost = self._dropped - self._dropped_before
            with self._changed:
                waiting = len(self._waiting)
            detail = f"{self.name}: {lost} verdicts were dropped meanwhile, {waiting} wait"
            self._events.tell(Event("sink back", detail))
