"""Bad frames are kept as they were, good ones now and then, old ones make room."""

import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.records import archive as archive_module
from dtgd_edge.runtime.records.archive import PictureArchive, PicturesConfig
from dtgd_edge.runtime.records.retention import Kept, Retention, stamp
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict
from tests.runtime.records.made import heard, judged

DAY_NS = 86_400 * 10**9


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_frames_are_kept_bit_by_bit(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    archive = PictureArchive(PicturesConfig(str(tmp_path)))
    name = archive.keep(judged(5, Decision.NG)[0], Frame(image, 5))
    archive.close()
    archive.close()
    assert name is not None and name.endswith("_000005_NG.png") and stored(tmp_path) == [tmp_path / name]
    assert np.array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), image)
    assert archive.keep(judged(6, Decision.NG)[0], Frame(image, 6)) is None, "closed"


def test_every_nth_good_frame_is_kept(tmp_path: Path) -> None:
    config = PicturesConfig(str(tmp_path), every_nth_ok=3, keeps_no_decision=False, overlays=True)
    archive = PictureArchive(config)
    names = [archive.keep(*judged(index)) for index in range(9)]
    dark = Verdict(Decision.NO_DECISION, 9, 2.0, reason="black: x")
    assert archive.keep(dark, Frame(np.zeros((8, 8), np.uint8), 9)) is None
    archive.close()
    assert [index for index, name in enumerate(names) if name] == [2, 5, 8]
    assert [path.suffix for path in stored(tmp_path)] == [".jpg", ".png"] * 3
    none = PictureArchive(PicturesConfig(str(tmp_path), every_nth_ok=0))
    assert not any(none.keep(*judged(index)) for index in range(200))
    none.close()


def test_a_slow_disk_never_holds_the_line_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, go = Events(), threading.Event()
    told = heard(events)

    def slow(path: Path, image: np.ndarray) -> None:
        assert go.wait(10)
        write_picture(path, image)

    monkeypatch.setattr(archive_module, "write_picture", slow)
    archive = PictureArchive(PicturesConfig(str(tmp_path), queue_frames=2), events)
    begun = time.monotonic()
    names = [archive.keep(*judged(index, Decision.NG)) for index in range(20)]
    assert time.monotonic() - begun < 1
    go.set()
    archive.close()
    kept = [name for name in names if name]
    assert 2 <= len(kept) <= 3 and len(stored(tmp_path)) == len(kept)
    assert archive.lost == 20 - len(kept)
    assert [event.kind for event in told] == ["pictures lost", "pictures back"]
    assert told[0].is_alarm and f"{archive.lost} frames" in told[1].detail


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    events = Events()
    told = heard(events)
    archive = PictureArchive(PicturesConfig(str(tmp_path)), events)
    archive.keep(judged(0, Decision.NG)[0], Frame(np.zeros((4, 4), np.float32), 0))
    archive.close()
    assert [event.kind for event in told] == ["pictures lost"] and stored(tmp_path) == []


def made(folder: Path, wall_ns: int, decision: str, size: int = 400_000) -> Path:
    stem = stamp(wall_ns)
    day = folder / f"{stem[:4]}-{stem[4:6]}-{stem[6:8]}"
    day.mkdir(exist_ok=True)
    path = day / f"{stem}_0123abcd_000001_{decision}.png"
    path.write_bytes(bytes(size))
    return path


def test_the_oldest_go_first_and_good_before_bad(tmp_path: Path) -> None:
    now = time.time_ns()
    bad = [made(tmp_path, now - n * DAY_NS, "NG") for n in (5, 4)]
    good = [made(tmp_path, now - n * DAY_NS, "OK") for n in (3, 2, 1)]
    beside = good[0].with_suffix(".jpg")
    beside.write_bytes(bytes(400_000))
    for limit, left in ((2, [*bad, *good[1:]]), (1, bad), (1, bad)):
        retention = Retention(tmp_path, 30, limit, 0)
        retention.scan()
        retention.prune(now)
        if limit == 2:
            assert not beside.exists() and stored(tmp_path) == sorted(left)
    assert stored(tmp_path) == sorted(bad)
    retention.add(Kept("20300101T000000000_0123abcd_000001_NG", "2030-01-01", 300_000))
    assert retention.prune(now) == 1 and stored(tmp_path) == [bad[1]]


def test_old_ones_go_and_others_files_stay(tmp_path: Path) -> None:
    now = time.time_ns()
    old, young = made(tmp_path, now - 31 * DAY_NS, "NG"), made(tmp_path, now - 29 * DAY_NS, "OK")
    mine = [tmp_path / "notes.txt", young.parent / "copy of a picture.png", tmp_path / old.name]
    mine.append(tmp_path / "2020-01-01" / "20200101.png")
    (tmp_path / "2020-01-01").mkdir()
    (tmp_path / "1999-01-01").symlink_to(young.parent)
    for path in mine:
        path.write_text("mine")
    beside_old = old.parent / "notes.txt"
    beside_old.write_text("mine")
    PictureArchive(PicturesConfig(str(tmp_path))).close()
    assert not old.exists() and young.exists() and beside_old.exists()
    assert all(path.exists() for path in mine)


def test_pictures_give_way_on_a_full_disk(tmp_path: Path) -> None:
    events = Events()
    told = heard(events)
    old = made(tmp_path, time.time_ns(), "OK", 10)
    archive = PictureArchive(PicturesConfig(str(tmp_path), min_free_mib=1 << 40), events)
    archive.keep(*judged(0, Decision.NG))
    archive.close()
    assert not old.exists() and stored(tmp_path) == []
    assert "MiB left" in told[0].detail


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be used for pictures"):
        PictureArchive(PicturesConfig(str(tmp_path / "file" / "pictures")))


@pytest.mark.parametrize(
    "values", [{"folder": ""}, {"days": 0.0}, {"max_mib": 0}, {"every_nth_ok": -1}, {"queue_frames": 0}]
)
def test_a_wrong_config_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="pictures"):
        PicturesConfig(**values)  # type: ignore[arg-type]


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    archive = PictureArchive(PicturesConfig(str(tmp_path)))
    for index in range(5):
        archive.keep(*judged(index, Decision.NG))
    archive.close()
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.startswith(".")]
