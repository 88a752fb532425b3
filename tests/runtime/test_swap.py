"""A bundle is swapped on a running line: shadow, switch, and the way back."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dtgd_edge.bundle import Bundle, Threshold
from dtgd_edge.errors import BundleError, ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector, Opened
from dtgd_edge.runtime.selftest import SelfTest, SelfTestConfig
from dtgd_edge.runtime.swap import Swap
from dtgd_edge.runtime.swap_config import SwapConfig, remembered_bundle
from dtgd_edge.runtime.watch import BundleWatch
from tests.runtime.fakes import GreyDevice, GreySession, grey_frame

S = 1_000_000_000


class Line:
    """A line with a swap: `run` judges frames and calls the chores as the loop does."""

    def __init__(self, bundle: Bundle, folder: Path, config: SwapConfig) -> None:
        self.told: list[Event] = []
        self.events = Events()
        self.events.listen(self.told.append)
        self.device = GreyDevice()
        self.bundle = bundle
        self.folder = folder
        bundle.save(folder / "active.dtgd")
        first = Opened.open(folder / "active.dtgd", self.device)
        self.live = LiveInspector(first, self.events)
        self.swap = Swap(self.live, self.device, config, self.events)
        self.selftest = SelfTest(self.live, SelfTestConfig(), self.events)
        self.frames = 0

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    @property
    def session(self) -> GreySession:
        """Of the active bundle."""
        session = self.live.active.inspector.session
        assert isinstance(session, GreySession)
        return session

    def candidate(self, threshold: float = 1.0, name: str = "candidate") -> Path:
        manifest = replace(self.bundle.manifest, name=name, threshold=Threshold(threshold, "by hand", 3))
        path = self.folder / f"{name}.dtgd"
        replace(self.bundle, manifest=manifest).save(path)
        return path

    def run(self, greys: list[int], *, later_s: float = 0.0) -> str:
        letters = ""
        for grey in greys:
            self.turn(later_s)
            verdict = self.live.inspect(grey_frame(self.frames, grey))
            letters += {"OK": "O", "NG": "X", "NO_DECISION": "-"}[verdict.decision.value]
            self.frames += 1
        self.turn(later_s)
        return letters

    def turn(self, later_s: float = 0.0) -> None:
        now_ns = time.monotonic_ns() + round(later_s * S)
        self.swap(now_ns)
        self.selftest(now_ns)

    def switched(self, threshold: float = 1.0) -> "Line":
        self.swap.offer(self.candidate(threshold))
        self.run([128])
        self.swap.switch("Ada", "better")
        self.turn()
        return self


QUICK = SwapConfig(every_nth_frame=1, budget_ms=10_000.0, probation_frames=4, probation_s=100.0)


@pytest.fixture
def line(tiny_bundle: Bundle, tmp_path: Path) -> Line:
    return Line(tiny_bundle, tmp_path, replace(QUICK, reports=str(tmp_path / "reports")))


def test_a_candidate_sees_the_same_frames_and_decides_nothing(line: Line) -> None:
    line.swap.offer(line.candidate(threshold=1.0), who="Ada")
    # 176 scores 1.5: good for the active bundle, not for the candidate.
    assert line.run([128, 130, 176, 220]) == "OOOX"
    report = line.swap.report()
    assert report is not None and report.counts == {"OK/OK": 2, "OK/NG": 1, "NG/NG": 1}
    assert (report.compared, report.agreed, report.skipped) == (4, 3, 0)
    assert report.rank_correlation == pytest.approx(1.0)
    assert len(report.differences) == 1 and report.differences[0].candidate["decision"] == "NG"
    assert (report.differences[0].picture or b"").startswith(b"\xff\xd8")
    assert line.swap.state.candidate is not None and line.live.threshold == 2.0
    assert line.kinds == ["candidate in the shadow"] and line.told[0].who == "Ada"


def test_the_report_is_one_page_and_one_document(line: Line) -> None:
    line.swap.offer(line.candidate(name="a<b>"))
    line.run([128, 176])
    line.swap.withdraw("Ada", "enough")
    line.turn()
    assert line.kinds[-1] == "candidate withdrawn" and line.swap.report() is None
    assert line.device.sessions[1].is_closed and not line.session.is_closed
    pages = sorted((line.folder / "reports").iterdir())
    assert [page.suffix for page in pages] == [".html", ".json"] and str(pages[0]) in line.told[-1].detail
    page = pages[0].read_text()
    assert "data:image/jpeg;base64," in page and "a&lt;b&gt;" in page and "a<b>" not in page
    assert json.loads(pages[1].read_text())["counts"] == {"OK/OK": 1, "OK/NG": 1}


def test_the_candidate_may_take_frames_of_another_size(line: Line, tiny_bundle: Bundle) -> None:
    manifest = replace(tiny_bundle.manifest, name="large", frame_size_hw=(480, 640))
    replace(tiny_bundle, manifest=manifest).save(line.folder / "large.dtgd")
    line.swap.offer(line.folder / "large.dtgd")
    line.run([128])
    report = line.swap.report()
    assert report is not None and report.counts == {"OK/NO_DECISION": 1}
    assert "wrong size" in report.differences[0].candidate["reason"]


def test_every_nth_frame_and_no_frame_that_would_break_the_budget(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    line = Line(tiny_bundle, tmp_path, replace(QUICK, every_nth_frame=3))
    line.swap.offer(line.candidate())
    line.run([128] * 9)
    report = line.swap.report()
    assert report is not None and (report.compared, report.skipped) == (3, 0)

    tight = Line(tiny_bundle, tmp_path, replace(QUICK, budget_ms=0.0))
    tight.swap.offer(tight.candidate())
    tight.run([128] * 5)
    report = tight.swap.report()
    assert report is not None and (report.compared, report.skipped) == (0, 5)


def test_a_switch_is_one_step_and_is_told_with_both_digests(line: Line) -> None:
    before = line.session
    line.switched(threshold=1.0)
    assert line.live.threshold == 1.0 and line.run([176]) == "X"
    event = line.told[-1]
    assert event.kind == "bundle switched" and event.who == "Ada"
    assert event.detail.count(line.bundle.manifest.graph_sha256[:12]) == 2
    assert line.swap.state.is_on_probation and not before.is_closed
    line.run([128] * 4, later_s=200.0)
    assert line.kinds[-1] == "probation passed" and before.is_closed
    assert not line.swap.state.is_on_probation


def test_the_line_goes_back_when_the_new_session_fails(line: Line) -> None:
    before = line.session
    line.switched()
    after = line.session
    after.fails = True
    # Three failures in a row are a lost session; the old one judges the very next frame.
    assert line.run([128, 176, 176, 176, 220]) == "---OX"
    assert line.session is before and after.is_closed
    assert line.kinds[-2:] == ["session lost", "bundle rolled back"] and line.told[-1].is_alarm


def test_the_line_goes_back_when_the_self_test_fails(line: Line) -> None:
    before = line.session
    line.switched()
    line.session.gain = 0.5
    line.selftest.ask()
    # The self-test fails before the first frame, the way back is taken before the second.
    assert line.run([176, 176]) == "-O"
    assert line.session is before and line.kinds[-2:] == ["self-test failed", "bundle rolled back"]


@pytest.mark.parametrize(("grey", "what"), [(176, "NG"), (0, "NO_DECISION")])
def test_the_line_goes_back_when_a_rate_leaves_its_bounds(line: Line, grey: int, what: str) -> None:
    line.switched(threshold=1.0)
    line.run([grey] * 3)
    assert line.live.threshold == 1.0
    line.run([grey])
    assert line.live.threshold == 2.0
    assert line.kinds[-1] == "bundle rolled back" and f"4 frames were {what}" in line.told[-1].detail


def test_a_person_goes_back_even_after_the_probation(line: Line) -> None:
    line.switched()
    line.run([128] * 4, later_s=200.0)
    line.swap.rollback("Bob", "too strict")
    line.turn()
    assert line.live.threshold == 2.0 and line.run([176]) == "O"
    assert line.told[-1].kind == "bundle rolled back" and line.told[-1].who == "Bob"
    assert not line.told[-1].is_alarm and line.swap.state.previous is None
    line.swap.rollback("Bob", "again")
    line.turn()
    assert line.kinds[-1] == "swap refused"


def test_what_cannot_be_done_is_refused_and_the_line_runs_on(line: Line) -> None:
    with pytest.raises(BundleError):
        line.swap.offer(line.folder / "nothing.dtgd")
    for request in (line.swap.switch, line.swap.rollback, line.swap.withdraw):
        request("Ada", "why not")
        line.turn()
    line.device.gain = 0.5
    line.swap.offer(line.candidate())
    assert line.run([128]) == "O"
    assert line.kinds == ["swap refused"] * 4 and "golden frame" in line.told[-1].detail
    assert line.swap.report() is None


def test_a_candidate_that_fails_its_self_test_is_not_switched_to(line: Line) -> None:
    line.swap.offer(line.candidate())
    line.run([128])
    line.device.sessions[-1].gain = 0.5
    line.swap.switch("Ada", "hope")
    line.turn()
    assert line.kinds[-2:] == ["swap refused", "candidate withdrawn"]
    assert line.live.threshold == 2.0 and line.run([128]) == "O"


def test_a_candidate_whose_session_fails_is_withdrawn(line: Line) -> None:
    line.swap.offer(line.candidate())
    line.turn()
    line.device.sessions[-1].fails = True
    assert line.run([128] * 4) == "OOOO"
    assert line.kinds[-1] == "candidate withdrawn" and line.device.sessions[-1].is_closed


def test_no_second_switch_during_a_probation(line: Line) -> None:
    line.switched()
    line.swap.offer(line.candidate(name="third"))
    line.run([128])
    line.swap.switch("Ada", "hurry")
    line.turn()
    assert line.kinds[-1] == "swap refused" and line.live.manifest.name == "candidate"


def test_the_next_start_takes_what_passed_its_probation(tiny_bundle: Bundle, tmp_path: Path) -> None:
    config = replace(QUICK, remember=str(tmp_path / "active.txt"))
    given = tmp_path / "given.dtgd"
    assert remembered_bundle(config, given) == remembered_bundle(QUICK, given) == given
    line = Line(tiny_bundle, tmp_path, config).switched()
    # A process that dies on probation starts with what it had before.
    assert remembered_bundle(config, given) == given
    line.run([128] * 4, later_s=200.0)
    assert remembered_bundle(config, given) == tmp_path / "candidate.dtgd"
    line.swap.rollback("Ada", "no")
    line.turn()
    assert remembered_bundle(config, given) == tmp_path / "active.dtgd"
    (tmp_path / "active.dtgd").unlink()
    assert remembered_bundle(config, given) == given


def test_closing_gives_everything_back_but_the_active_session(line: Line) -> None:
    line.switched()
    line.swap.offer(line.candidate(name="third"))
    line.turn()
    line.swap.close()
    assert [session.is_closed for session in line.device.sessions] == [True, False, True]


def test_requests_come_from_any_thread(line: Line) -> None:
    path = line.candidate()
    threads = [threading.Thread(target=line.swap.offer, args=(path, f"t{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line.run([128] * 6)
    assert line.kinds.count("candidate in the shadow") == 4 and line.kinds.count("candidate withdrawn") == 3
    assert sum(not session.is_closed for session in line.device.sessions) == 2


def test_a_newer_bundle_in_a_watched_folder_is_offered_once(line: Line) -> None:
    folder = line.folder / "drop"
    folder.mkdir()
    watch = BundleWatch(line.swap, replace(QUICK, watch=str(folder), watch_s=1.0), line.events)
    assert not watch(0)
    os.replace(line.candidate(name="new"), folder / "new.dtgd")
    # Seen, seen unchanged, offered; then it is known.
    assert [watch(second * S) for second in range(1, 3)] == [False, True]
    deadline = time.monotonic() + 5.0
    while line.swap.state.candidate is None and time.monotonic() < deadline:
        line.turn()
        time.sleep(0.005)
    assert line.told[-1].kind == "candidate in the shadow" and line.told[-1].who == "watch"
    assert not any(watch(second * S) for second in range(3, 9))


def test_a_damaged_bundle_in_a_watched_place_is_refused(line: Line) -> None:
    place = line.folder / "place.dtgd"
    watch = BundleWatch(line.swap, replace(QUICK, watch=str(place), watch_s=1.0), line.events)
    place.write_bytes(b"PK half")
    assert [watch(second * S) for second in range(1, 3)] == [False, True]
    deadline = time.monotonic() + 5.0
    while not line.told and time.monotonic() < deadline:
        time.sleep(0.005)
    assert line.kinds == ["bundle refused"]


@pytest.mark.parametrize("bad", [{"every_nth_frame": 0}, {"max_ng": 1.5}, {"probation_frames": 0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"swap has {next(iter(bad))}"):
        SwapConfig(**bad)  # type: ignore[arg-type]
