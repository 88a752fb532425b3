"""The reject line with its thread and a simulated output."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.outputs.simulator import SimulatedOutput
from dtgd_edge.runtime.reject import RejectConfig, RejectLine, Signals, SimulatedEncoder
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

QUICK = RejectConfig(delay_ms=40.0, pulse_ms=10.0, heartbeat_ms=20.0)


class Heard:
    def __init__(self) -> None:
        self.events = Events()
        self.all: list[Event] = []
        self._changed = threading.Condition()
        self.events.listen(self._hear)

    def _hear(self, event: Event) -> None:
        with self._changed:
            self.all.append(event)
            self._changed.notify_all()

    def wait_for(self, kind: str, count: int = 1) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: [e.kind for e in self.all].count(kind) >= count, 5.0)


@pytest.fixture
def heard() -> Iterator[Heard]:
    yield Heard()


def give(line: RejectLine, number: int, decision: Decision = Decision.OK) -> int:
    """Write a verdict on a part captured just now; returns the moment of the capture."""
    frame = Frame(np.zeros((4, 4), np.uint8), number)
    line.write(Verdict(decision, number, 2.0, 1.0), frame)
    return frame.captured_ns


def test_a_bad_part_is_rejected_on_time(heard: Heard) -> None:
    output = SimulatedOutput()
    with RejectLine(QUICK, [output], heard.events) as line:
        captured_ns = give(line, 1, Decision.NG)
        on = output.wait_for(lambda signals: signals.is_rejecting, 5.0)
        assert on is not None
        off = output.wait_for(lambda s: s.counts.rejected == 1 and not s.is_rejecting, 5.0)
        assert off is not None
    assert 40 <= (on.at_ns - captured_ns) / 1e6 < 540
    assert (off.at_ns - on.at_ns) / 1e6 >= 9
    assert on.signals.result is not None and on.signals.result.is_reject


def test_without_verdicts_the_announced_part_is_rejected(heard: Heard) -> None:
    output = SimulatedOutput()
    with RejectLine(QUICK, [output], heard.events) as line:
        line.announce(5, time.monotonic_ns())
        assert output.wait_for(lambda signals: signals.is_busy, 5.0)
        assert output.wait_for(lambda signals: signals.is_rejecting, 5.0)
        assert heard.wait_for("verdict missing")


def test_results_go_round_with_a_controller_that_answers(heard: Heard) -> None:
    output = SimulatedOutput(acknowledges=True)
    config = RejectConfig(delay_ms=1000.0, acknowledge_ms=60_000.0)
    with RejectLine(config, [output], heard.events) as line:
        for number in range(20):
            give(line, number)
        assert output.wait_for(lambda s: s.is_ready and s.result is not None and s.result.part == 19, 5.0)
    shown = [t.signals.result.part for t in output.transitions if t.signals.result]
    assert shown == sorted(shown)


def test_closing_leaves_the_safe_state(heard: Heard) -> None:
    for safe_state, signal in (("reject", "is_rejecting"), ("stop", "is_stopped")):
        output = SimulatedOutput()
        line = RejectLine(RejectConfig(safe_state=safe_state), [output], heard.events)  # type: ignore[arg-type]
        give(line, 1)
        line.close()
        line.close()
        last = output.transitions[-1].signals
        assert getattr(last, signal) and not last.is_ready and output.is_closed
        with pytest.raises(SinkError, match="closed"):
            give(line, 2)


def test_while_nobody_judges_the_heartbeat_stands_still(heard: Heard) -> None:
    output, is_alive = SimulatedOutput(), threading.Event()
    is_alive.set()
    with RejectLine(QUICK, [output], heard.events, is_alive=is_alive.is_set) as line:
        assert output.wait_for(lambda signals: signals.beats >= 3, 5.0)
        is_alive.clear()
        held = output.wait_for(lambda signals: signals.is_rejecting and not signals.is_ready, 5.0)
        assert held is not None
        time.sleep(0.06)
        assert line.signals.beats == held.signals.beats
        is_alive.set()
        assert output.wait_for(lambda signals: signals.beats > held.signals.beats, 5.0)


class Breaking:
    """An output whose wire comes off."""

    name, is_required, is_up = "wire", True, True

    def __init__(self) -> None:
        self.is_broken = False
        self.shown: list[Signals] = []

    def open(self, commands: object) -> None:
        if self.is_broken:
            raise SinkError("the wire is off")

    def show(self, signals: Signals) -> None:
        if self.is_broken:
            raise SinkError("the wire is off")
        self.shown.append(signals)

    def close(self) -> None:
        pass


def test_an_output_that_fails_is_told_once_and_the_others_hold_the_safe_state(heard: Heard) -> None:
    output, wire = SimulatedOutput(), Breaking()
    with RejectLine(QUICK, [wire, output], heard.events):
        assert output.wait_for(lambda signals: signals.is_ready, 5.0)
        wire.is_broken = True
        assert heard.wait_for("sink down")
        assert output.wait_for(lambda signals: signals.is_rejecting and not signals.is_ready, 5.0)
        wire.is_broken = False
        assert heard.wait_for("sink back")
        count = len(wire.shown)
        assert output.wait_for(lambda signals: signals.beats > wire.shown[count - 1].beats + 1, 5.0)
    assert [event.kind for event in heard.all] == ["sink down", "sink back"]


def test_an_output_that_does_not_open_closes_the_others(heard: Heard) -> None:
    output, wire = SimulatedOutput(), Breaking()
    wire.is_broken = True
    with pytest.raises(SinkError, match="off"):
        RejectLine(QUICK, [output, wire], heard.events)
    assert output.is_closed


def test_by_encoder(heard: Heard) -> None:
    output = SimulatedOutput()
    encoder = SimulatedEncoder(10_000)
    config = RejectConfig(encoder_counts=400, pulse_ms=10.0)
    with RejectLine(config, [output], heard.events, encoder=encoder) as line:
        assert output.wait_for(lambda signals: signals.is_ready, 5.0)
        captured_ns = give(line, 1, Decision.NG)
        on = output.wait_for(lambda signals: signals.is_rejecting, 5.0)
        assert on is not None and (on.at_ns - captured_ns) / 1e6 >= 38
        encoder.run_at(0)
        give(line, 2, Decision.NG)
        time.sleep(0.08)
        assert line.signals.counts.rejected == 1
        encoder.run_at(20_000)
        assert output.wait_for(lambda signals: signals.counts.rejected == 2, 5.0)


def test_an_encoder_that_cannot_be_read_is_told(heard: Heard) -> None:
    class Broken(SimulatedEncoder):
        is_broken = False

        def count(self) -> int:
            if self.is_broken:
                raise SinkError("no signal")
            return super().count()

    encoder, output = Broken(1000), SimulatedOutput()
    with RejectLine(RejectConfig(encoder_counts=100), [output], heard.events, encoder=encoder):
        encoder.is_broken = True
        assert heard.wait_for("encoder lost")
        assert output.wait_for(lambda signals: signals.is_rejecting and not signals.is_ready, 5.0)
        encoder.is_broken = False
        assert heard.wait_for("encoder back")
    with pytest.raises(SinkError, match="no encoder"):
        RejectLine(RejectConfig(encoder_counts=100), [], heard.events)


@pytest.mark.parametrize(
    "keys", [{"pulse_ms": 0.0}, {"delay_ms": -1.0}, {"frames_per_part": 0}, {"delay_ms": float("nan")}]
)
def test_a_setting_out_of_range_is_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        RejectConfig(**keys)  # type: ignore[arg-type]


def test_an_output_is_tried_out_while_no_part_is_there(heard: Heard) -> None:
    output = SimulatedOutput()
    with RejectLine(QUICK, [output], heard.events) as line:
        line.try_out(Decision.NG)
        on = output.wait_for(lambda signals: signals.is_rejecting, 5.0)
        assert on is not None and on.signals.result is not None
        assert on.signals.result.reason == "test output"
        assert on.signals.counts.rejected == on.signals.counts.ng == 0, "a test is no part"
        assert output.wait_for(lambda s: s.result is not None and not s.is_rejecting, 5.0) is not None
        give(line, 1)
        with pytest.raises(ConfigError, match="a part is between camera and ejector"):
            line.try_out(Decision.NG)


def test_maps_of_parts_on_their_way_are_not_kept(heard: Heard) -> None:
    anomaly_map = np.zeros((4, 4), np.float32)
    gone = weakref.ref(anomaly_map)
    with RejectLine(RejectConfig(delay_ms=5000.0), [SimulatedOutput()], heard.events) as line:
        line.write(Verdict(Decision.OK, 0, 1.0, 0.5, anomaly_map), Frame(np.zeros((4, 4), np.uint8), 0))
        del anomaly_map
        gc.collect()
        assert gone() is None
