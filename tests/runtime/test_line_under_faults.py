"""Loop, live inspector, self-test, swap, recovery, masters and drift together, while things break."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, SinkError
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.drift import Drift, DriftConfig
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector, Opened
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.masters import MasterPart, MasterParts, MastersConfig
from dtgd_edge.runtime.recovery import Recovery, RecoveryConfig
from dtgd_edge.runtime.selftest import SelfTest, SelfTestConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.summary import Summary
from dtgd_edge.runtime.swap import Swap
from dtgd_edge.runtime.swap_config import SwapConfig
from dtgd_edge.verdict import Decision, Verdict
from tests.runtime.fakes import GreyDevice


class Parts(FrameSource):
    """Good parts (grey 130) and, every fifth, a bad one (grey 220)."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._closed = threading.Event()

    is_live = False
    description = "parts"

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if self._closed.is_set():
                return
            yield Frame(np.full((64, 64, 3), 220 if index % 5 == 4 else 130, np.uint8), index)

    def close(self) -> None:
        self._closed.set()


class Record(Sink):
    """Keeps decisions; refuses the frames it is told to."""

    def __init__(self, refuses: range = range(0)) -> None:
        self.decisions: dict[int, Decision] = {}
        self._refuses = refuses

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if frame.index in self._refuses:
            raise SinkError("the disk is full")
        assert frame.index not in self.decisions
        self.decisions[frame.index] = verdict.decision

    def close(self) -> None:
        pass


class Line:
    """Everything wired as a line does it; `at` does something before a frame is judged."""

    def __init__(self, bundle: Bundle, tries: int = 8) -> None:
        self.events, self.device, self.told = Events(), GreyDevice(), list[Event]()
        self.events.listen(self.told.append)
        self.live = LiveInspector(Opened.of(Path("tiny.dtgd"), bundle, self.device), self.events)
        self.swap = Swap(self.live, self.device, SwapConfig(probation_frames=10), self.events)
        self.selftest = SelfTest(self.live, SelfTestConfig(), self.events)
        wait = RecoveryConfig(first_wait_s=0.001, longest_wait_s=0.002, tries=tries)
        self.recovery = Recovery(self.live, self.device, wait, self.events)
        parts = MastersConfig((MasterPart("good", "OK"), MasterPart("bad", "NG")))
        self.masters = MasterParts(parts, self.events)
        self.reject = Record()

    def run(self, count: int, at: dict[int, object], *outlets: Outlet) -> Summary:
        def act(now_ns: int) -> bool:
            action = at.pop(self.live.judged, None)
            if callable(action):
                action()
            return False

        return run_loop(
            Parts(count),
            self.live,
            [*outlets, self.reject, Drift(self.live, DriftConfig(), self.events)],
            judges=[self.masters],
            chores=[act, self.swap, self.selftest, self.recovery, self.masters],
            events=self.events,
        )

    def no_bad_part_was_ok(self) -> bool:
        return not any(d is Decision.OK and i % 5 == 4 for i, d in self.reject.decisions.items())


@pytest.fixture
def line(tiny_bundle: Bundle) -> Line:
    return Line(tiny_bundle)


def test_a_session_that_fails_in_mid_run_comes_back_and_no_verdict_is_lost(line: Line) -> None:
    def fail() -> None:
        line.device.sessions[-1].fails = True
        line.device.refuses = 2

    summary = line.run(1500, {20: fail})
    assert summary.frames == 1500 == len(line.reject.decisions) and line.no_bad_part_was_ok()
    assert summary.ok + summary.ng + summary.no_decision == 1500
    assert all(line.reject.decisions[i] is Decision.NO_DECISION for i in (20, 21, 22, 23))
    assert summary.events == {"session lost": 1, "session back": 1}
    assert line.reject.decisions[1499] is Decision.NG and line.reject.decisions[1498] is Decision.OK
    assert summary.reasons == {"session failed": summary.no_decision} and summary.chores >= 4


def test_a_session_that_stays_away_ends_the_run_with_every_part_rejected(tiny_bundle: Bundle) -> None:
    line = Line(tiny_bundle, tries=3)

    def fail() -> None:
        line.device.sessions[-1].fails = True
        line.device.refuses = 1000

    with pytest.raises(BackendError, match="not opened again in 3 tries"):
        line.run(1_000_000, {20: fail})
    after = {d for i, d in line.reject.decisions.items() if i >= 20}
    assert after == {Decision.NO_DECISION}


def test_a_session_that_drifts_is_caught_by_the_self_test(line: Line) -> None:
    def weaken() -> None:
        line.device.sessions[-1].gain = 0.1
        line.selftest.ask()

    summary = line.run(60, {20: weaken})
    # The weakened session would call every bad part OK.
    assert summary.ok == 16 and summary.ng == 4 and line.no_bad_part_was_ok()
    assert summary.reasons == {"self-test failed": 40} and summary.events["self-test failed"] == 1


def test_a_log_that_fails_for_a_while_holds_the_line_for_that_while(line: Line) -> None:
    log = Record(range(10, 15))
    summary = line.run(30, {}, Outlet(log, "audit log", "hold"))
    undecided = {i for i, d in line.reject.decisions.items() if d is Decision.NO_DECISION}
    # Part 14 is a bad one, and is rejected all the same.
    assert undecided == set(range(10, 16)) - {14} and summary.no_decision == 5
    assert line.reject.decisions[14] is Decision.NG
    assert set(log.decisions) == set(range(30)) - set(range(10, 15))
    assert summary.sink_failures == {"audit log": 5}
    assert summary.events == {"sink down": 1, "sink back": 1}


def test_master_parts_in_mid_run_are_no_production(line: Line) -> None:
    # Frames 13 and 14 are a good and a bad one.
    summary = line.run(30, {13: lambda: line.masters.begin("Ada")})
    assert summary.reasons == {"master part": 2} and (summary.ok, summary.ng) == (23, 5)
    assert summary.events == {"master parts begun": 1, "master parts passed": 1}


def test_a_swap_in_mid_run_goes_back_by_itself(line: Line, tiny_bundle_path: Path) -> None:
    def break_it() -> None:
        line.device.sessions[-1].fails = True

    at: dict[int, object] = {
        5: lambda: line.swap.offer(tiny_bundle_path),
        10: lambda: line.swap.switch("Ada", "newer"),
        15: break_it,
    }
    summary = line.run(40, at)
    kinds = [event.kind for event in line.told]
    assert kinds == ["candidate in the shadow", "bundle switched", "session lost", "bundle rolled back"]
    assert summary.reasons == {"session failed": 3} and line.no_bad_part_was_ok()
    assert summary.ok + summary.ng == 37
