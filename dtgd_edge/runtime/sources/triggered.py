"""One frame for each trigger, out of a camera that runs freely."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.handoff import EndOfFrames, Handoff
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import TriggerConfig
from dtgd_edge.runtime.trigger import Firing, Trigger

_GLANCE_S = 0.1


class TriggeredSource(FrameSource):
    """Delivers, for each trigger, the first frame that arrived after it; `Frame.part` numbers the parts.

    A trigger without a frame in time is a frame with a fault, so that its part is NO_DECISION and not
    forgotten. All other frames are left out; they are not counted as dropped. Between two triggers a fault
    of the camera itself is not told here: the part that needs the camera will be.

    Args:
        source: live; closed with this one.
        trigger: what fires.
        config: delay, time-out and inputs.
        events: told of inputs that are lost and back.
    """

    is_live = True
    keeps_newest = False
    may_be_silent = True

    def __init__(
        self, source: FrameSource, trigger: Trigger, config: TriggerConfig, events: Events | None = None
    ) -> None:
        self.trigger = trigger
        self._source = source
        self._config = config
        self._events = events if events is not None else Events()
        self._closed = threading.Event()
        self._newest = Handoff(1, keeps_newest=True)
        self._inputs = ExitStack()
        from dtgd_edge.runtime.sources.trigger_inputs import open_inputs

        for opened in open_inputs(config, trigger, self._events):
            self._inputs.callback(opened.close)

    @property
    def description(self) -> str:
        return f"{self._source.description}, a frame per trigger"

    @property
    def delay_ms(self) -> float:
        """From a trigger to the earliest capture of its frame."""
        return self._config.delay_ms

    @property
    def dropped(self) -> int:
        return self._source.dropped

    def __iter__(self) -> Iterator[Frame]:
        reader = threading.Thread(target=self._read, name="dtgd-triggered", daemon=True)
        reader.start()
        index = 0
        try:
            while not self._closed.is_set():
                firing = self.trigger.take(_GLANCE_S)
                if firing is None:
                    self._raise_error()
                    continue
                frame = self._frame_of(firing)
                if self._closed.is_set():
                    return
                yield replace(frame, index=index, part=firing.part)
                index += 1
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        self._newest.close()
        self._source.close()
        self._inputs.close()

    def _read(self) -> None:
        """Keep the newest frame; an error travels to whoever waits for one."""
        try:
            for frame in self._source:
                if not self._newest.put(frame):
                    break
        except BaseException as exc:
            self._newest.finish(exc)
        else:
            self._newest.finish(None)

    def _raise_error(self) -> None:
        """An idle camera that is gone for good ends the run; frames that nobody asked for are left out."""
        try:
            self._newest.take(0.0)
        except EndOfFrames:
            self._closed.set()

    def _frame_of(self, firing: Firing) -> Frame:
        earliest_ns = firing.fired_ns + round(self._config.delay_ms * 1e6)
        ends_ns = firing.fired_ns + round(self._config.timeout_ms * 1e6)
        fault = "no frame"
        while not self._closed.is_set() and (left_ns := ends_ns - time.monotonic_ns()) > 0:
            try:
                frame = self._newest.take(min(_GLANCE_S, left_ns / 1e9))
            except EndOfFrames:
                fault = "the camera's pictures ended"
                break
            if frame is None or frame.captured_ns < earliest_ns:
                continue
            if frame.image is not None:
                return frame
            fault = frame.fault or fault
        return Frame(
            None,
            0,
            firing.fired_ns,
            fault=f"lost frame: {fault} within {self._config.timeout_ms:g} ms of the trigger",
        )
