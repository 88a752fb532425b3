"""Votes over the frames of a part: one verdict a part, and never an OK of what was not seen."""

import time
from itertools import count

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.parts import PartJudge
from dtgd_edge.runtime.policy import VoteConfig
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

OK, NG, NONE = Decision.OK, Decision.NG, Decision.NO_DECISION


def judged(
    decision: Decision, part: int | None, index: int = 0, score: float | None = None
) -> tuple[Verdict, Frame]:
    frame = Frame(np.zeros((4, 4), np.uint8), index, part=part)
    if decision is NONE:
        return Verdict(NONE, index, 1.0, reason="blurred: check focus", part=part), frame
    usual = 2.0 if decision is NG else 0.5
    return Verdict(decision, index, 1.0, score=usual if score is None else score, part=part), frame


def decisions(judge: PartJudge, part: int | None, *frames: Decision) -> list[Decision]:
    done = [pair for decision in frames for pair in judge.add(*judged(decision, part))]
    return [verdict.decision for verdict, _ in done]


def test_without_a_vote_everything_passes() -> None:
    judge = PartJudge(None)
    pair = judged(OK, None)
    assert judge.add(*pair) == [pair]
    assert judge.flush() == judge.overdue() == []


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ((OK, OK, OK), OK),
        ((OK, NG, OK), OK),
        ((NG, OK, NG), NG),
        ((NG, NONE, NG), NG),
        ((OK, NONE, OK), NONE),
        ((NONE, NONE, NONE), NONE),
    ],
)
def test_two_of_three(frames: tuple[Decision, ...], expected: Decision) -> None:
    assert decisions(PartJudge(VoteConfig(3, 2)), 1, *frames) == [expected]


def test_the_verdict_is_that_of_the_worst_frame() -> None:
    judge = PartJudge(VoteConfig(3, 2))
    for index, (decision, score) in enumerate([(NG, 1.5), (OK, 0.1), (NG, 3.0)]):
        done = judge.add(*judged(decision, 7, index, score))
    ((verdict, frame),) = done
    assert (verdict.decision, verdict.score, verdict.part) == (NG, 3.0, 7)
    assert verdict.frame_index == frame.index == 2
    assert verdict.note == "vote: 2 NG, 1 OK, 0 undecided, 0 missing"


def test_a_part_that_cannot_be_judged_says_why_and_has_no_score() -> None:
    judge = PartJudge(VoteConfig(2))
    judge.add(*judged(OK, 1, 0))
    ((verdict, frame),) = judge.add(*judged(NONE, 1, 1))
    assert verdict.reason == "blurred: check focus" and verdict.score is None and frame.index == 1


def test_the_next_part_ends_one_with_missing_frames() -> None:
    judge = PartJudge(VoteConfig(3))
    assert decisions(judge, 1, OK, OK) == []
    ((verdict, _),) = judge.add(*judged(OK, 2))
    assert (verdict.part, verdict.decision) == (1, NONE)
    assert verdict.reason is not None and verdict.reason.startswith("missing frames: 2 of 3")
    ((last, _),) = judge.flush()
    assert (last.part, last.decision) == (2, NONE)
    assert judge.flush() == []


def test_a_part_that_waits_too_long_is_decided() -> None:
    judge = PartJudge(VoteConfig(2, wait_ms=20))
    judge.add(*judged(NG, 1))
    assert judge.overdue() == []
    time.sleep(0.03)
    assert [verdict.decision for verdict, _ in judge.overdue()] == [NG]
    assert judge.overdue() == []


def test_a_late_frame_makes_no_second_verdict_but_is_told() -> None:
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    judge = PartJudge(VoteConfig(1), events)
    assert decisions(judge, 1, OK, NG) == [OK]
    assert [(event.kind, event.is_alarm) for event in told] == [("late frame", True)]
    assert "part 1 was NG" in told[0].detail


def test_a_number_that_comes_again_after_a_while_is_another_part() -> None:
    judge = PartJudge(VoteConfig(1, wait_ms=10))
    assert decisions(judge, 0, OK) == [OK]
    time.sleep(0.02)
    assert decisions(judge, 0, NG) == [NG]


def test_a_frame_of_an_unknown_part_is_never_ok() -> None:
    judge = PartJudge(VoteConfig(2))
    assert decisions(judge, None, OK, NG, NONE) == [NONE, NG, NONE]


def test_any_mixture_of_frames() -> None:
    """Thousands of random lines: exactly one verdict a part, in order, and the rule of the docstring."""
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(1500):
        frames = int(rng.integers(1, 6))
        ng_frames = int(rng.integers(1, frames + 1))
        fewest = None if rng.random() < 0.5 else int(rng.integers(ng_frames, frames + 1))
        judge = PartJudge(VoteConfig(frames, ng_frames, fewest))
        shown: list[list[Decision]] = []
        done: list[tuple[Verdict, Frame]] = []
        index = count()
        for part in range(int(rng.integers(1, 5))):
            came = int(rng.integers(1, frames + 1))
            shown.append([(OK, NG, NONE)[rng.choice(3, p=[0.6, 0.25, 0.15])] for _ in range(came)])
            for decision in shown[-1]:
                done += judge.add(*judged(decision, part, next(index)))
        done += judge.flush()
        assert [verdict.part for verdict, _ in done] == list(range(len(shown)))
        for (verdict, frame), part_frames in zip(done, shown, strict=True):
            seen.add(verdict.decision)
            ng, was_judged = part_frames.count(NG), len(part_frames) - part_frames.count(NONE)
            if ng >= ng_frames:
                assert verdict.decision is NG
            elif was_judged >= (frames if fewest is None else fewest):
                assert verdict.decision is OK
            else:
                assert verdict.decision is NONE
            assert verdict.frame_index == frame.index
            assert (verdict.reason is not None) == (verdict.decision is NONE) == (verdict.score is None)
    assert seen == {OK, NG, NONE}


@pytest.mark.parametrize(
    "keys",
    [
        {"frames": 0},
        {"frames": 2, "ng_frames": 3},
        {"frames": 3, "ng_frames": 2, "fewest_judged": 1},
        {"frames": 2, "fewest_judged": 3},
        {"frames": 2, "wait_ms": 0},
        {"frames": 65},
    ],
)
def test_impossible_votes(keys: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="vote"):
        VoteConfig(**keys)
