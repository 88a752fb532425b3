"""The camera loop: one thread reads, this one judges and delivers."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from dtgd_edge.errors import BackendError, SourceTimeout
from dtgd_edge.runtime.handoff import EndOfFrames, Handoff
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.summary import StoppedBy, Summary, Tally
from dtgd_edge.verdict import Decision, Verdict

QUEUE_SIZE = 4
SILENCE_LIMIT_S = 30.0
BACKEND_FAILURES = 3

# How often a waiting loop looks whether it was told to stop.
_GLANCE_S = 0.1
_JOIN_S = 5.0

_log = logging.getLogger(__name__)


def run_loop(
    source: FrameSource,
    inspector: Inspector,
    sinks: Sequence[Sink],
    *,
    stop: threading.Event | None = None,
    queue_size: int = QUEUE_SIZE,
    max_frames: int | None = None,
    silence_limit_s: float = SILENCE_LIMIT_S,
) -> Summary:
    """Judge every frame of a source until it ends.

    A live source keeps its newest frame and the others are counted as dropped; any other source keeps
    every frame, and its reader waits.

    Args:
        source: closed when this returns, however it returns.
        inspector: stays open.
        sinks: each gets every verdict, in this order; they stay open.
        stop: set it, from a signal handler or another thread, to end after the current frame.
        queue_size: frames that may wait, of a source that is not live.
        max_frames: end after so many frames.
        silence_limit_s: a live source that delivers nothing for so long has failed.

    Returns:
        Counts and times.

    Raises:
        SourceError: the source failed; every frame that had arrived was judged and delivered first.
        SourceTimeout: a live source went silent.
        SinkError: a sink refused a verdict; the other sinks were given it first.
        BackendError: the session failed BACKEND_FAILURES times in a row (one failure alone is a
            NO_DECISION, so that a hiccup of the device does not stop the line).
    """
    begun = time.monotonic()
    handoff = Handoff(1 if source.is_live else queue_size, keeps_newest=source.is_live)
    reader = threading.Thread(target=_read, args=(source, handoff), name="dtgd-reader", daemon=True)
    run = _Run(handoff, inspector, sinks, stop or threading.Event(), max_frames, source.is_live)
    reader.start()
    try:
        stopped_by = run.until_end(silence_limit_s if source.is_live else None)
    finally:
        # In this order: a reader that waits for room goes on, one that waits for a frame is told, and
        # both have then ended by themselves.
        handoff.close()
        try:
            source.close()
        finally:
            reader.join(_JOIN_S)
            if reader.is_alive():
                # Inside the camera's driver; it is a daemon, so the process can end all the same.
                _log.warning("%s did not return from its last read in %.0f s", source.description, _JOIN_S)
    return run.tally.summary(handoff.dropped, time.monotonic() - begun, stopped_by)


def _read(source: FrameSource, handoff: Handoff) -> None:
    """The reading thread: whatever ends it, the consumer hears of it."""
    try:
        for frame in source:
            if not handoff.put(frame):
                break
    except BaseException as exc:
        handoff.finish(exc)
    else:
        handoff.finish(None)


def _arriving_now(frame: Frame) -> Frame:
    """Stamp a frame that was read ahead: nothing on a line waited while it lay in the queue."""
    return replace(frame, captured_ns=time.monotonic_ns() - round(frame.capture_ms * 1e6))


class _Run:
    """The judging side of one run."""

    def __init__(
        self,
        handoff: Handoff,
        inspector: Inspector,
        sinks: Sequence[Sink],
        stop: threading.Event,
        max_frames: int | None,
        is_live: bool,
    ) -> None:
        self.tally = Tally()
        self._handoff = handoff
        self._inspector = inspector
        self._sinks = sinks
        self._stop = stop
        self._max_frames = max_frames
        self._is_live = is_live
        self._backend_failures = 0

    def until_end(self, silence_limit_s: float | None) -> StoppedBy:
        heard = time.monotonic()
        while not self._stop.is_set():
            if self._max_frames is not None and self.tally.frames >= self._max_frames:
                return "max_frames"
            try:
                frame = self._handoff.take(_GLANCE_S)
            except EndOfFrames:
                return "end of source"
            if frame is not None:
                self._judge(frame if self._is_live else _arriving_now(frame))
                heard = time.monotonic()
            elif silence_limit_s is not None and time.monotonic() - heard > silence_limit_s:
                raise SourceTimeout(
                    f"the source gave nothing for {silence_limit_s:.0f} s; expected frames; "
                    "check the camera, its cable and its trigger, then start again"
                )
        return "stop"

    def _judge(self, frame: Frame) -> None:
        verdict = self._verdict(frame)
        judged_ns = time.monotonic_ns()
        self._deliver(verdict, frame)
        write_ms = (time.monotonic_ns() - judged_ns) / 1e6
        self.tally.add(verdict, (judged_ns - frame.captured_ns) / 1e6, write_ms)

    def _verdict(self, frame: Frame) -> Verdict:
        try:
            verdict = self._inspector.inspect(frame)
        except BackendError as exc:
            self._backend_failures += 1
            if self._backend_failures >= BACKEND_FAILURES:
                raise
            _log.error("frame %d: %s", frame.index, exc)
            return Verdict(
                Decision.NO_DECISION,
                frame.index,
                self._inspector.threshold,
                reason=f"session failed: {exc}",
                frame_name=frame.name,
                part=frame.part,
            )
        if verdict.score is not None:
            self._backend_failures = 0
        return verdict

    def _deliver(self, verdict: Verdict, frame: Frame) -> None:
        """Give a verdict to every sink: a full disk must not keep a bad part from being rejected."""
        first: Exception | None = None
        for sink in self._sinks:
            try:
                sink.write(verdict, frame)
            except Exception as exc:
                if first is None:
                    first = exc
                else:
                    _log.error("frame %d: another sink failed too: %s", frame.index, exc)
        if first is not None:
            raise first
