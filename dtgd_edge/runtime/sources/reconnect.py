"""A live source that is opened again, for as long as it takes, whenever it is lost or falls silent."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from dtgd_edge.errors import SourceError, SourceLost
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.handoff import EndOfFrames, Handoff
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig

Opener = Callable[[], FrameSource]

# Threads that hang in a driver can only be left behind. With so many, none is added until one returns.
HUNG_LIMIT = 3
QUEUE_SIZE = 8

# Between two fault frames of a source that is away, where silence alone is no fault.
_REMINDER_S = 5.0


class ReconnectingSource(FrameSource):
    """Wraps a live source that ends when it is lost.

    The device is opened and read in a thread of its own, so that one which hangs in its driver is noticed
    after `timeout_s` and left behind. A loss is one frame with a fault, and one more in each `timeout_s`
    that it lasts. Frames of another size, channel count or depth than the first one are faults until the
    device is as before: a camera that comes back in its factory settings is not scored.

    Args:
        first: the source, open; None: it is opened in the background.
        opener: opens it again; a SourceError means not yet.
        description: for people.
        config: waits and time-outs.
        keeps_newest: whether late frames are dropped, and counted as gaps of the index.
        events: told "source lost", "source back", "source changed".
    """

    is_live = True

    def __init__(
        self,
        first: FrameSource | None,
        opener: Opener,
        description: str,
        config: ReconnectConfig = ReconnectConfig(),
        *,
        keeps_newest: bool = True,
        events: Events | None = None,
    ) -> None:
        self._first = first
        self._opener = opener
        self._description = description
        self._config = config
        self._keeps_newest = keeps_newest
        self._events = events if events is not None else Events()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reader: _Reader | None = None
        self._hung: list[_Reader] = []
        self._numbers = _Numbers()
        self._format = _FormatGuard(description, self._events)
        self._absence: _Absence | None = None
        self._reconnects = 0

    @property
    def keeps_newest(self) -> bool:
        return self._keeps_newest

    @property
    def may_be_silent(self) -> bool:
        return self._config.timeout_s == 0

    @property
    def description(self) -> str:
        return self._description

    @property
    def dropped(self) -> int:
        return self._numbers.dropped

    @property
    def reconnects(self) -> int:
        """How often it was lost and came back."""
        return self._reconnects

    def __iter__(self) -> Iterator[Frame]:
        try:
            if not self._closed.is_set():
                first = self._first
                self._start(self._opener if first is None else lambda: first)
            while not self._closed.is_set():
                frame = self._awaited() if self._reader is None else self._read(self._reader)
                if frame is not None and not self._closed.is_set():
                    yield frame
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            reader = self._reader
        if reader is not None:
            reader.stop()
        elif self._first is not None:
            self._first.close()

    def _start(self, opener: Opener) -> None:
        with self._lock:
            self._numbers.restart()
            self._reader = _Reader(opener, self._keeps_newest)
        if self._closed.is_set():
            self._reader.stop()

    def _read(self, reader: "_Reader") -> Frame | None:
        """Wait for a frame of the open device; None when there was nothing to tell yet."""
        limit_s = self._config.timeout_s if reader.is_open else self._config.open_timeout_s
        silence_ends = reader.heard_s + limit_s if limit_s else float("inf")
        until = min(silence_ends, self._absence.reminder_s if self._absence else float("inf"))
        try:
            # A limit changes while this waits, when the device opens; and infinity is no time-out.
            frame = reader.take(min(1.0, max(0.0, until - time.monotonic())))
        except EndOfFrames:
            return self._lost(reader, "its pictures ended")
        except SourceError as exc:
            return self._lost(reader, str(exc))
        if frame is not None:
            return self._arrived(frame)
        if reader.is_silent_for(limit_s):
            what = "no frame" if reader.is_open else "no answer"
            return self._lost(reader, f"{what} within {limit_s:g} s")
        return self._reminder()

    def _awaited(self) -> Frame | None:
        """Wait until it is time to open the device again."""
        absence = self._absence
        assert absence is not None, "without a reader, a source is away"
        now = time.monotonic()
        if self._config.give_up_after_s and now - absence.since_s > self._config.give_up_after_s:
            raise SourceLost(
                f"{self._description} is away for {now - absence.since_s:.0f} s ({absence.reason}); expected "
                "it back by now; check its cable, power and network, then start again"
            )
        if now < absence.open_at_s:
            self._closed.wait(max(0.0, min(absence.open_at_s, absence.reminder_s) - now))
            return self._reminder()
        self._hung = [reader for reader in self._hung if reader.is_alive]
        if len(self._hung) >= HUNG_LIMIT:
            absence.reason = f"{len(self._hung)} reads hang in its driver"
            absence.open_at_s = now + self._config.longest_wait_s
        else:
            self._start(self._opener)
        return None

    def _lost(self, reader: "_Reader", reason: str) -> Frame | None:
        reader.stop()
        with self._lock:
            self._reader = None
        self._hung.append(reader)
        if self._closed.is_set():
            return None
        now = time.monotonic()
        absence, is_new = self._absence, self._absence is None
        if absence is None:
            absence = self._absence = _Absence(now, now + (self._config.timeout_s or _REMINDER_S))
        absence.failures += 1
        absence.reason = reason
        absence.open_at_s = now + self._config.wait_s(absence.failures)
        if not is_new:
            return self._reminder()
        self._events.tell(Event("source lost", f"{self._description}: {reason}", is_alarm=True))
        return self._fault(f"lost frame: {self._description} is opened again ({reason})")

    def _reminder(self) -> Frame | None:
        absence, now = self._absence, time.monotonic()
        if absence is None or now < absence.reminder_s:
            return None
        absence.reminder_s = now + (self._config.timeout_s or _REMINDER_S)
        away_s = now - absence.since_s
        return self._fault(f"lost frame: {self._description} is away for {away_s:.1f} s ({absence.reason})")

    def _arrived(self, frame: Frame) -> Frame:
        frame = self._numbers.numbered(frame)
        if frame.image is None:
            return frame
        if self._absence is not None:
            away_s = time.monotonic() - self._absence.since_s
            tries = self._absence.failures
            self._absence = None
            self._reconnects += 1
            text = f"back after {away_s:.1f} s and {tries} tries, {self._reconnects} times now"
            self._events.tell(Event("source back", f"{self._description}: {text}"))
        fault = self._format.fault(frame.image)
        return frame if fault is None else replace(frame, image=None, fault=fault)

    def _fault(self, text: str) -> Frame:
        return Frame(None, self._numbers.next(), fault=text)


class _Absence:
    """How long the device is away and what is due next; times are time.monotonic()."""

    def __init__(self, since_s: float, reminder_s: float) -> None:
        self.since_s = since_s
        self.reminder_s = reminder_s
        self.open_at_s = since_s
        self.failures = 0
        self.reason = ""


class _Numbers:
    """Counts frames over all openings; gaps within one opening are dropped frames."""

    def __init__(self) -> None:
        self.dropped = 0
        self._next = 0
        self._expected = 0

    def restart(self) -> None:
        """The device is opened again and counts from 0."""
        self._expected = 0

    def next(self) -> int:
        self._next += 1
        return self._next - 1

    def numbered(self, frame: Frame) -> Frame:
        missing = max(0, frame.index - self._expected)
        self.dropped += missing
        self._next += missing
        self._expected = frame.index + 1
        return replace(frame, index=self.next())


class _FormatGuard:
    """Remembers the first picture's size, channels and depth, and finds pictures that differ."""

    def __init__(self, description: str, events: Events) -> None:
        self._description = description
        self._events = events
        self._expected: tuple[tuple[int, ...], str] | None = None
        self._last: tuple[tuple[int, ...], str] | None = None

    def fault(self, image: Any) -> str | None:
        found = (image.shape, str(image.dtype))
        if self._expected is None:
            self._expected = self._last = found
        if found != self._last:
            text = f"{self._description} gives {_format_text(found)} instead of {_format_text(self._last)}"
            self._events.tell(Event("source changed", text, is_alarm=found != self._expected))
            self._last = found
        if found == self._expected:
            return None
        return (
            f"changed format: {_format_text(found)}, expected {_format_text(self._expected)}; set the camera "
            "as it was, or start again"
        )


