"""Part judges: several frames, one verdict."""

import numpy as np

from dtgd_edge.runtime.judge import Judged, Panel, no_decision, taken_back
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Region, Verdict


class Pairs:
    """Decides on every second verdict; the last one alone at the end."""

    def __init__(self) -> None:
        self._waiting: list[Judged] = []

    def add(self, verdict: Verdict, frame: Frame) -> list[Judged]:
        self._waiting.append((verdict, frame))
        return self.flush()[-1:] if len(self._waiting) == 2 else []

    def flush(self) -> list[Judged]:
        waiting, self._waiting = self._waiting, []
        return waiting


def run(panel: Panel, count: int) -> list[int]:
    decided = []
    for index in range(count):
        decided += panel.add(
            Verdict(Decision.OK, index, 1.0), Frame(np.zeros((4, 4), np.uint8), index, part=7)
        )
    return [verdict.frame_index for verdict, _ in decided + panel.flush()]


def test_without_a_judge_every_frame_is_a_part() -> None:
    assert run(Panel([]), 3) == [0, 1, 2]


def test_judges_decide_one_after_the_other_and_are_flushed_in_that_order() -> None:
    assert run(Panel([Pairs()]), 5) == [1, 3, 4]
    # Two pairs of pairs, and what the first gives back at the end goes through the second.
    assert run(Panel([Pairs(), Pairs()]), 7) == [3, 6]


def test_what_was_not_judged_and_what_is_taken_back_has_no_decision() -> None:
    frame = Frame(np.zeros((4, 4), np.uint8), 5, name="a.png", part=7)
    verdict = no_decision(frame, 2.0, "session failed: gone", {"capture": 1.0})
    assert verdict.decision is Decision.NO_DECISION and (verdict.part, verdict.frame_name) == (7, "a.png")
    assert verdict.reason == "session failed: gone" and verdict.stages_ms == {"capture": 1.0}

    ng = Verdict(Decision.NG, 5, 2.0, 3.0, regions=(Region(0, 0, 1, 1, 1, 3.0),), part=7)
    back = taken_back(ng, "sink down: x")
    assert back.decision is Decision.NO_DECISION and back.score == 3.0 and not back.regions
