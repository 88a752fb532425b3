"""The audit log takes every verdict, in order, and says when it cannot."""

import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError, DataError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.records.anchor import anchor_path, read_anchor
from dtgd_edge.runtime.records.audit import AuditConfig, AuditSink
from dtgd_edge.runtime.records.digest import pixels_digest
from dtgd_edge.runtime.records.first import RecordedFirst
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.proof import prove
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict
from tests.runtime.records.made import JUDGE, frames, heard, judged, opened, rows, written


def test_a_verdict_is_committed_before_write_returns(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.db"
    with opened(log) as sink:
        for index, decision in enumerate(Decision):
            verdict, frame = judged(index, decision, "a.png")
            sink.write(verdict, frame)
            with AuditLog(log) as reader:  # as the operator's page does, while it is written
                last = reader.newest(1)[0]
            assert (last.kind, last.frame, last.part) == ("verdict", index, index)
            assert (last.decision, last.reason, last.score) == (decision.value, verdict.reason, verdict.score)
    ng = rows(log)[3]
    assert ng.margin == 1.0 and ng.threshold == 2.0 and ng.name == "a.png"
    assert ng.stages_ms == '{"score":4.0}' and '"area_px":12' in (ng.regions or "")
    assert ng.pixels_sha256 == pixels_digest(np.full((8, 8, 3), 128, np.uint8))
    assert rows(log)[4].pixels_sha256 is None
    assert prove(log).holds


def test_rows_name_who_judged_also_after_a_swap(tmp_path: Path) -> None:
    log, other = tmp_path / "audit.db", replace(JUDGE, bundle_name="next.dtgd", bundle_sha256="1" * 64)
    with opened(log) as sink:
        sink.write(*judged(0))
        sink.judged_by(other)
        sink.write(*judged(1))
        sink.write(*judged(2))
    with AuditLog(log) as reader:
        judges: dict[int, object] = {}
        names = [reader.with_judge(row, judges).bundle_name for row in reader.rows() if row.kind == "verdict"]  # type: ignore[arg-type]
    assert names == ["tiny.dtgd", "next.dtgd", "next.dtgd"]
    assert [row.kind for row in rows(log)].count("judge") == 2
    with sqlite3.connect(log) as people:  # the view that people read
        query = "SELECT time, frame, bundle_name, bundle_sha256, device FROM verdicts"
        found = people.execute(query).fetchall()
    people.close()
    assert [row[1:] for row in found][1] == (1, "next.dtgd", "1" * 64, "CPU (a test)")
    assert found[0][0].endswith("Z")


def test_events_of_any_thread_are_recorded(tmp_path: Path) -> None:
    events = Events()
    with opened(tmp_path / "audit.db", events) as sink:
        events.listen(sink.note)
        told = Event("threshold changed", "2.0 -> 2.5: too many rejects", who="shift leader")
        threads = [threading.Thread(target=events.tell, args=(told,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        sink.write(*judged(0))
        for thread in threads:
            thread.join()
    found = [row for row in rows(tmp_path / "audit.db") if row.what == "threshold changed"]
    assert len(found) == 8
    assert (found[0].who, found[0].detail, found[0].is_alarm) == (told.who, told.detail, 0)
    assert prove(tmp_path / "audit.db").holds
    sink.note(told)  # after the end nothing is there to record it, and nothing breaks


def test_group_commit_does_not_wait_and_loses_nothing_at_close(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log, commit_every_ms=10_000) as sink:
        for index in range(50):
            sink.write(*judged(index))
        assert frames(log) == []
    assert frames(log) == list(range(50))


def test_group_commit_keeps_its_time(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log, commit_every_ms=30) as sink:
        sink.write(*judged(0))
        deadline = time.monotonic() + 5
        while not frames(log) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert frames(log) == [0]


def test_several_runs_and_a_clock_that_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path / "audit.db", 3)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600 * 10**9)
    with opened(log) as sink:
        sink.write(*judged(7))
    found = rows(log)
    assert len({row.run for row in found}) == 2
    assert found[-1].wall_ns == pytest.approx(found[0].wall_ns - 3_600 * 10**9, abs=60 * 10**9)
    assert [row.sequence for row in found] == list(range(1, len(found) + 1))
    assert prove(log).holds


def test_two_processes_may_write_one_log(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log) as one, opened(log) as two:
        for index in range(10):
            one.write(*judged(index))
            two.write(*judged(index + 100))
    assert len(frames(log)) == 20 and prove(log).holds


def test_a_reader_in_the_middle_holds_nobody_up(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log, sync_every_ms=50) as sink:
        for index in range(1500):
            sink.write(*judged(index))
        with AuditLog(log) as reader:
            walk = reader.rows()
            first = next(walk)
            for index in range(1500, 1600):
                sink.write(*judged(index))
            assert [first, *walk][-1].frame == 1599
        assert prove(log).holds


def test_odd_values_have_a_place(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    image = np.zeros((4, 4, 3), object)
    with opened(log) as sink:
        verdict = Verdict(Decision.NO_DECISION, 0, float("nan"), float("inf"), reason="a\x00b\udcff")
        sink.write(verdict, Frame(image, 0, name="bad\udce9.png"))
    row = rows(log)[2]
    assert (row.score, row.threshold, row.margin, row.pixels_sha256) == (None, None, None, None)
    assert row.reason == "a\x00b\\udcff"
    assert prove(log).holds


def test_a_locked_log_does_not_hold_the_line(tmp_path: Path) -> None:
    log, events = tmp_path / "audit.db", Events()
    told = heard(events)
    with opened(log, events, timeout_ms=80) as sink:
        events.listen(sink.note)
        sink.write(*judged(0))
        holder = sqlite3.connect(log, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for index in (1, 2):
            begun = time.monotonic()
            with pytest.raises(SinkError, match=r"locked|did not take"):
                sink.write(*judged(index, Decision.NG))
            assert time.monotonic() - begun < 0.5
        assert [event.kind for event in told] == ["sink down"] and told[0].is_alarm
        assert sink.unrecorded >= 1
        holder.execute("ROLLBACK")
        holder.close()
        sink.write(*judged(3))
        assert sink.unrecorded == 0
    assert [event.kind for event in told] == ["sink down", "sink back"]
    told_rows = {row.what: row.detail or "" for row in rows(log) if row.kind == "event"}
    # A commit that had begun when `write` gave up may succeed; then the log says so.
    late = [frame for frame in frames(log) if frame not in (0, 3)]
    lost = {1, 2} - set(late)
    assert f"{len(lost)} verdicts ({len(lost)} NG)" in told_rows["not recorded"]
    assert [frame for frame in late if f"frames {frame}" not in told_rows["recorded late"]] == []
    proof = prove(log)
    assert proof.holds and "not recorded" in proof.notes[0]


def test_an_account_is_written_without_further_verdicts(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log, timeout_ms=40) as sink:
        holder = sqlite3.connect(log, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError):
            sink.write(*judged(0))
        holder.execute("ROLLBACK")
        holder.close()
        deadline = time.monotonic() + 5
        while sink.unrecorded and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sink.unrecorded == 0
    # Late, where the lock was gone before the writer gave the verdict up.
    assert any(row.what in ("not recorded", "recorded late") for row in rows(log))


def test_closing_says_what_is_missing(tmp_path: Path) -> None:
    sink = opened(tmp_path / "audit.db", timeout_ms=40, commit_every_ms=1000)
    holder = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    sink.write(*judged(0))
    with pytest.raises(SinkError, match=r"lacks 1 verdicts \(1 OK\)"):
        sink.close()
    sink.close()
    holder.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(*judged(1))


def test_a_full_queue_is_heard(tmp_path: Path) -> None:
    with opened(tmp_path / "audit.db", commit_every_ms=10_000, queue_rows=3, timeout_ms=2000) as sink:
        for index in range(3):
            sink.write(*judged(index))
        with pytest.raises(SinkError, match="3 rows waiting"):
            sink.write(*judged(3))
    account = next(row for row in rows(tmp_path / "audit.db") if row.what == "not recorded")
    assert "frames 3 to 3" in (account.detail or "") and "too slow" in (account.detail or "")


class Gathers(Sink):
    def __init__(self) -> None:
        self.got: list[Verdict] = []

    def write(self, verdict: Verdict, frame: Frame) -> None:
        self.got.append(verdict)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("is_required", [True, False])
def test_what_was_not_recorded_is_not_ok(tmp_path: Path, is_required: bool) -> None:
    output = Gathers()
    sink = opened(tmp_path / "audit.db")
    first = RecordedFirst(sink, [output], is_required)
    first.write(*judged(0))
    sink.close()
    first.write(*judged(1))
    first.write(*judged(2, Decision.NG))
    decisions = [verdict.decision for verdict in output.got]
    assert decisions == [Decision.OK, Decision.NO_DECISION if is_required else Decision.OK, Decision.NG]
    if is_required:
        assert (output.got[1].reason or "").startswith("not recorded: ") and output.got[1].score is None


def test_the_side_file_follows(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.db", "audit.db.anchor"]
    anchor = read_anchor(anchor_path(log))
    assert anchor is not None and anchor.sequence == len(rows(log)) and anchor.hash == prove(log).head_hash


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(SinkError, match="not a database"):
        opened(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE verdicts (x)")
    other.commit()
    other.close()
    for path in (tmp_path / "other.db", tmp_path / "text" / "audit.db"):
        with pytest.raises(SinkError, match=r"another program|cannot be opened"):
            opened(path)
    with pytest.raises(DataError, match="does not exist"):
        AuditLog(tmp_path / "none.db")
    with pytest.raises(DataError, match="another program"):
        AuditLog(tmp_path / "other.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(DataError, match="no audit log"):
        AuditLog(tmp_path / "empty.db")


def test_a_newer_schema_is_one_clear_error(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.db")
    newer = sqlite3.connect(log)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(SinkError, match="schema 9; this dtgd-edge knows up to 1; update"):
        opened(log)
    with pytest.raises(DataError, match="schema 9"):
        prove(log)


def test_a_key_belongs_to_a_log(tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    other.write_text("another secret that is long enough")
    log = written(tmp_path / "audit.db", key_file=str(key))
    secret = key.read_bytes().strip()
    assert prove(log, secret).is_keyed and prove(log, secret).holds
    with pytest.raises(ConfigError, match="made with a key"):
        prove(log)
    with pytest.raises(ConfigError, match="another key"):
        opened(log, key_file=str(other))
    plain = written(tmp_path / "plain.db")
    with pytest.raises(ConfigError, match="without a key"):
        prove(plain, secret)
    other.write_text("short")
    with pytest.raises(ConfigError, match="at least 16"):
        opened(log, key_file=str(other))


@pytest.mark.parametrize(
    "values",
    [{"path": ""}, {"commit_every_ms": -1}, {"timeout_ms": 0}, {"synchronous": "off"}, {"queue_row": 3}],
)
def test_a_wrong_config_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"line\.toml"):
        record_from_mapping(values, AuditConfig, "line.toml")


def test_each_commit_is_quick(tmp_path: Path) -> None:
    # The machine does several thousand; a loaded one in a test must still do this.
    sink = AuditSink(AuditConfig(str(tmp_path / "audit.db"), timeout_ms=5000), JUDGE)
    begun = time.monotonic()
    for index in range(500):
        sink.write(*judged(index))
    seconds = time.monotonic() - begun
    sink.close()
    assert len(frames(tmp_path / "audit.db")) == 500 and seconds < 5