def _format_text(form: tuple[tuple[int, ...], str] | None) -> str:
    assert form is not None, "a format is described once there was a picture"
    shape, kind = form
    channels = shape[2] if len(shape) == 3 else 1
    return f"{shape[1]}x{shape[0]} px with {channels} channel{'s' if channels > 1 else ''} of {kind}"


class _Reader:
    """One opening of the device, in a thread that may hang in a driver."""

    def __init__(self, opener: Opener, keeps_newest: bool) -> None:
        self.heard_s = time.monotonic()
        self.is_open = False
        self._opener = opener
        self._handoff = Handoff(1 if keeps_newest else QUEUE_SIZE, keeps_newest)
        self._lock = threading.Lock()
        self._source: FrameSource | None = None
        self._is_stopped = False
        # A daemon: a thread inside a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="dtgd-device", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_silent_for(self, limit_s: float) -> bool:
        return limit_s > 0 and time.monotonic() - self.heard_s >= limit_s

    def take(self, timeout_s: float) -> Frame | None:
        frame = self._handoff.take(timeout_s)
        if frame is not None:
            self.is_open = True
            self.heard_s = time.monotonic()
        return frame

    def stop(self) -> None:
        """End it without waiting; what it still reads is for nobody."""
        with self._lock:
            self._is_stopped = True
            source = self._source
        self._handoff.close()
        self._handoff.finish(None)
        if source is not None:
            source.close()

    def _run(self) -> None:
        try:
            source = self._opener()
            with self._lock:
                self._source = source
                is_stopped = self._is_stopped
            if is_stopped:
                source.close()
                return
            for frame in source:
                if not self._handoff.put(frame):
                    break
        except BaseException as exc:
            # Travels to the consumer; a stopped reader's has none, and its device is given up anyway.
            self._handoff.finish(exc)
        else:
            self._handoff.finish(None)
