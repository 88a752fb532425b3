"""Master parts prove the station, and are no production."""

import time
from dataclasses import replace

import numpy as np
import pytest

from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.masters import MasterPart, MasterParts, MastersConfig
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

PARTS = (MasterPart("good 1", "OK"), MasterPart("bad 1", "NG"))
CONFIG = MastersConfig(PARTS, every_h=8.0, limit_s=60.0)
HOUR = 3_600_000_000_000


class Line:
    def __init__(self, config: MastersConfig) -> None:
        self.told: list[Event] = []
        events = Events()
        events.listen(self.told.append)
        self.masters = MasterParts(config, events)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def part(self, decision: str, captured_ns: int | None = None) -> Verdict:
        frame = Frame(np.zeros((4, 4), np.uint8), 0, captured_ns or time.monotonic_ns())
        score = None if decision == "NO_DECISION" else 0.5
        ((verdict, judged),) = self.masters.add(Verdict(Decision(decision), 0, 1.0, score), frame)
        assert judged is frame
        return verdict


def test_production_goes_through_untouched() -> None:
    line = Line(CONFIG)
    assert [line.part(d).decision.value for d in ("OK", "NG", "NO_DECISION")] == ["OK", "NG", "NO_DECISION"]
    assert line.masters.flush() == [] and not line.told


def test_master_parts_in_order_are_no_production_and_pass() -> None:
    line = Line(CONFIG)
    before = time.monotonic_ns()
    line.masters.begin("Ada")
    assert line.masters.state.waiting == ("good 1", "bad 1")
    # Captured before they began: production.
    assert line.part("OK", before).decision is Decision.OK
    good = line.part("OK")
    assert good.decision is Decision.NO_DECISION and good.score == 0.5
    assert good.reason == "master part: good 1: OK as expected (score 0.5)"
    assert line.masters.state.is_running and line.masters.state.waiting == ("bad 1",)
    line.part("NG")
    assert line.kinds == ["master parts begun", "master parts passed"] and line.told[1].who == "Ada"
    assert line.part("OK").decision is Decision.OK


@pytest.mark.parametrize("wrong", ["OK", "NO_DECISION"])
def test_a_bad_part_that_is_not_found_holds_the_line_until_they_pass(wrong: str) -> None:
    line = Line(CONFIG)
    line.masters.begin("Ada")
    line.part("OK"), line.part(wrong)
    assert line.kinds[-1] == "master parts failed" and line.told[-1].is_alarm
    assert f"bad 1: {wrong} but NG was expected" in line.told[-1].detail
    held = line.part("OK")
    assert held.decision is Decision.NO_DECISION and held.reason == "master parts failed: show them again"
    line.masters.begin("Ada")
    line.part("OK"), line.part("NG")
    assert line.kinds[-1] == "master parts passed" and line.part("OK").decision is Decision.OK


def test_a_failure_need_not_hold_the_line() -> None:
    line = Line(replace(CONFIG, failure_holds=False))
    line.masters.begin("Ada")
    line.part("NG"), line.part("NG")
    assert line.kinds[-1] == "master parts failed" and line.part("OK").decision is Decision.OK


def test_master_parts_by_name() -> None:
    line = Line(replace(CONFIG, shown="by name"))
    line.masters.begin("PLC")
    assert line.part("OK").reason == "master part: none was announced"
    line.masters.show("bad 1")
    assert (line.part("NG").reason or "").startswith("master part: bad 1: NG as expected")
    assert line.part("OK").reason == "master part: none was announced"
    with pytest.raises(ConfigError, match="'bad 1' does not wait; expected one of good 1"):
        line.masters.show("bad 1")
    line.masters.show("good 1")
    line.part("OK")
    assert line.kinds[-1] == "master parts passed"


def test_parts_that_are_not_shown_in_time_have_failed() -> None:
    line = Line(CONFIG)
    line.masters.begin("Ada")
    line.part("OK")
    now = time.monotonic_ns()
    assert not line.masters(now) and line.masters(now + HOUR // 60 + 1_000_000_000)
    assert "bad 1 not shown within 60 s" in line.told[-1].detail and line.masters.state.hold_reason


def test_overdue_is_told_once_and_a_pass_starts_the_clock_again() -> None:
    line = Line(CONFIG)
    now = time.monotonic_ns()
    assert [line.masters(now + hours * HOUR) for hours in (1, 7, 9, 10)] == [False, False, True, False]
    assert line.kinds == ["master parts overdue"] and line.told[0].is_alarm
    assert line.masters.state.is_overdue and line.part("OK").decision is Decision.OK
    line.masters.begin("Ada")
    line.part("OK"), line.part("NG")
    assert not line.masters.state.is_overdue and not line.masters(time.monotonic_ns() + 7 * HOUR)
    assert line.masters(time.monotonic_ns() + 9 * HOUR)


def test_at_the_start_they_may_be_due_and_without_parts_they_never_are() -> None:
    due = Line(replace(CONFIG, is_due_at_start=True))
    assert due.masters(time.monotonic_ns()) and due.kinds == ["master parts overdue"]
    none = Line(MastersConfig())
    assert not none.masters(time.monotonic_ns() + 99 * HOUR)
    with pytest.raises(ConfigError, match="no master parts are known"):
        none.masters.begin("Ada")


def test_cancelling_is_no_result() -> None:
    line = Line(CONFIG)
    line.masters.cancel("Ada", "none runs")
    line.masters.begin("Ada")
    line.masters.cancel("Ada", "the part is lost")
    assert line.kinds == ["master parts begun", "master parts cancelled"]
    assert line.part("OK").decision is Decision.OK


def test_the_table_of_a_line_file() -> None:
    values = {"every_h": 4, "parts": [{"name": "good 1", "expected": "OK"}]}
    assert record_from_mapping(values, MastersConfig, "line.toml").parts == (MasterPart("good 1", "OK"),)
    for bad in ({"shown": "never"}, {"every_h": 0}, {"parts": [{"name": "", "expected": "OK"}]}):
        with pytest.raises(ConfigError):
            record_from_mapping(bad, MastersConfig, "line.toml")
