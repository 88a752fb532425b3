"""A soak that is short, and one that finds something."""

from pathlib import Path

import pytest

from dtgd_edge.benchmarks import soak
from dtgd_edge.benchmarks.soak import run_soak
from dtgd_edge.benchmarks.soak_plan import BLACK_EVERY, WRONG_LAYOUT_EVERY, SoakPlan
from dtgd_edge.runtime.records.audit import AuditSink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_SAMPLE_EVERY", 20)
    monkeypatch.setattr(soak, "DELAY_MS", 300.0)
    # A few hundred frames say nothing about the memory.
    monkeypatch.setattr(soak, "LIMIT_BYTES_PER_FRAME", 1e9)


def test_every_count_is_the_truth(tmp_path: Path) -> None:
    found = run_soak(tmp_path, 400)
    assert found.shortfalls == (), found.text()
    assert found.truth == found.counted == found.recorded
    assert all(found.truth[decision.value] > 0 for decision in Decision)
    assert (found.lost, found.doubled, found.wrong) == (0, 0, 0)
    assert found.output["rejected"] == 400 - found.truth["OK"]
    assert "chain whole" in found.text() and found.record()["frames"] == 400


def test_the_frames_have_parts_that_are_ng_and_frames_that_cannot_be_judged() -> None:
    plan = SoakPlan.drawn(1000)
    assert 0.1 < sum(plan.is_ng) / len(plan.is_ng) < 0.3
    assert plan.truth(0) is plan.truth(BLACK_EVERY) is plan.truth(WRONG_LAYOUT_EVERY)
    assert plan.truth(0) is Decision.NO_DECISION


def test_a_verdict_that_is_lost_or_changed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = AuditSink.write

    def forgetful(self: AuditSink, verdict: Verdict, frame: Frame) -> None:
        if frame.index != 7:
            write(self, verdict, frame)
        if frame.index == 9:
            write(self, verdict, frame)

    monkeypatch.setattr(AuditSink, "write", forgetful)
    found = run_soak(tmp_path, 400)
    assert (found.lost, found.doubled) == (1, 1)
    assert any("1 verdicts are lost and 1 doubled" in text for text in found.shortfalls)
