"""A line from its file: everything opened, wired together, and closed again."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, SinkError
from dtgd_edge.runtime import shared_session
from dtgd_edge.runtime.assembly import open_line
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.line import LineConfig, LoopConfig
from dtgd_edge.runtime.outputs.settings import OutputsConfig
from dtgd_edge.runtime.policy import PolicyConfig, VoteConfig
from dtgd_edge.runtime.records.archive import PicturesConfig
from dtgd_edge.runtime.records.audit import AuditConfig
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.service import Service
from dtgd_edge.runtime.session import Session, open_session
from dtgd_edge.runtime.shared_session import SharedSessions
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import SourceConfig, TriggerConfig
from dtgd_edge.runtime.sources.triggered import TriggeredSource
from dtgd_edge.runtime.trigger import Trigger
from dtgd_edge.verdict import Decision
from tests.runtime.fakes import GreyDevice, grey_frame


class Frames(FrameSource):
    """Given frames, and something that happens before each."""

    is_live = False
    description = "given frames"

    def __init__(self, *frames: Frame, before: Callable[[int], None] = lambda index: None) -> None:
        self._frames = frames
        self._before = before
        self.is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self._before(frame.index)
            yield frame

    def close(self) -> None:
        self.is_closed = True


GOOD, BAD = 130, 220
PARTS = [grey_frame(index, BAD if index == 2 else GOOD) for index in range(4)]


@pytest.fixture
def config(tmp_path: Path) -> LineConfig:
    return LineConfig(
        SourceConfig("given"),
        audit=AuditConfig(path=str(tmp_path / "audit.db")),
        pictures=PicturesConfig(folder=str(tmp_path / "pictures"), min_free_mib=0),
        outputs=OutputsConfig(is_simulated=True),
        reject=RejectConfig(delay_ms=500.0, pulse_ms=1.0),
    )


def decisions(log: Path) -> list[str | None]:
    with AuditLog(log) as opened:
        return [row.decision for row in opened.rows() if row.kind == "verdict"]


def test_verdicts_reach_record_pictures_and_ejector(
    config: LineConfig, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    source = Frames(*PARTS)
    with open_line(config, tiny_bundle_path, source, open_inspector=GreyDevice()) as line:
        summary = line.run()
        assert line.reject is not None
        deadline = time.monotonic() + 5
        counts = line.reject.signals.counts
        while counts.ok + counts.ng < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
            counts = line.reject.signals.counts
    assert source.is_closed and (summary.ok, summary.ng) == (3, 1)
    assert (counts.ok, counts.ng, counts.rejected) == (3, 1, 1)
    assert decisions(tmp_path / "audit.db") == ["OK", "OK", "NG", "OK"]
    assert len(list((tmp_path / "pictures").rglob("*.png"))) >= 1


def test_what_was_opened_is_closed_when_the_rest_fails(
    config: LineConfig, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = replace(config, audit=AuditConfig(path=str(tmp_path / "file" / "audit.db")))
    source, device = Frames(), GreyDevice()
    with (
        pytest.raises(SinkError, match="audit"),
        open_line(config, tiny_bundle_path, source, open_inspector=device),
    ):
        pytest.fail("it opened")
    assert source.is_closed and device.sessions[0].is_closed


def test_a_session_that_disagrees_does_not_start(config: LineConfig, tiny_bundle_path: Path) -> None:
    device = GreyDevice()
    device.gain = 2.0
    with (
        pytest.raises(BackendError, match="golden"),
        open_line(config, tiny_bundle_path, Frames(), open_inspector=device),
    ):
        pytest.fail("it opened")


def test_the_record_names_who_judges_after_a_swap(
    config: LineConfig, tiny_bundle: Bundle, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.dtgd"
    threshold = replace(tiny_bundle.manifest.threshold, value=1.5)
    replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, threshold=threshold)).save(other)

    def swap(index: int) -> None:
        if index == 1:
            line.swap.offer(other, "test")
            line.swap.switch("test", "to see it")
            time.sleep(0.5)

    source = Frames(*PARTS, before=swap)
    with open_line(config, tiny_bundle_path, source, open_inspector=GreyDevice()) as line:
        line.run()
    with AuditLog(tmp_path / "audit.db") as log:
        rows = list(log.rows())
    assert [row.bundle_name for row in rows if row.kind == "judge"] == ["tiny.dtgd", "other.dtgd"]
    assert [row.threshold for row in rows if row.kind == "verdict"][-1] == 1.5
    assert "bundle switched" in [row.what for row in rows]


def test_several_frames_vote_on_a_part(config: LineConfig, tiny_bundle_path: Path, tmp_path: Path) -> None:
    config = replace(config, policy=PolicyConfig(vote=VoteConfig(frames=2)))
    frames = [replace(frame, part=frame.index // 2) for frame in PARTS]
    with open_line(config, tiny_bundle_path, Frames(*frames), open_inspector=GreyDevice()) as line:
        line.run()
    assert decisions(tmp_path / "audit.db") == ["OK", "NG"]


def test_an_ok_that_cannot_be_recorded_is_none(
    config: LineConfig, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise SinkError("the disk is full")

    with open_line(config, tiny_bundle_path, Frames(*PARTS), open_inspector=GreyDevice()) as line:
        assert line.audit is not None
        monkeypatch.setattr(line.audit, "write", refuses)
        summary = line.run()
    assert (summary.ok, summary.ng, summary.no_decision) == (0, 1, 3), "a bad part is rejected all the same"


class Silent(FrameSource):
    """A camera that gives nothing."""

    is_live = True
    description = "silent camera"

    def __init__(self) -> None:
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        self._closed.wait(10)
        return iter(())

    def close(self) -> None:
        self._closed.set()


def test_a_triggered_part_without_a_frame_and_one_that_nobody_could_take_are_rejected(
    config: LineConfig, tiny_bundle_path: Path
) -> None:
    trigger_config = TriggerConfig(timeout_ms=100.0, queue_limit=1)
    source = TriggeredSource(Silent(), Trigger(trigger_config), trigger_config)
    stop = threading.Event()
    with open_line(config, tiny_bundle_path, source, open_inspector=GreyDevice()) as line:
        assert line.reject is not None
        # The second waits for the first, or is lost; each of them reaches the ejector.
        assert source.trigger.fire("test") == 0
        source.trigger.fire("test")
        run = threading.Thread(target=line.run, args=(stop,))
        run.start()
        deadline = time.monotonic() + 5
        while line.reject.signals.counts.rejected < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        counts = line.reject.signals.counts
        stop.set()
        run.join(5)
    assert source.trigger.lost == 1
    assert (counts.rejected, counts.ok, counts.ng) == (2, 0, 0)


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(Path(folder) / "notify"))
        bound.settimeout(5.0)
        yield bound


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_only_a_loop_that_turns_calls_itself_alive(
    config: LineConfig, tiny_bundle_path: Path, manager: socket.socket
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    class Hanging(GreyDevice):
        """A device that takes its time over the third frame."""

        def __call__(self, bundle: Bundle) -> Inspector:
            inspector = super().__call__(bundle)
            inspect = inspector.inspect

            def slow(frame: Frame | np.ndarray) -> object:
                if isinstance(frame, Frame) and frame.index == 2:
                    hangs.set()
                    goes_on.wait(10)
                return inspect(frame)

            inspector.inspect = slow  # type: ignore[method-assign,assignment]
            return inspector

    service = Service(manager.getsockname(), watchdog_s=0.3)
    with open_line(
        config, tiny_bundle_path, Frames(*PARTS), open_inspector=Hanging(), service=service
    ) as line:
        run = threading.Thread(target=line.run)
        run.start()
        assert heard(manager).startswith("READY=1\nSTATUS=given frames -> tiny ")
        assert heard(manager).startswith("WATCHDOG=1\nSTATUS=0 OK")
        assert hangs.wait(5)
        manager.settimeout(0.0)
        while True:  # what was said before it hung
            try:
                heard(manager)
            except BlockingIOError:
                break
        manager.settimeout(0.5)
        with pytest.raises(TimeoutError):
            heard(manager)
        goes_on.set()
        run.join(5)
        manager.settimeout(5.0)
        messages = [heard(manager)]
        while not messages[-1].startswith("STOPPING=1"):
            messages.append(heard(manager))
    service.close()
    assert Decision.NG.value in messages[0]


def test_lines_that_share_a_session_keep_their_own_verdicts_thresholds_and_records(
    tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Session] = []

    def counted(bundle: Bundle, backend: str, threads: int | None) -> Session:
        opened.append(open_session(bundle, backend, threads))
        return opened[-1]

    monkeypatch.setattr(shared_session, "open_session", counted)
    sessions = SharedSessions()
    greys = {"left": [GOOD, BAD, GOOD], "right": [BAD, BAD, GOOD]}
    with ExitStack() as stack:
        lines = {}
        for name, levels in greys.items():
            config = LineConfig(
                SourceConfig("given"),
                LoopConfig(backend="ort", threads=1),
                audit=AuditConfig(path=str(tmp_path / f"{name}.db")),
            )
            source = Frames(*(grey_frame(index, grey) for index, grey in enumerate(levels)))
            line = open_line(config, tiny_bundle_path, source, open_session=sessions.open)
            lines[name] = stack.enter_context(line)
        lines["right"].live.set_threshold(3.5)  # BAD is OK there
        with ThreadPoolExecutor() as pool:
            summaries = dict(zip(lines, pool.map(lambda line: line.run(), lines.values()), strict=True))
        assert len(opened) == 1
    assert {name: (s.ok, s.ng) for name, s in summaries.items()} == {"left": (2, 1), "right": (3, 0)}
    assert decisions(tmp_path / "left.db") == ["OK", "NG", "OK"]
    assert decisions(tmp_path / "right.db") == ["OK", "OK", "OK"]
    with pytest.raises(BackendError, match="closed"):
        opened[0].score(np.zeros((1, 64, 64, 3), np.uint8))
