"""One frame per trigger."""

import io
import queue
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, SourceLost
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import MqttTriggerConfig, SourceConfig, TriggerConfig
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.trigger_inputs import Keyboard, MqttTopic
from dtgd_edge.runtime.sources.triggered import TriggeredSource
from dtgd_edge.runtime.trigger import Trigger

PICTURE = np.full((48, 64, 3), 90, np.uint8)


class HandCamera(FrameSource):
    """Gives what the test puts in."""

    is_live = True
    description = "camera 0"

    def __init__(self) -> None:
        self.frames: queue.Queue[Frame | Exception | None] = queue.Queue()
        self._next = 0

    def show(self, image: np.ndarray | None = PICTURE) -> Frame:
        frame = Frame(image, self._next, fault=None if image is not None else "lost frame: away")
        self._next += 1
        self.frames.put(frame)
        return frame

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.frames.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    def close(self) -> None:
        self.frames.put(None)


class Bench:
    """A triggered source, read by a thread."""

    def __init__(self, config: TriggerConfig = TriggerConfig(timeout_ms=300.0)) -> None:
        self.camera, self.told = HandCamera(), list[Event]()
        events = Events()
        events.listen(self.told.append)
        self.trigger = Trigger(config, events)
        self.source = TriggeredSource(self.camera, self.trigger, config, events)
        self.out: queue.Queue[Frame] = queue.Queue()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for frame in self.source:
                self.out.put(frame)
        except SourceLost as exc:
            self.error = exc


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.source.close()
    made.thread.join(5)


def test_the_first_frame_after_the_trigger_is_taken(bench: Bench) -> None:
    bench.camera.show()
    time.sleep(0.02)
    assert bench.trigger.fire("test") == 0
    wanted = bench.camera.show()
    frame = bench.out.get(timeout=5)
    assert (frame.index, frame.part, frame.captured_ns) == (0, 0, wanted.captured_ns)
    for _ in range(5):
        bench.camera.show()
    with pytest.raises(queue.Empty):
        bench.out.get(timeout=0.1)


def test_a_trigger_without_a_frame_is_a_part_that_cannot_be_judged(bench: Bench) -> None:
    bench.trigger.fire()
    frame = bench.out.get(timeout=5)
    assert frame.image is None and frame.part == 0
    assert frame.fault == "lost frame: no frame within 300 ms of the trigger"
    bench.trigger.fire()
    bench.camera.show(None)
    assert "away within 300 ms" in (bench.out.get(timeout=5).fault or "")
    bench.trigger.fire()
    bench.camera.show()
    assert bench.out.get(timeout=5).part == 2


def test_every_trigger_is_answered_in_order(bench: Bench) -> None:
    parts = []
    for _ in range(20):
        bench.trigger.fire()
        bench.camera.show()
        parts.append(bench.out.get(timeout=5).part)
    assert parts == list(range(20))


def test_triggers_beyond_the_queue_are_counted_and_told() -> None:
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    trigger = Trigger(TriggerConfig(queue_limit=2), events)
    assert [trigger.fire("page") for _ in range(4)] == [0, 1, None, None]
    assert trigger.lost == 2 and [event.kind for event in told] == ["trigger lost"] * 2
    assert [event.who for event in told] == ["page", "page"]
    trigger.offer(Frame(PICTURE, 0))
    first = trigger.answer(0)
    assert first is not None and first.part == 0
    assert trigger.fire() == 4, "the gap shows"


def test_a_camera_that_is_gone_for_good_ends_the_source(bench: Bench) -> None:
    bench.camera.frames.put(SourceLost("camera 0 is away; expected it; check its cable"))
    bench.thread.join(5)
    assert isinstance(bench.error, SourceLost)


def test_waiting_for_a_trigger_can_be_ended(bench: Bench) -> None:
    bench.source.close()
    bench.thread.join(5)
    assert not bench.thread.is_alive() and bench.error is None


class SpiedTrigger(Trigger):
    """Remembers who fired it."""

    def __init__(self) -> None:
        super().__init__()
        self.fired: queue.Queue[str] = queue.Queue()

    def fire(self, who: str = "") -> int | None:
        self.fired.put(who)
        return super().fire(who)


