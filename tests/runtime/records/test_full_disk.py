"""A full disk is heard, and the log goes on when there is room again."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.records.archive import PictureArchive, PicturesConfig
from dtgd_edge.runtime.records.proof import prove
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision
from tests.runtime.records.made import frames, heard, judged, opened, rows

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tmpfs needs root"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("commit_every_ms", [0, 5])
def test_a_full_disk_loses_nothing_silently(disk: Path, commit_every_ms: int) -> None:
    log, events = disk / "audit.db", Events()
    told = heard(events)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    refused: list[int] = []
    options = {"commit_every_ms": commit_every_ms, "queue_rows": 20 if commit_every_ms else 100}
    with opened(log, events, sync_every_ms=50, timeout_ms=5000, **options) as sink:
        events.listen(sink.note)
        index = 0
        full = 0
        while full < 20:
            try:
                sink.write(*judged(index, Decision.NG))
            except SinkError as exc:
                refused.append(index)
                full += "disk is full" in str(exc)
                time.sleep(0.002)
            index += 1
            assert index < 20_000
        assert "sink down" in [event.kind for event in told if event.is_alarm]
        assert prove(log).holds, "also while the disk is full"
        ballast.unlink()
        sink.write(*judged(index))
        assert sink.unrecorded == 0
    recorded = frames(log)
    assert recorded[-1] == index and not set(refused) & set(recorded)
    accounts = [row.detail or "" for row in rows(log) if row.what == "not recorded"]
    counted = sum(int(detail.split(" verdicts")[0]) for detail in accounts if " verdicts" in detail)
    assert counted + len(recorded) == index + 1, "each verdict is recorded or counted"
    assert any("disk is full" in detail for detail in accounts)
    assert "sink back" in [event.kind for event in told] and prove(log).holds


def test_pictures_leave_room_for_the_log(disk: Path) -> None:
    events = Events()
    told = heard(events)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    archive = PictureArchive(PicturesConfig(str(disk / "pictures"), max_mib=100, min_free_mib=0), events)
    kept = []
    for index in range(12):
        verdict, _ = judged(index, Decision.NG)
        kept.append(archive.keep(verdict, Frame(noise, index)))
        while archive._queue.qsize():
            time.sleep(0.001)
    archive.close()
    there = [name for name in kept if name and (disk / "pictures" / name).exists()]
    assert 0 < len(there) < 12 and archive.lost == 12 - len(there)
    assert [event.kind for event in told].count("pictures lost") >= 1
    assert not list(disk.rglob(".*")), "no half-written picture"
