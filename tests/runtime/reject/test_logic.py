"""The reject line at given moments: no thread, no clock."""

import pytest

from dtgd_edge.runtime.reject.logic import RejectLogic
from dtgd_edge.runtime.reject.news import News
from dtgd_edge.runtime.reject.parts import PARTS_LIMIT
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.reject.signals import Signals
from dtgd_edge.verdict import Decision, Verdict

MS = 1_000_000
OK, NG, NO_DECISION = Decision.OK, Decision.NG, Decision.NO_DECISION


class Bench:
    """Drives the logic in milliseconds."""

    def __init__(self, **keys: object) -> None:
        self.news = News()
        values: dict[str, object] = {"delay_ms": 100.0, "pulse_ms": 10.0, **keys}
        self.logic = RejectLogic(RejectConfig(**values), self.news, 0)  # type: ignore[arg-type]

    def judge(self, number: int, decision: Decision, captured: float, now: float) -> None:
        reason = "black: x" if decision is NO_DECISION else None
        verdict = Verdict(decision, 0, 2.0, None if reason else 1.0, reason=reason, part=number)
        self.logic.judge(verdict, round(captured * MS), round(now * MS))

    def announce(self, number: int, now: float) -> None:
        self.logic.announce(number, round(now * MS), round(now * MS))

    def at(self, now: float) -> Signals:
        self.logic.advance(round(now * MS))
        return self.logic.signals(round(now * MS))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.news.take()]


def test_a_bad_part_is_rejected_at_its_moment_for_one_pulse() -> None:
    bench = Bench()
    bench.judge(1, NG, captured=0, now=30)
    assert not bench.at(99).is_rejecting
    assert bench.logic.next_ns(99 * MS) == 100 * MS
    assert bench.at(100).is_rejecting and bench.logic.next_ns(100 * MS) == 110 * MS
    assert bench.at(109.9).is_rejecting
    last = bench.at(110)
    assert not last.is_rejecting and (last.counts.ng, last.counts.rejected) == (1, 1)


def test_good_parts_pass() -> None:
    bench = Bench()
    bench.judge(1, OK, captured=0, now=30)
    assert not any(bench.at(moment).is_rejecting for moment in range(30, 200, 5))
    assert bench.at(200).counts.ok == 1 and bench.kinds() == []


def test_parts_reach_the_ejector_in_order_whatever_the_order_of_their_verdicts() -> None:
    bench = Bench()
    for number in range(4):
        bench.announce(number, now=number * 20)
    for number, decision in ((3, OK), (1, OK), (2, NG), (0, NG)):
        bench.judge(number, decision, captured=number * 20, now=70)
    rejecting = [moment for moment in range(70, 200) if bench.at(moment).is_rejecting]
    assert rejecting == [*range(100, 110), *range(140, 150)]


def test_results_are_told_in_order_of_parts() -> None:
    bench = Bench(acknowledge_ms=1000.0)
    told = []
    for number in range(3):
        bench.announce(number, now=number)
    for number in (2, 0, 1):
        bench.judge(number, OK, captured=number, now=10)
    for _ in range(3):
        result = bench.at(20).result
        assert result is not None
        told.append((result.sequence, result.part))
        bench.logic.acknowledge(result.sequence, 20 * MS)
    assert told == [(1, 0), (2, 1), (3, 2)]
    assert not bench.at(21).is_result_valid


@pytest.mark.parametrize(
    ("safe_state", "is_rejecting", "is_stopped"),
    [("reject", True, False), ("pass", False, False), ("stop", False, True)],
)
def test_no_decision_takes_the_safe_state(safe_state: str, is_rejecting: bool, is_stopped: bool) -> None:
    bench = Bench(safe_state=safe_state)
    bench.judge(1, NO_DECISION, captured=0, now=30)
    assert not bench.at(99).is_rejecting
    signals = bench.at(101)
    assert (signals.is_rejecting, signals.is_stopped) == (is_rejecting, is_stopped)
    assert signals.counts.no_decision == 1 and signals.is_ready is not is_stopped