def test_each_line_of_the_keyboard_fires() -> None:
    trigger = SpiedTrigger()
    Keyboard(trigger, io.StringIO("\n\n"))
    assert [trigger.fired.get(timeout=5), trigger.fired.get(timeout=5)] == ["keyboard", "keyboard"]


class FakeClient:
    """The part of paho's client that a topic uses."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append(name)


def test_messages_fire_and_retained_ones_do_not() -> None:
    trigger, events, client, told = SpiedTrigger(), Events(), FakeClient(), list[Event]()
    events.listen(told.append)
    topic = MqttTopic(MqttTriggerConfig("broker", "line/part"), trigger, events, lambda: client)
    topic._connected(client, None, None, SimpleNamespace(is_failure=False), None)
    assert "subscribe" in client.calls
    topic._message(client, None, SimpleNamespace(topic="line/part", retain=True))
    assert trigger.fired.empty()
    topic._message(client, None, SimpleNamespace(topic="line/part", retain=False))
    assert trigger.fired.get_nowait() == "mqtt line/part"
    topic._disconnected(client, None, None, "timeout", None)
    topic.close()
    topic.close()
    assert [event.kind for event in told] == ["trigger input back", "trigger input lost"]
    assert client.calls.count("disconnect") == 1


def test_a_record_with_a_trigger_opens_a_triggered_source() -> None:
    trigger = Trigger()
    config = SourceConfig("sample:?fps=100&size=64", trigger=TriggerConfig())
    with open_source(config, trigger=trigger) as source:
        assert not source.keeps_newest and source.may_be_silent
        frames = iter(source)
        trigger.fire()
        assert next(frames).part == 0


def test_a_folder_cannot_be_triggered() -> None:
    with pytest.raises(ConfigError, match="expected a camera or stream"):
        open_source(SourceConfig("sample:", trigger=TriggerConfig()))
    with pytest.raises(ConfigError, match=r"expected a table \[source.trigger\]"):
        open_source("sample:", trigger=Trigger())


def test_the_frame_of_a_trigger_is_chosen_when_it_arrives_however_slow_the_judging_is() -> None:
    camera, config = HandCamera(), TriggerConfig(timeout_ms=2000.0)
    trigger = Trigger(config)
    frames = iter(TriggeredSource(camera, trigger, config))
    trigger.fire()
    camera.show()
    next(frames)
    # From here on nobody takes a frame: the loop judges, and two more parts pass.
    wanted = []
    for _ in range(2):
        trigger.fire()
        wanted.append(camera.show().captured_ns)
        time.sleep(0.02)
    camera.show()
    time.sleep(0.05)
    assert [next(frames).captured_ns for _ in wanted] == wanted
    camera.close()


def test_a_frame_belongs_to_one_trigger_and_the_delay_is_kept() -> None:
    trigger = Trigger(TriggerConfig(delay_ms=50.0, timeout_ms=2000.0))
    trigger.fire()
    trigger.fire()
    fired_ns = time.monotonic_ns()
    for after_ms in (20, 60, 70):
        trigger.offer(Frame(PICTURE, 0, fired_ns + after_ms * 1_000_000, name=str(after_ms)))
    answers = [trigger.answer(0), trigger.answer(0), trigger.answer(0)]
    assert [(frame.part, frame.name) for frame in answers if frame is not None] == [(0, "60"), (1, "70")]


def test_a_frame_that_comes_too_late_is_not_of_that_part() -> None:
    trigger = Trigger(TriggerConfig(timeout_ms=100.0))
    trigger.fire()
    trigger.offer(Frame(PICTURE, 0, time.monotonic_ns() + 150_000_000))
    answer = trigger.answer(0)
    assert answer is not None and answer.image is None and answer.part == 0


def test_lost_triggers_are_gaps_and_counted_as_dropped() -> None:
    camera, config = HandCamera(), TriggerConfig(timeout_ms=2000.0, queue_limit=1)
    source = TriggeredSource(camera, Trigger(config), config)
    frames = iter(source)
    assert [source.trigger.fire() for _ in range(3)] == [0, None, None]
    camera.show()
    first = next(frames)
    assert source.trigger.fire() == 3
    camera.show()
    assert [first.index, next(frames).index] == [0, 3] and source.dropped == 2
    camera.close()
