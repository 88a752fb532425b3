"""Folders into which another program writes."""

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import SourceNotFound
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.watched import WatchedFolder


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((24, 32, 3), value, np.uint8))[1].tobytes()


@pytest.fixture
def frames(tmp_path: Path) -> Iterator["queue.Queue[Frame]"]:
    (tmp_path / "old.png").write_bytes(png(1))
    source, out = WatchedFolder(tmp_path, settled_s=0.1, patience_s=0.4), queue.Queue[Frame]()
    thread = threading.Thread(target=lambda: [out.put(frame) for frame in source], daemon=True)
    thread.start()
    yield out
    source.close()
    thread.join(5)
    assert not thread.is_alive()


def test_new_pictures_are_given_once_and_old_ones_not(tmp_path: Path, frames: "queue.Queue[Frame]") -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    first = frames.get(timeout=5)
    (tmp_path / "b.png").write_bytes(png(20))
    second = frames.get(timeout=5)
    assert [(f.name, f.index) for f in (first, second)] == [("a.png", 0), ("b.png", 1)]
    with pytest.raises(queue.Empty):
        frames.get(timeout=0.3)


def test_a_slow_writer_is_waited_for(tmp_path: Path, frames: "queue.Queue[Frame]") -> None:
    content = png(30)
    with (tmp_path / "slow.png").open("wb", buffering=0) as file:
        file.write(content[:20])
        with pytest.raises(queue.Empty):
            frames.get(timeout=0.25)  # settled, but not whole
        file.write(content[20:])
    frame = frames.get(timeout=5)
    assert frame.image is not None and frame.image.mean() == 30


def test_a_picture_that_stays_damaged_is_a_fault(tmp_path: Path, frames: "queue.Queue[Frame]") -> None:
    (tmp_path / "bad.png").write_bytes(png(30)[:20])
    frame = frames.get(timeout=5)
    assert frame.image is None and (frame.fault or "").startswith("unreadable picture: ")


def test_moved_in_and_written_again(tmp_path: Path, frames: "queue.Queue[Frame]") -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "m.png").write_bytes(png(40))
    os.replace(aside / "m.png", tmp_path / "m.png")
    assert frames.get(timeout=5).name == "m.png"
    (tmp_path / "m.png").write_bytes(png(50))
    again = frames.get(timeout=5)
    assert again.image is not None and again.image.mean() == 50


def test_names(tmp_path: Path) -> None:
    with open_source(f"watch:{tmp_path}") as source:
        assert source.may_be_silent and not source.is_live
    with pytest.raises(SourceNotFound, match="does not exist"):
        open_source(f"watch:{tmp_path / 'nowhere'}")


def test_a_list_names_missing_pictures_as_faults(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    (tmp_path / "list.txt").write_text("# parts\na.png\n\nmissing.png\n")
    frames = list(open_source(f"list:{tmp_path / 'list.txt'}"))
    assert [frame.image is None for frame in frames] == [False, True]
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "none.txt"):
        with pytest.raises(SourceNotFound):
            open_source(f"list:{tmp_path / name}")


def test_a_picture_that_is_only_touched_is_not_given_twice(
    tmp_path: Path, frames: "queue.Queue[Frame]"
) -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    frames.get(timeout=5)
    os.utime(tmp_path / "a.png", (1, 1))
    with pytest.raises(queue.Empty):
        frames.get(timeout=0.5)


def test_a_folder_that_goes_away_is_told_and_comes_back(tmp_path: Path) -> None:
    share, told = tmp_path / "share", queue.Queue[str]()
    share.mkdir()
    events = Events()
    events.listen(lambda event: told.put(event.kind))
    source, out = WatchedFolder(share, 0.1, 0.4, events), queue.Queue[Frame]()
    thread = threading.Thread(target=lambda: [out.put(frame) for frame in source], daemon=True)
    thread.start()
    share.rename(tmp_path / "aside")
    lost = out.get(timeout=5)
    assert lost.image is None and (lost.fault or "").startswith("lost frame: folder ")
    (tmp_path / "aside").rename(share)
    (share / "a.png").write_bytes(png(10))
    assert (out.get(timeout=5).name, out.qsize()) == ("a.png", 0)
    source.close()
    thread.join(5)
    assert [told.get(timeout=1), told.get(timeout=1)] == ["source lost", "source back"]


def test_pictures_of_before_are_not_new_after_the_folder_was_away(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "old.png").write_bytes(png(1))
    source, out = WatchedFolder(share, 0.1, 0.4), queue.Queue[Frame]()
    thread = threading.Thread(target=lambda: [out.put(frame) for frame in source], daemon=True)
    thread.start()
    share.rename(tmp_path / "aside")
    assert out.get(timeout=5).image is None
    (tmp_path / "aside").rename(share)
    with pytest.raises(queue.Empty):
        out.get(timeout=0.5)
    source.close()
    thread.join(5)


def test_a_share_that_was_away_brings_its_old_pictures_back(
    tmp_path: Path, frames: "queue.Queue[Frame]"
) -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    frames.get(timeout=5)
    aside = tmp_path / "aside"
    aside.mkdir()
    # An unmounted share leaves an empty folder, not a missing one.
    for name in ("old.png", "a.png"):
        (tmp_path / name).rename(aside / name)
    with pytest.raises(queue.Empty):
        frames.get(timeout=0.2)
    for name in ("old.png", "a.png"):
        (aside / name).rename(tmp_path / name)
    with pytest.raises(queue.Empty):
        frames.get(timeout=0.4)
    (tmp_path / "b.png").write_bytes(png(20))
    assert frames.get(timeout=5).name == "b.png"


def test_an_equal_picture_in_a_new_file_is_a_new_picture(
    tmp_path: Path, frames: "queue.Queue[Frame]"
) -> None:
    for _ in range(2):
        (tmp_path / "a.png").write_bytes(png(10))
        assert frames.get(timeout=5).name == "a.png"
        (tmp_path / "a.png").unlink()
        with pytest.raises(queue.Empty):
            frames.get(timeout=0.2)
