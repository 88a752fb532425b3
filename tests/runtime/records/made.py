"""Verdicts, frames and logs for tests of the records."""

from pathlib import Path
from typing import Any

import numpy as np

from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.records.audit import AuditConfig, AuditSink
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.row import Judge, Row
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Region, Verdict

JUDGE = Judge("tiny.dtgd", "0" * 64, "CPU (a test)")


def judged(index: int, decision: Decision = Decision.OK, name: str = "", grey: int = 128) -> Any:
    """A verdict and its frame."""
    if decision is Decision.NO_DECISION:
        verdict = Verdict(decision, index, 2.0, reason="lost frame: x", frame_name=name, part=index)
        return verdict, Frame(None, index, name=name, fault="lost frame: x", part=index)
    score = 3.0 if decision is Decision.NG else 0.5
    regions = (Region(1, 2, 3, 4, 12, 3.0),) if decision is Decision.NG else ()
    verdict = Verdict(decision, index, 2.0, score, None, regions, {"score": 4.0}, None, name, index)
    return verdict, Frame(np.full((8, 8, 3), grey, np.uint8), index, name=name, part=index)


def opened(path: Path, events: Events | None = None, **options: Any) -> AuditSink:
    return AuditSink(AuditConfig(str(path), **options), JUDGE, events)


def written(path: Path, count: int = 10, **options: Any) -> Path:
    """A closed log of one run with so many verdicts: rows run started, judge, verdicts, run ended."""
    with opened(path, **options) as sink:
        for index in range(count):
            sink.write(*judged(index, list(Decision)[index % 3]))
    return path


def rows(path: Path) -> list[Row]:
    with AuditLog(path) as log:
        return list(log.rows())


def frames(path: Path) -> list[int | None]:
    """Frame numbers of the recorded verdicts, in the order of the log."""
    return [row.frame for row in rows(path) if row.kind == "verdict"]


def heard(events: Events) -> list[Event]:
    """What is told from now on."""
    told: list[Event] = []
    events.listen(told.append)
    return told
