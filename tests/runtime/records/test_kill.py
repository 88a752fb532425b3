"""SIGKILL at random moments loses no committed verdict."""

import random
from pathlib import Path

from dtgd_edge.runtime.records.proof import prove
from tests.runtime.records.killed import check, kill_once
from tests.runtime.records.made import frames, rows, written


def test_twenty_kills_lose_no_committed_verdict(tmp_path: Path) -> None:
    log, committed, randomly = tmp_path / "audit.db", list[int](), random.Random(5)
    for kill in range(20):
        # Every third dies while it opens the log or soon after.
        from_start = kill % 3 == 2
        after_s = randomly.uniform(0, 0.06 if from_start else 0.03)
        committed += kill_once(log, kill * 100_000, after_s, from_start=from_start)
        if committed:
            check(log, committed)
    assert len({row.run for row in rows(log)}) >= 14
    # A restart goes on, and ends well.
    written(log)
    assert prove(log).holds and len(frames(log)) >= len(committed) + 10
    assert [row.what for row in rows(log) if row.kind == "event"].count("run ended") == 1
