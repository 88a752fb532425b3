"""The inspector of a running line: sessions that fail, come back and are tested."""

import time
from pathlib import Path

import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.live import LiveInspector, Opened
from dtgd_edge.runtime.recovery import Recovery, RecoveryConfig
from dtgd_edge.runtime.selftest import SelfTest, SelfTestConfig
from dtgd_edge.runtime.sessions.null import NullSession
from dtgd_edge.verdict import Decision
from tests.runtime.fakes import GreyDevice, grey_frame

S = 1_000_000_000


class Line:
    """A live inspector with its chores, and what was told."""

    def __init__(self, bundle: Bundle) -> None:
        self.told: list[Event] = []
        self.events = Events()
        self.events.listen(self.told.append)
        self.device = GreyDevice()
        self.live = LiveInspector(Opened.of(Path("tiny.dtgd"), bundle, self.device), self.events, hiccups=3)
        self.frames = 0

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def judge(self, greys: list[int]) -> str:
        letters = ""
        for grey in greys:
            verdict = self.live.inspect(grey_frame(self.frames, grey))
            letters += {"OK": "O", "NG": "X", "NO_DECISION": "-"}[verdict.decision.value]
            self.frames += 1
        return letters


@pytest.fixture
def line(tiny_bundle: Bundle) -> Line:
    return Line(tiny_bundle)


def test_it_judges_like_the_inspector_that_is_active(line: Line) -> None:
    assert line.judge([128, 220, 130]) == "OXO"
    assert line.live.judged == 3 and line.live.last is not None
    assert line.live.last[0].frame_index == line.live.last[1].index == 2
    assert line.live.threshold == 2.0 and line.live.manifest.name == "tiny"
    line.live.set_threshold(0.01)
    assert line.judge([130]) == "X"
    with pytest.raises(ConfigError, match="finite"):
        line.live.set_threshold(float("nan"))


def test_a_hiccup_is_no_decision_and_no_more(line: Line) -> None:
    session = line.device.sessions[0]
    session.fails = True
    assert line.judge([128, 128]) == "--"
    session.fails = False
    assert line.judge([128]) == "O"
    session.fails = True
    assert line.judge([128, 128]) == "--" and not line.told and not line.live.is_lost


def test_a_lost_session_is_opened_again_with_growing_waits_and_proven(line: Line) -> None:
    recovery = Recovery(
        line.live, line.device, RecoveryConfig(first_wait_s=1.0, longest_wait_s=3.0), line.events
    )
    line.live.set_threshold(1.5)
    assert not recovery(0)
    line.device.sessions[0].fails = True
    assert line.judge([128] * 4) == "----"
    assert line.live.is_lost and line.kinds == ["session lost"] and line.told[0].is_alarm
    line.device.refuses = 3
    tries = [second for second in range(20) if recovery(second * S)]
    # At once, then after 1, 2 and 3 seconds; nothing is due once it is back.
    assert tries == [0, 1, 3, 6]
    assert line.device.sessions[0].is_closed and len(line.device.sessions) == 2
    assert line.judge([128, 220]) == "OX" and line.live.threshold == 1.5
    assert line.kinds == ["session lost", "session back"] and "at try 4" in line.told[1].detail


def test_a_session_that_comes_back_wrong_is_not_used(line: Line) -> None:
    recovery = Recovery(line.live, line.device, RecoveryConfig(tries=2), line.events)
    line.live.lose("pulled out")
    line.device.gain = 0.5
    assert recovery(0) and line.live.is_lost and line.judge([220]) == "-"
    assert line.device.sessions[-1].is_closed
    with pytest.raises(BackendError, match=r"not opened again in 2 tries.*golden frame"):
        recovery(100 * S)


def test_the_self_test_runs_at_the_start_on_a_schedule_after_a_swap_and_when_asked(
    line: Line, tiny_bundle: Bundle
) -> None:
    selftest = SelfTest(line.live, SelfTestConfig(every_s=3600.0), line.events)
    assert selftest.outcome is None
    now = _now()
    assert selftest(now) and not selftest(now) and not selftest(now + 3000 * S)
    assert selftest.outcome is not None and selftest.outcome.is_passed
    assert selftest(now + 3700 * S) and not line.told
    line.live.install(Opened.of(Path("other.dtgd"), tiny_bundle, line.device)).close()
    assert selftest(_now()) and not selftest(_now())
    selftest.ask("Ada")
    assert selftest(_now()) and not selftest(_now())
    assert line.kinds == ["self-test passed"] and line.told[0].who == "Ada"


def test_nothing_is_ok_from_a_self_test_that_fails_until_one_that_passes(line: Line) -> None:
    selftest = SelfTest(line.live, SelfTestConfig(retry_s=10.0), line.events)
    session = line.device.sessions[0]
    assert selftest(_now()) and line.judge([128]) == "O"
    session.gain = 0.9
    selftest.ask()
    assert selftest(_now()) and line.judge([128, 220]) == "--"
    assert line.live.hold_reason is not None
    assert line.live.hold_reason.startswith("self-test failed: golden frame 1 scores 0.9")
    assert line.kinds == ["self-test failed"] and line.told[0].is_alarm
    session.gain = 1.0
    assert not selftest(_now()) and selftest(_now() + 11 * S)
    assert line.judge([128, 220]) == "OX" and line.kinds == ["self-test failed", "self-test passed"]


def test_a_session_that_fails_its_self_test_twice_is_opened_again(line: Line) -> None:
    selftest = SelfTest(line.live, SelfTestConfig(), line.events)
    recovery = Recovery(line.live, line.device, RecoveryConfig(), line.events)
    line.device.sessions[0].fails = True
    assert selftest(_now()) and not line.live.is_lost
    assert selftest(_now() + 11 * S) and line.live.is_lost
    assert not selftest(_now() + 99 * S)
    assert recovery(0) and selftest(_now()) and line.judge([128]) == "O"
    assert line.kinds == ["self-test failed", "session lost", "session back"]


def test_the_null_session_proves_nothing(tiny_bundle: Bundle) -> None:
    opened = Opened.of(
        Path("tiny.dtgd"), tiny_bundle, lambda bundle: Inspector(NullSession(bundle), bundle.manifest)
    )
    with LiveInspector(opened, Events()) as live:
        assert SelfTest(live, SelfTestConfig(), Events())(_now())
        assert live.inspect(grey_frame(0, 128)).decision is Decision.OK


@pytest.mark.parametrize("make", [lambda: SelfTestConfig(every_s=-1), lambda: SelfTestConfig(retry_s=0)])
def test_self_test_settings_are_checked(make: object) -> None:
    with pytest.raises(ConfigError, match="selftest has every_s"):
        make()  # type: ignore[operator]


def test_recovery_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="recovery has first_wait_s"):
        RecoveryConfig(first_wait_s=9.0, longest_wait_s=3.0)


def _now() -> int:
    return time.monotonic_ns()
