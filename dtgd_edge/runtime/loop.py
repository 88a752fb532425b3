"""The camera loop: one thread reads, this one judges and delivers."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from dtgd_edge.errors import BackendError, SourceTimeout
from dtgd_edge.runtime.chore import Chore, Chores
from dtgd_edge.runtime.delivery import Delivery, Outlet
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.handoff import EndOfFrames, Handoff
from dtgd_edge.runtime.judge import FrameJudge, Judged, Panel, PartJudge, no_decision
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.summary import StoppedBy, Summary, Tally
from dtgd_edge.verdict import Verdict

QUEUE_SIZE = 4
SILENCE_LIMIT_S = 30.0
PART_SILENCE_S = 1.0
BACKEND_FAILURES = 3

# How often a waiting loop looks whether it was told to stop.
_GLANCE_S = 0.1
_JOIN_S = 5.0

_log = logging.getLogger(__name__)


def run_loop(
    source: FrameSource,
    inspector: FrameJudge,
    sinks: Sequence[Sink | Outlet],
    *,
    stop: threading.Event | None = None,
    queue_size: int = QUEUE_SIZE,
    max_frames: int | None = None,
    silence_limit_s: float = SILENCE_LIMIT_S,
    judges: Sequence[PartJudge] = (),
    part_silence_s: float = PART_SILENCE_S,
    chores: Sequence[Chore] = (),
    watchdog: Callable[[], None] = lambda: None,
    events: Events | None = None,
) -> Summary:
    """Judge every frame of a source until it ends.

    A source that keeps its newest frame (a live one, as a rule) has the others counted as dropped; any
    other source keeps every frame, and its reader waits.

    Args:
        source: closed when this returns, however it returns.
        inspector: stays open.
        sinks: each gets every verdict; they stay open. A bare sink that fails ends the run; an Outlet
            says what its failure means.
        stop: set it, from a signal handler or another thread, to end after the current frame.
        queue_size: frames that may wait, of a source that keeps every frame.
        max_frames: end after so many frames.
        silence_limit_s: a source that may not be silent and delivers nothing for so long has failed.
        judges: decide about parts, one after the other, between the inspector and the sinks; none: every
            frame is a part.
        part_silence_s: without a frame for so long, the judges are flushed: the part has gone by.
        chores: called between frames, in this order, by the thread that judges.
        watchdog: called at every turn, at least ten times a second unless a frame or a chore takes longer.
        events: are told when a sink goes down and comes back, and counted in the summary.

    Returns:
        Counts and times.

    Raises:
        SourceError: the source failed; every frame that had arrived was judged and delivered first.
        SourceTimeout: a source that may not be silent was.
        SinkError: a sink that ends the run refused a verdict; the other sinks were given it first.
        BackendError: the session failed BACKEND_FAILURES times in a row (one failure alone is a
            NO_DECISION, so that a hiccup of the device does not stop the line), or a chore gave up.
    """
    begun = time.monotonic()
    handoff = Handoff(1 if source.keeps_newest else queue_size, source.keeps_newest)
    reader = threading.Thread(target=_read, args=(source, handoff), name="dtgd-reader", daemon=True)
    events = events or Events()
    delivery = Delivery(sinks, events)
    run = _Run(handoff, inspector, Panel(judges), delivery, chores, watchdog, source.is_live)
    events.listen(run.tally.add_event)
    reader.start()
    try:
        stopped_by = run.until_end(
            stop or threading.Event(),
            max_frames,
            None if source.may_be_silent else silence_limit_s,
            part_silence_s,
        )
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
    dropped = handoff.dropped + source.dropped
    return run.tally.summary(dropped, time.monotonic() - begun, stopped_by, delivery.failures)


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
        inspector: FrameJudge,
        panel: Panel,
        delivery: Delivery,
        chores: Sequence[Chore],
        watchdog: Callable[[], None],
        is_live: bool,
    ) -> None:
        self.tally = Tally()
        self._handoff = handoff
        self._inspector = inspector
        self._panel = panel
        self._delivery = delivery
        self._chores = Chores(chores, self.tally.add_chore)
        self._watchdog = watchdog
        self._is_live = is_live
        self._backend_failures = 0

    def until_end(
        self,
        stop: threading.Event,
        max_frames: int | None,
        silence_limit_s: float | None,
        part_silence_s: float,
    ) -> StoppedBy:
        heard = time.monotonic()
        is_part_open = False
        while not stop.is_set():
            self._watchdog()
            self._chores.run()
            if max_frames is not None and self.tally.frames >= max_frames:
                self._deliver(self._panel.flush())
                return "max_frames"
            try:
                frame = self._handoff.take(_GLANCE_S)
            except EndOfFrames:
                self._deliver(self._panel.flush())
                return "end of source"
            except Exception:
                self._deliver(self._panel.flush())
                raise
            silent_s = time.monotonic() - heard
            if frame is not None:
                self._judge(frame if self._is_live else _arriving_now(frame))
                heard, is_part_open = time.monotonic(), True
            elif is_part_open and silent_s > part_silence_s:
                self._deliver(self._panel.flush())
                is_part_open = False
            elif silence_limit_s is not None and silent_s > silence_limit_s:
                self._deliver(self._panel.flush())
                raise SourceTimeout(
                    f"the source gave nothing for {silence_limit_s:.0f} s; expected frames; "
                    "check the camera, its cable and its trigger, then start again"
                )
        self._deliver(self._panel.flush())
        return "stop"

    def _judge(self, frame: Frame) -> None:
        verdict = self._verdict(frame)
        self.tally.add_frame(verdict)
        self._deliver(self._panel.add(verdict, frame))

    def _verdict(self, frame: Frame) -> Verdict:
        try:
            verdict = self._inspector.inspect(frame)
        except BackendError as exc:
            self._backend_failures += 1
            if self._backend_failures >= BACKEND_FAILURES:
                raise
            _log.error("frame %d: %s", frame.index, exc)
            return no_decision(frame, self._inspector.threshold, f"session failed: {exc}")
        if verdict.score is not None:
            self._backend_failures = 0
        return verdict

    def _deliver(self, decided: list[Judged]) -> None:
        for verdict, frame in decided:
            judged_ns = time.monotonic_ns()
            delivered = self._delivery.give(verdict, frame)
            write_ms = (time.monotonic_ns() - judged_ns) / 1e6
            self.tally.add_verdict(delivered, (judged_ns - frame.captured_ns) / 1e6, write_ms)
