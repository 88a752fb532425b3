import numpy as np

from dtgd_edge.runtime.page.state import LineState
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision
from tests.runtime.page.conftest import verdict

GREY = np.full((48, 64), 90, np.uint8)


class Clock:
    now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def fed(state: LineState, score: float | None, index: int, **values: object) -> None:
    state.add(verdict(score, index, **values), Frame(GREY, index))


def test_verdicts_and_reasons_are_counted() -> None:
    state = LineState(10)
    for index, score in enumerate([1.0, 3.0, None, 0.5, None]):
        fed(state, score, index)
    now = state.snapshot()
    assert now.counts == {Decision.OK: 2, Decision.NG: 1, Decision.NO_DECISION: 2}
    assert now.reasons == {"black": 2} and now.sequence == 5 and now.undecided_in_row == 1


def test_frame_numbers_that_are_missing_are_counted() -> None:
    state = LineState(10)
    for index in (0, 1, 5, 6, 2, 3):  # 2 to 4 are missing, then the source begins anew
        fed(state, 1.0, index)
    assert state.snapshot().skipped == 3


def test_the_trend_has_the_newest_with_the_threshold_of_their_time() -> None:
    state = LineState(3)
    for index in range(5):
        fed(state, float(index), index, threshold=2.0 + index)
    trend = state.snapshot().trend
    assert [(p.sequence, p.score, p.threshold) for p in trend] == [
        (3, 2.0, 4.0),
        (4, 3.0, 5.0),
        (5, 4.0, 6.0),
    ]


def test_latency_is_that_of_the_last_minutes_and_rate_that_of_the_last_seconds() -> None:
    clock = Clock()
    state = LineState(10, clock)
    fed(state, 1.0, 0, stages_ms={"score": 500.0})
    clock.now_ns += 400 * 10**9
    for index in range(1, 11):
        fed(state, 1.0, index, stages_ms={"wait": 1.0, "score": float(index)})
        clock.now_ns += 10**9
    now = state.snapshot()
    assert now.latency_ms.count == 10 and now.latency_ms.p50 == 6.0 and now.latency_ms.max == 11.0
    assert now.per_minute == 60.0 and now.age_s == 1.0 and now.uptime_s == 410.0


def test_histograms_are_of_the_whole_run() -> None:
    state = LineState(10)
    for index in range(40):
        fed(state, 1.0, index)
    fed(state, None, 40)
    now = state.snapshot()
    assert sum(now.latencies_ms.counts) == sum(now.scores.counts) == 40
    assert now.scores.counts[now.scores.bounds.index(0.5)] == 40


def test_a_source_that_invents_reasons_fills_no_memory() -> None:
    state = LineState(10)
    for index in range(200):
        fed(state, None, index, reason=f"kind {index}: x")
    reasons = state.snapshot().reasons
    assert len(reasons) == 33 and reasons["other"] == 168
