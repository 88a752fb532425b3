"""The loop: every frame or the newest one, and nothing that can hang."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, SinkError, SourceLost, SourceTimeout
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.inspector import STAGES, Inspector
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.sessions.ort import OrtSession
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Scores, Verdict
from tests.runtime.ends import Collector, PretendSource

Result = TypeVar("Result")
PATIENCE_S = 8.0


def in_time(work: Callable[[], Result]) -> Result:
    """Run in a thread, so that a loop that hangs is a failed test rather than a hanging one."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:
            errors.append(exc)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(PATIENCE_S)
    assert not worker.is_alive(), "the loop hangs"
    if errors:
        raise errors[0]
    return results[0]


@pytest.fixture
def inspector(tiny_bundle: Bundle) -> Inspector:
    return Inspector(OrtSession(tiny_bundle, threads=1), tiny_bundle.manifest)


@pytest.fixture(autouse=True)
def no_reader_is_left_behind() -> Iterator[None]:
    yield
    assert not [t for t in threading.enumerate() if t.name == "dtgd-reader"]


def test_a_file_is_judged_frame_by_frame_however_slow_the_sink(inspector: Inspector) -> None:
    source, sink = PretendSource(30), Collector(takes_s=0.003)
    summary = in_time(lambda: run_loop(source, inspector, [sink], queue_size=2))
    assert sink.indices == list(range(30))
    assert (summary.frames, summary.ok, summary.dropped) == (30, 30, 0)
    assert summary.stopped_by == "end of source" and source.closed.is_set()


def test_a_live_source_keeps_its_newest_frame_and_counts_the_others(inspector: Inspector) -> None:
    source, sink = PretendSource(60, is_live=True, every_s=0.002), Collector(takes_s=0.02)
    summary = in_time(lambda: run_loop(source, inspector, [sink]))
    assert summary.dropped > 0
    assert summary.frames + summary.dropped == 60
    assert sink.indices[-1] == 59 and sink.indices == sorted(set(sink.indices))


def test_a_fast_consumer_drops_nothing_of_a_live_source(inspector: Inspector) -> None:
    source = PretendSource(10, is_live=True, every_s=0.02)
    assert in_time(lambda: run_loop(source, inspector, [])).dropped == 0


def test_the_summary_counts_and_times(inspector: Inspector) -> None:
    summary = in_time(lambda: run_loop(PretendSource(10), inspector, [Collector(takes_s=0.002)]))
    assert tuple(summary.stages_ms) == (*STAGES, "write")
    assert all(times.count == 10 for times in summary.stages_ms.values())
    write, latency = summary.stages_ms["write"], summary.latency_ms
    assert write.p50 is not None and write.p50 >= 2
    assert latency.p50 is not None and latency.max is not None and 0 < latency.p50 <= latency.max
    record = summary.record()
    assert record["stopped_by"] == "end of source" and record["latency_ms"]["count"] == 10
    assert record["seconds"] > 0


def test_frames_that_cannot_be_judged_are_counted_by_kind(inspector: Inspector) -> None:
    class Mixed(PretendSource):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(None, 0, fault="lost frame: a")
            yield Frame(np.zeros((64, 64, 3), np.uint8), 1)
            yield Frame(None, 2, fault="lost frame: b")
            yield from (Frame(None, 3 + n, fault=f"novelty {n}: c") for n in range(50))

    summary = in_time(lambda: run_loop(Mixed(0), inspector, []))
    assert (summary.frames, summary.no_decision, summary.ok) == (53, 53, 0)
    assert summary.reasons["lost frame"] == 2 and summary.reasons["black"] == 1
    assert len(summary.reasons) <= 33 and sum(summary.reasons.values()) == 53
    assert summary.latency_ms.count == 0


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("error", [SourceLost("the cable is out"), ValueError("a bug")])
def test_a_source_that_fails_is_heard_after_its_frames(
    inspector: Inspector, error: Exception, is_live: bool
) -> None:
    source = PretendSource(5, error=error, is_live=is_live, every_s=0.02 if is_live else 0.0)
    sink = Collector(takes_s=0.005)
    with pytest.raises(type(error), match=str(error)):
        in_time(lambda: run_loop(source, inspector, [sink], queue_size=5))
    assert sink.indices == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [SinkError("full"), KeyError("a bug")])