@pytest.mark.parametrize("safe_state", ["reject", "pass", "stop"])
def test_an_announced_part_without_a_verdict_takes_the_safe_state_and_is_told(safe_state: str) -> None:
    bench = Bench(safe_state=safe_state)
    bench.announce(7, now=0)
    assert bench.at(50).is_busy and not bench.at(50).is_ready
    signals = bench.at(100)
    assert signals.is_rejecting is (safe_state == "reject") and signals.is_stopped is (safe_state == "stop")
    assert (signals.counts.missing, signals.counts.no_decision) == (1, 1)
    assert signals.result is not None and signals.result.decision is NO_DECISION
    assert "verdict missing" in (signals.result.reason or "") and bench.kinds() == ["verdict missing"]

    bench.judge(7, OK, captured=0, now=120)
    assert bench.at(121).counts.late == 1 and bench.at(121).counts.ok == 0
    assert bench.kinds() == ["verdict late"]


@pytest.mark.parametrize("safe_state", ["reject", "pass", "stop"])
def test_a_verdict_after_its_moment_takes_the_safe_state_at_once(safe_state: str) -> None:
    bench = Bench(safe_state=safe_state)
    bench.judge(1, OK, captured=0, now=101)
    signals = bench.at(101)
    assert signals.is_rejecting is (safe_state == "reject") and signals.is_stopped is (safe_state == "stop")
    assert (signals.counts.late, signals.counts.ok, signals.counts.no_decision) == (1, 0, 1)
    assert bench.kinds() == ["verdict late"]


def test_every_part_has_one_fate() -> None:
    bench = Bench()
    for number in range(200):
        bench.announce(number, now=number * 3)
        if number % 7:
            bench.judge(number, NG if number % 5 == 0 else OK, captured=number * 3, now=number * 3 + 1)
    counts = bench.at(1000).counts
    assert counts.ok + counts.ng + counts.no_decision == 200 and counts.missing == 29
    assert counts.rejected == counts.ng + counts.no_decision


def test_a_source_that_counts_from_zero_again_brings_new_parts() -> None:
    bench = Bench()
    bench.judge(0, OK, captured=0, now=10)
    bench.at(150)
    bench.judge(0, NG, captured=200, now=210)
    assert bench.at(300).is_rejecting and bench.at(300).counts.late == 0


def test_the_stop_stays_until_somebody_resumes() -> None:
    bench = Bench(safe_state="stop")
    bench.judge(1, NO_DECISION, captured=0, now=10)
    assert bench.at(100).is_stopped and bench.at(5000).is_stopped
    bench.logic.resume(5001 * MS)
    assert not bench.at(5001).is_stopped and bench.at(5001).is_ready


def test_the_worst_of_several_frames_counts() -> None:
    bench = Bench(frames_per_part=3)
    for decision in (OK, NG, OK):
        assert bench.at(19).is_busy or decision is OK
        bench.judge(1, decision, captured=0, now=20)
    assert bench.at(100).is_rejecting and bench.at(100).counts.ng == 1


def test_the_last_of_several_frames_counts_if_wanted() -> None:
    bench = Bench(combine="last")
    for decision in (NO_DECISION, NG, OK):
        bench.judge(1, decision, captured=0, now=20)
    signals = bench.at(100)
    assert not signals.is_rejecting and signals.counts.ok == 1
    # The controller had heard otherwise before, and heard of every change.
    assert signals.result is not None and (signals.result.decision, signals.result.sequence) == (OK, 3)


def test_a_part_with_too_few_frames_has_no_decision_but_a_bad_one_stays_bad() -> None:
    bench = Bench(frames_per_part=2, safe_state="pass")
    bench.judge(1, OK, captured=0, now=20)
    bench.judge(2, NG, captured=10, now=20)
    assert not bench.at(109).is_rejecting and bench.at(109).counts.missing == 1
    assert bench.at(110).is_rejecting


