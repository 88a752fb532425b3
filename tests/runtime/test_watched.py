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
from dtgd_edge.runtime.source import Frame, open_source
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
