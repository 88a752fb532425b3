"""Live sources that go away: what the line is told, and what is never scored."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig
from dtgd_edge.runtime.sources.reconnect import ReconnectingSource

QUICK = ReconnectConfig(first_wait_s=0.005, longest_wait_s=0.01, timeout_s=0.2, open_timeout_s=1.0)
PICTURE = np.full((48, 64, 3), 90, np.uint8)


class Device(FrameSource):
    """A camera that gives some pictures and then is lost, falls silent or ends."""

    is_live = True
    description = "camera 0"

    def __init__(self, pictures: list[np.ndarray], then: str = "lost") -> None:
        self._pictures = pictures
        self._then = then
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._pictures):
            yield Frame(picture, index)
        if self._then == "silent":
            self.closed.wait(10)
        elif self._then == "lost":
            raise SourceLost("camera 0 gave no picture; expected one; check its cable")

    def close(self) -> None:
        self.closed.set()


def opener(*devices: Device | None) -> Callable[[], FrameSource]:
    """Opens one device after the other; None is one that is not there."""
    waiting = iter(devices)

    def opens() -> FrameSource:
        device = next(waiting, None)
        if device is None:
            raise SourceNotFound("camera 0 is not there; expected it; connect it")
        return device

    return opens


def taken(source: FrameSource, count: int) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    source.close()
    return frames


def letters(frames: list[Frame]) -> str:
    return "".join("x" if frame.image is None else "p" for frame in frames)


@pytest.fixture
def heard() -> tuple[Events, list[Event]]:
    events, told = Events(), []
    events.listen(told.append)
    return events, told


def test_a_camera_comes_back(heard: tuple[Events, list[Event]]) -> None:
    events, told = heard
    devices = opener(None, Device([PICTURE]), Device([PICTURE] * 2, "silent"))
    source = ReconnectingSource(
        Device([PICTURE] * 2), devices, "camera 0", QUICK, keeps_newest=False, events=events
    )
    frames = taken(source, 7)
    assert letters(frames) == "ppxpxpp"
    assert [frame.index for frame in frames] == list(range(7))
    assert frames[2].fault is not None and frames[2].fault.startswith("lost frame: camera 0 ")
    assert [event.kind for event in told] == ["source lost", "source back"] * 2
    assert [event.is_alarm for event in told] == [True, False] * 2
    assert source.reconnects == 2


def test_silence_is_a_loss_and_told_again_while_it_lasts(heard: tuple[Events, list[Event]]) -> None:
    events, told = heard
    source = ReconnectingSource(
        Device([PICTURE], "silent"), opener(), "camera 0", QUICK, keeps_newest=False, events=events
    )
    begun = time.monotonic()
    frames = taken(source, 4)
    assert letters(frames) == "pxxx"
    assert time.monotonic() - begun >= 0.5, "one fault for each period, not one for each try"
    assert "no frame within 0.2 s" in (frames[1].fault or "")
    assert [event.kind for event in told] == ["source lost"]


def test_a_camera_that_waits_for_a_trigger_may_be_silent() -> None:
    patient = ReconnectConfig(first_wait_s=0.005, longest_wait_s=0.01, timeout_s=0.0)
    source = ReconnectingSource(Device([PICTURE], "silent"), opener(), "camera 0", patient)
    assert source.may_be_silent
    threading.Timer(0.3, source.close).start()
    assert letters(list(source)) == "p"


def test_a_camera_that_comes_back_otherwise_is_not_judged(heard: tuple[Events, list[Event]]) -> None:
    events, told = heard
    large, grey = np.full((96, 128, 3), 90, np.uint8), np.full((48, 64), 90, np.uint8)
    devices = opener(Device([large]), Device([grey]), Device([PICTURE], "silent"))
    source = ReconnectingSource(
        Device([PICTURE]), devices, "camera 0", QUICK, keeps_newest=False, events=events
    )
    frames = taken(source, 7)
    assert letters(frames) == "pxxxxxp"
    faults = [frame.fault or "" for frame in frames]
    assert "changed format: 128x96 px with 3 channels of uint8, expected 64x48 px with 3" in faults[2]
    assert "changed format: 64x48 px with 1 channel of uint8" in faults[4]
    assert [event.kind for event in told].count("source changed") == 3


def test_a_run_that_may_give_up_ends_with_the_reason() -> None:
    config = ReconnectConfig(first_wait_s=0.005, longest_wait_s=0.01, give_up_after_s=0.05)
    source = ReconnectingSource(Device([PICTURE]), opener(), "camera 0", config)
    frames = []
    with pytest.raises(SourceLost, match=r"camera 0 is away for .* s \(camera 0 is not there"):
        for frame in source:
            frames.append(frame)
    assert letters(frames) == "px"


def test_waiting_for_a_camera_can_be_ended() -> None:
    patient = ReconnectConfig(first_wait_s=60, longest_wait_s=60)
    source = ReconnectingSource(Device([]), opener(), "camera 0", patient)
    threading.Timer(0.1, source.close).start()
    begun = time.monotonic()
    assert letters(list(source)) == "x"
    assert time.monotonic() - begun < 5


def test_frames_that_were_left_out_are_counted() -> None:
    class Gaps(Device):
        def __iter__(self) -> Iterator[Frame]:
            for index in (0, 3, 4):
                yield Frame(PICTURE, index)
            self.closed.wait(10)

    source = ReconnectingSource(Gaps([]), opener(), "camera 0", QUICK, keeps_newest=False)
    assert [frame.index for frame in taken(source, 3)] == [0, 3, 4]
    assert source.dropped == 2


def test_waits_double_up_to_a_limit() -> None:
    assert [ReconnectConfig().wait_s(n) for n in (1, 2, 3, 8, 10_000)] == [0.2, 0.4, 0.8, 5.0, 5.0]
