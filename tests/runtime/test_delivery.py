"""Sinks that fail: what the line does, and who is told."""

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.delivery import Delivery, Outlet
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


class Patchy(Sink):
    """Refuses the verdicts whose letter is x."""

    def __init__(self, script: str = "", error: Exception | None = None) -> None:
        self._script = iter(script)
        self._error = error or SinkError("nobody answers")
        self.got: list[Verdict] = []

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if next(self._script, ".") == "x":
            raise self._error
        self.got.append(verdict)

    def close(self) -> None:
        pass

    @property
    def decisions(self) -> str:
        return "".join(verdict.decision.value[0] for verdict in self.got)


def give(delivery: Delivery, count: int) -> str:
    """Deliver so many OK verdicts; the first letters of what came out."""
    frame = Frame(np.zeros((4, 4), np.uint8), 0)
    verdicts = [delivery.give(Verdict(Decision.OK, index, 1.0, 0.5), frame) for index in range(count)]
    return "".join(verdict.decision.value[0] for verdict in verdicts)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def events(told: list[Event]) -> Events:
    events = Events()
    events.listen(told.append)
    return events


def test_a_sink_that_may_be_down_is_told_of_once_and_the_line_runs_on(
    events: Events, told: list[Event]
) -> None:
    patchy, other = Patchy("..xxx.x."), Patchy()
    delivery = Delivery([Outlet(patchy, "mqtt", "tell"), other], events)
    assert give(delivery, 8) == other.decisions == "OOOOOOOO"
    assert patchy.decisions == "OOOO" and delivery.failures == {"mqtt": 4}
    assert [event.kind for event in told] == ["sink down", "sink back"] * 2
    assert told[0].is_alarm and "mqtt: nobody answers; the line runs on" in told[0].detail
    assert not told[1].is_alarm and told[1].detail == "mqtt: it refused 3 verdicts"


def test_no_ok_leaves_the_line_that_its_record_refused(events: Events, told: list[Event]) -> None:
    log, reject = Patchy(".xx.."), Patchy()
    # However they are listed, the one that can hold the line is asked first.
    delivery = Delivery([Outlet(reject, "reject line"), Outlet(log, "audit log", "hold")], events)
    assert give(delivery, 5) == reject.decisions == "ONNNO"
    assert [verdict.reason for verdict in reject.got] == [
        None,
        "sink down: audit log: nobody answers",
        "sink down: audit log: nobody answers",
        "sink down: audit log refused a verdict",
        None,
    ]
    # The first one it takes again is one without a decision.
    assert log.decisions == "ONO"
    assert [event.kind for event in told] == ["sink down", "sink back"]


def test_a_bare_sink_ends_the_run_after_the_others_were_served(events: Events, told: list[Event]) -> None:
    error = SinkError("first")
    last = Patchy()
    delivery = Delivery([Patchy("x", error), Patchy("x", SinkError("second")), last], events)
    with pytest.raises(SinkError, match="first"):
        give(delivery, 1)
    assert last.decisions == "O" and delivery.failures == {"Patchy": 2} and not told


def test_a_bug_in_a_sink_that_may_be_down_is_logged_with_its_trace(
    events: Events, told: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery([Outlet(Patchy("x", KeyError("a bug")), "mqtt", "tell")], events)
    assert give(delivery, 1) == "O"
    assert "Traceback" in caplog.text and told[0].is_alarm


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mqtt' has on_failure 'ignore'; expected one of end, hold, tell"):
        Outlet(Patchy(), "mqtt", "ignore")  # type: ignore[arg-type]
