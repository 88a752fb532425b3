"""One frame for each trigger, out of a camera that runs freely."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.handoff import EndOfFrames
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import TriggerConfig
from dtgd_edge.runtime.trigger import Trigger

_GLANCE_S = 0.5


class TriggeredSource(FrameSource):
    """Delivers, for each trigger, the first frame that arrived after it; `Frame.part` numbers the parts.

    A trigger without a frame in time is a frame with a fault, so that its part is NO_DECISION and not
    forgotten. All other frames are left out; they are not counted as dropped. Between two triggers a fault
    of the camera itself is not told here: the part that needs the camera will be.

    Args:
        source: live; closed with this one.
        trigger: what fires, made with the same record.
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
        self._closed = threading.Event()
        self._inputs = ExitStack()
        from dtgd_edge.runtime.sources.trigger_inputs import open_inputs

        for opened in open_inputs(config, trigger, events if events is not None else Events()):
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
        return self.trigger.lost

    def __iter__(self) -> Iterator[Frame]:
        reader = threading.Thread(target=self._read, name="dtgd-triggered", daemon=True)
        reader.start()
        try:
            while not self._closed.is_set():
                frame = self.trigger.answer(_GLANCE_S)
                if frame is not None and not self._closed.is_set():
                    yield frame
        except EndOfFrames:
            return
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        self.trigger.finish(None)
        self._source.close()
        self._inputs.close()

    def _read(self) -> None:
        """Let each frame answer its trigger as it arrives; an error travels to whoever waits."""
        try:
            for frame in self._source:
                self.trigger.offer(frame)
        except BaseException as exc:
            self.trigger.finish(exc)
        else:
            self.trigger.finish(None)