def test_a_sink_that_fails_ends_the_run_and_the_others_get_the_verdict(
    inspector: Inspector, error: Exception
) -> None:
    source = PretendSource(1000)
    failing, other = Collector(fails_at=3, error=error), Collector()
    with pytest.raises(type(error)):
        in_time(lambda: run_loop(source, inspector, [failing, other], queue_size=1))
    assert failing.indices == [0, 1, 2] and other.indices == [0, 1, 2, 3]
    assert source.closed.is_set() and source.given < 20


@pytest.mark.parametrize("blocks", [False, True])
def test_an_inspector_that_fails_ends_the_run(inspector: Inspector, blocks: bool) -> None:
    class Broken:
        threshold = 2.0

        def inspect(self, frame: Frame) -> Verdict:
            raise ZeroDivisionError

    source = PretendSource(3 if blocks else 1000, blocks=blocks)
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: run_loop(source, Broken(), [], queue_size=1))  # type: ignore[arg-type]
    assert source.closed.is_set()


class Hiccup(OrtSession):
    """Fails on the calls whose letter is x; after the last letter it works."""

    def __init__(self, bundle: Bundle, script: str) -> None:
        super().__init__(bundle, threads=1)
        self._script = iter(script)

    def score(self, frames: np.ndarray) -> Scores:
        if next(self._script, ".") == "x":
            raise BackendError("the device is gone")
        return super().score(frames)


def test_a_hiccup_of_the_device_is_no_decision(tiny_bundle: Bundle) -> None:
    inspector = Inspector(Hiccup(tiny_bundle, "..xx.xx."), tiny_bundle.manifest)
    sink = Collector()
    summary = in_time(lambda: run_loop(PretendSource(8), inspector, [sink]))
    assert (summary.ok, summary.no_decision) == (4, 4)
    assert summary.reasons == {"session failed": 4}
    assert sink.verdicts[2].decision is Decision.NO_DECISION
    assert sink.verdicts[2].reason == "session failed: the device is gone"
    assert tuple(summary.stages_ms) == (*STAGES, "write")


def test_a_device_that_stays_away_ends_the_run(tiny_bundle: Bundle) -> None:
    inspector = Inspector(Hiccup(tiny_bundle, ".xxx"), tiny_bundle.manifest)
    sink = Collector()
    with pytest.raises(BackendError, match="the device is gone"):
        in_time(lambda: run_loop(PretendSource(1000), inspector, [sink]))
    assert sink.indices == [0, 1, 2]


@pytest.mark.parametrize("blocks", [False, True])
def test_stop_from_another_thread(inspector: Inspector, blocks: bool) -> None:
    stop = threading.Event()
    source = PretendSource(2 if blocks else 10_000_000, is_live=blocks, blocks=blocks)
    threading.Timer(0.2, stop.set).start()
    summary = in_time(lambda: run_loop(source, inspector, [], stop=stop))
    assert summary.stopped_by == "stop" and summary.frames >= 1


def test_max_frames(inspector: Inspector) -> None:
    sink = Collector()
    summary = in_time(lambda: run_loop(PretendSource(1000), inspector, [sink], max_frames=7))
    assert (summary.frames, summary.stopped_by, sink.indices) == (7, "max_frames", list(range(7)))


def test_a_live_source_that_goes_silent(inspector: Inspector) -> None:
    source = PretendSource(2, is_live=True, blocks=True)
    with pytest.raises(SourceTimeout, match="gave nothing"):
        in_time(lambda: run_loop(source, inspector, [], silence_limit_s=0.3))


