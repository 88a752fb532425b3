"""Where verdicts go: every line is there, and a disk that refuses is heard."""

import io
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.pictures import read_picture
from dtgd_edge.runtime.sinks.console import ConsoleSink
from dtgd_edge.runtime.sinks.jsonl import JsonlSink
from dtgd_edge.runtime.sinks.overlay import OverlaySink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Region, Verdict

needs_full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def written(index: int, decision: Decision = Decision.OK, name: str = "") -> tuple[Verdict, Frame]:
    image = np.full((48, 64, 3), 128, np.uint8)
    if decision is Decision.NO_DECISION:
        verdict = Verdict(decision, index, 2.0, reason="lost frame: x", frame_name=name)
        return verdict, Frame(None, index, name=name, fault="lost frame: x")
    score = 3.0 if decision is Decision.NG else 0.5
    regions = (Region(1, 2, 3, 4, 12, 3.0),) if decision is Decision.NG else ()
    anomaly_map = np.full((48, 64), score, np.float32)
    verdict = Verdict(decision, index, 2.0, score, anomaly_map, regions, {"score": 4.0}, None, name)
    return verdict, Frame(image, index, name=name)


def test_jsonl_is_whole_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "line.jsonl"
    with JsonlSink(path) as sink:
        for index, decision in enumerate(Decision):
            sink.write(*written(index, decision))
            lines = path.read_text().splitlines()
            assert len(lines) == index + 1
            assert json.loads(lines[-1])["decision"] == decision.value
    record = json.loads(lines[1])
    assert datetime.fromisoformat(record["time"]).utcoffset() is not None
    assert next(iter(record)) == "time" and record["regions"][0]["area_px"] == 12


def test_jsonl_appends_and_ends_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    path.write_text('{"frame": 0}\n{"fra')
    for index in (1, 2):
        with JsonlSink(path) as sink:
            sink.write(*written(index))
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"frame": 0}', '{"fra']
    assert [json.loads(line)["frame"] for line in lines[2:]] == [1, 2]


def test_jsonl_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be opened"):
        JsonlSink(tmp_path)
    with pytest.raises(SinkError, match="cannot be opened"):
        JsonlSink(tmp_path / "file" / "line.jsonl")


@needs_full_device
def test_jsonl_on_a_full_disk() -> None:
    sink = JsonlSink("/dev/full")
    with pytest.raises(SinkError, match="No space left"):
        sink.write(*written(0))
    sink.close()


def test_jsonl_takes_a_half_line_back(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    sink = JsonlSink(path)
    sink.write(*written(0))
    whole = path.read_bytes()

    class FullSoon:
        """Takes ten bytes, then no more."""

        def __init__(self, file: io.FileIO) -> None:
            self.file, self.room, self.closed = file, 10, False

        def write(self, content: bytes) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            taken, self.room = self.room, 0
            return self.file.write(content[:taken])

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    sink._file = FullSoon(sink._file)  # type: ignore[assignment, arg-type]
    with pytest.raises(SinkError):
        sink.write(*written(1))
    sink.close()
    assert path.read_bytes() == whole


def test_jsonl_closed_is_closed(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "line.jsonl")
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(*written(0))


def test_overlays_are_of_bad_parts(tmp_path: Path) -> None:
    with OverlaySink(tmp_path / "ng") as sink:
        sink.write(*written(11))
        sink.write(*written(12, Decision.NG, "part 7/left:a.png"))
        sink.write(*written(13, Decision.NG))
        sink.write(*written(14, Decision.NO_DECISION))
    names = sorted(path.name for path in (tmp_path / "ng").iterdir())
    assert names == ["000012_NG_left_a.jpg", "000013_NG.jpg"]
    assert read_picture(tmp_path / "ng" / names[0]).shape[1] == 64


def test_overlays_of_undecided_frames(tmp_path: Path) -> None:
    with OverlaySink(tmp_path, keeps_undecided=True) as sink:
        sink.write(*written(3, Decision.NO_DECISION, "b.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["000003_NO_DECISION_b.jpg"]


def test_only_this_runs_oldest_overlays_make_room(tmp_path: Path) -> None:
    with OverlaySink(tmp_path) as earlier:
        earlier.write(*written(0, Decision.NG))
    kept = (tmp_path / "000000_NG.jpg").read_bytes()
    with OverlaySink(tmp_path, limit=2) as sink:
        for index in range(4):
            sink.write(*written(index, Decision.NG))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000000_NG.jpg", "000002_NG.jpg", "000003_NG.jpg"]
    assert (tmp_path / "000000_NG.jpg").read_bytes() == kept


def test_overlays_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be made"):
        OverlaySink(tmp_path / "file" / "ng")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_console_counts() -> None:
    stream = io.StringIO()
    with ConsoleSink(stream, interval_s=0) as sink:
        for index, decision in enumerate([Decision.OK, Decision.NG, Decision.NO_DECISION]):
            sink.write(*written(3 * index, decision))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "1 frames  OK 1  NG 0  no decision 0  p50 4.0 ms  p95 4.0 ms"
    assert lines[-1].startswith("3 frames  OK 1  NG 1  no decision 1  dropped 4  ")
    assert "/s  p50 4.0 ms" in lines[-1] and len(lines) == 3


def test_the_console_is_quiet_in_a_file_and_still_says_the_end() -> None:
    stream = io.StringIO()
    with ConsoleSink(stream) as sink:
        for index in range(100):
            sink.write(*written(index))
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().startswith("100 frames")


def test_a_terminal_line_is_rewritten_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    with ConsoleSink(stream, interval_s=0) as sink:
        sink.write(*written(0))
        sink.write(*written(1))
    sink.close()
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") == 2
    assert all(len(line.removesuffix("\x1b[K")) < 30 for line in text.strip().split("\r"))


def test_a_console_without_frames_says_nothing() -> None:
    stream = Terminal()
    ConsoleSink(stream).close()
    assert stream.getvalue() == ""


def test_a_console_that_is_gone() -> None:
    stream = io.StringIO()
    sink = ConsoleSink(stream, interval_s=0)
    stream.close()
    with pytest.raises(SinkError):
        sink.write(*written(0))