def test_a_result_waits_for_its_acknowledgement_or_its_time() -> None:
    bench = Bench(acknowledge_ms=30.0)
    assert bench.at(0).is_ready
    bench.announce(1, now=0)
    assert bench.at(1).is_busy and not bench.at(1).is_result_valid
    bench.judge(1, OK, captured=0, now=10)
    shown = bench.at(11)
    assert shown.is_result_valid and not shown.is_busy and not shown.is_ready
    bench.logic.acknowledge(99, 12 * MS)
    assert bench.at(12).is_result_valid
    bench.logic.acknowledge(1, 13 * MS)
    assert bench.at(13).is_ready and not bench.at(13).is_result_valid

    bench.judge(2, NG, captured=15, now=20)
    assert bench.logic.next_ns(20 * MS) == 50 * MS
    assert bench.at(49).is_result_valid
    assert not bench.at(50).is_result_valid and bench.at(50).counts.unacknowledged == 1


def test_a_controller_that_never_answers_costs_no_memory() -> None:
    bench = Bench(acknowledge_ms=3_000_000.0)
    for number in range(200):
        bench.judge(number, OK, captured=number, now=number)
    assert bench.at(300).counts.unacknowledged == 200 - 65


def test_the_heartbeat_beats_while_somebody_judges() -> None:
    bench = Bench(heartbeat_ms=100.0)
    assert [bench.at(moment).heartbeat for moment in (0, 99, 100, 199, 200)] == [0, 0, 1, 1, 0]
    bench.logic.hold(True, 250 * MS)
    held = bench.at(1000)
    assert held.beats == 2 and held.is_rejecting and not held.is_ready
    bench.logic.hold(False, 1000 * MS)
    assert bench.at(1100).beats == 3 and not bench.at(1100).is_rejecting


def test_held_in_stop_needs_somebody_to_resume() -> None:
    bench = Bench(safe_state="stop")
    bench.logic.hold(True, 10 * MS)
    bench.logic.resume(20 * MS)
    assert bench.at(20).is_stopped
    bench.logic.hold(False, 30 * MS)
    assert bench.at(30).is_stopped
    bench.logic.resume(40 * MS)
    assert not bench.at(40).is_stopped


def test_by_encoder_a_part_is_rejected_where_it_is_not_when() -> None:
    bench = Bench(encoder_counts=1000)
    for moment in range(0, 101, 10):  # 10 counts a millisecond
        bench.logic.read_encoder(moment * 10, moment * MS)
    bench.judge(1, NG, captured=45, now=100)  # captured at 450
    # The conveyor stands still for a second, then creeps on.
    bench.logic.read_encoder(1000, 1100 * MS)
    assert not bench.at(1100).is_rejecting
    bench.logic.read_encoder(1449, 1200 * MS)
    assert not bench.at(1200).is_rejecting
    bench.logic.read_encoder(1450, 1201 * MS)
    assert bench.at(1201).is_rejecting


def test_an_encoder_that_starts_anew_sends_no_part_to_the_wrong_place() -> None:
    bench = Bench(encoder_counts=100)
    bench.logic.read_encoder(5000, 0)
    bench.judge(1, OK, captured=0, now=1)
    bench.logic.read_encoder(0, 2 * MS)
    signals = bench.at(2)
    assert signals.counts.missing == 1 and signals.is_rejecting
    assert bench.kinds() == ["encoder reset", "verdict missing"]
    bench.judge(2, OK, captured=2, now=3)
    bench.logic.read_encoder(101, 4 * MS)
    assert bench.at(4).counts.ok == 1


def test_a_conveyor_full_beyond_reason_loses_the_oldest_into_the_safe_state() -> None:
    bench = Bench(delay_ms=3_000_000.0)
    for number in range(PARTS_LIMIT + 5):
        bench.announce(number, now=number)
    assert bench.at(PARTS_LIMIT + 5).counts.missing == 5
    assert "too many parts" in bench.kinds()


def test_news_of_a_fault_that_repeats_is_told_now_and_then_with_a_count() -> None:
    bench = Bench(delay_ms=1.0)
    for number in range(100):
        bench.judge(number, OK, captured=number * 200, now=number * 200 + 50)
    assert bench.at(20_000).counts.late == 100
    told = bench.news.take()
    assert len(told) == 2 and "49 more" in told[1].detail