def test_a_read_that_never_returns_does_not_hold_the_loop(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dtgd_edge.runtime.loop._JOIN_S", 0.1)
    may_end = threading.Event()

    class Stuck(PretendSource):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(np.full((64, 64, 3), 128, np.uint8), 0)
            may_end.wait()

    with pytest.raises(SourceTimeout):
        in_time(lambda: run_loop(Stuck(0, is_live=True), inspector, [], silence_limit_s=0.2))
    assert "did not return from its last read" in caplog.text
    may_end.set()
    for thread in threading.enumerate():
        if thread.name == "dtgd-reader":
            thread.join(5)


def test_a_source_that_cannot_be_closed_still_lets_the_reader_end(inspector: Inspector) -> None:
    class Sticky(PretendSource):
        def close(self) -> None:
            super().close()
            raise SourceLost("cannot be closed")

    with pytest.raises(SourceLost, match="cannot be closed"):
        in_time(lambda: run_loop(Sticky(1000), inspector, [], max_frames=2))


def test_an_empty_source(inspector: Inspector) -> None:
    summary = in_time(lambda: run_loop(PretendSource(0), inspector, []))
    assert summary.frames == 0 and summary.record()["latency_ms"]["p50"] is None


class Pairs:
    """One verdict about every two frames."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Verdict, Frame]] = []

    def add(self, verdict: Verdict, frame: Frame) -> list[tuple[Verdict, Frame]]:
        self._waiting.append((verdict, frame))
        return self.flush() if len(self._waiting) == 2 else []

    def flush(self) -> list[tuple[Verdict, Frame]]:
        last, self._waiting = self._waiting[-1:], []
        return last


@pytest.mark.parametrize("error", [None, SourceLost("the cable is out")])
def test_a_part_that_waits_for_frames_is_delivered_at_the_end(
    inspector: Inspector, error: Exception | None
) -> None:
    sink = Collector()
    source = PretendSource(5, error=error)
    if error is None:
        summary = in_time(lambda: run_loop(source, inspector, [sink], judges=[Pairs()]))
        assert (summary.frames, summary.ok) == (5, 3) and summary.stages_ms["score"].count == 5
    else:
        with pytest.raises(SourceLost):
            in_time(lambda: run_loop(source, inspector, [sink], judges=[Pairs()]))
    assert sink.indices == [1, 3, 4]


def test_a_part_whose_frames_stay_away_is_delivered_after_a_while(inspector: Inspector) -> None:
    stop, sink = threading.Event(), Collector()
    source = PretendSource(3, is_live=True, every_s=0.02, blocks=True)

    def work() -> None:
        run_loop(source, inspector, [sink], stop=stop, judges=[Pairs()], part_silence_s=0.1)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    deadline = time.monotonic() + PATIENCE_S
    while sink.indices != [1, 2] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sink.indices == [1, 2]
    stop.set()
    worker.join(PATIENCE_S)


def test_chores_run_between_frames_in_the_judging_thread_and_are_billed(inspector: Inspector) -> None:
    threads: set[str] = set()
    due = iter([False, True, False, True])

    def chore(now_ns: int) -> bool:
        threads.add(threading.current_thread().name)
        assert now_ns <= time.monotonic_ns()
        if is_due := next(due, False):
            time.sleep(0.01)
        return is_due

    turns: list[int] = []
    source = PretendSource(5)
    summary = in_time(
        lambda: run_loop(source, inspector, [], chores=[chore], watchdog=lambda: turns.append(1))
    )
    assert summary.chores == summary.stages_ms["chore"].count == 2
    assert summary.stages_ms["chore"].p50 is not None and summary.stages_ms["chore"].p50 >= 10
    assert tuple(summary.stages_ms)[-1] == "chore" and summary.record()["chores"] == 2
    assert len(threads) == 1 and "dtgd-reader" not in threads
    assert len(turns) >= 6


def test_a_live_source_keeps_its_newest_frame_during_a_chore(inspector: Inspector) -> None:
    source, sink = PretendSource(40, is_live=True, every_s=0.005), Collector()
    due = iter([False, False, True])

    def chore(now_ns: int) -> bool:
        if is_due := next(due, False):
            time.sleep(0.1)
        return is_due

    summary = in_time(lambda: run_loop(source, inspector, [sink], chores=[chore]))
    assert summary.dropped > 5 and summary.frames + summary.dropped == 40


def test_a_chore_that_gives_up_ends_the_run(inspector: Inspector) -> None:
    def chore(now_ns: int) -> bool:
        raise BackendError("the device stays away")

    source = PretendSource(1000)
    with pytest.raises(BackendError, match="stays away"):
        in_time(lambda: run_loop(source, inspector, [], chores=[chore]))
    assert source.closed.is_set()


def test_what_happens_is_counted(inspector: Inspector) -> None:
    events = Events()
    told = iter([Event("source lost", ""), Event("source back", ""), Event("source back", "")])

    def chore(now_ns: int) -> bool:
        if event := next(told, None):
            events.tell(event)
        return False

    outlet = Outlet(Collector(fails_at=2), "mqtt", "tell")
    summary = in_time(lambda: run_loop(PretendSource(5), inspector, [outlet], chores=[chore], events=events))
    assert summary.ok == 5 and summary.sink_failures == {"mqtt": 1} and summary.reconnects == 2
    assert summary.events == {"source lost": 1, "source back": 2, "sink down": 1, "sink back": 1}
    assert summary.record()["reconnects"] == 2
