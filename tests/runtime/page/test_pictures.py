"""The live picture and the album of rejects: drawn when it is wanted, and no oftener."""

import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dtgd_edge.runtime.page.album import Album
from dtgd_edge.runtime.page.drawing import jpeg_from_verdict
from dtgd_edge.runtime.page.live import LiveView
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Region
from tests.runtime.page.conftest import verdict

GREY = np.full((48, 64, 3), 90, np.uint8)


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def until(claim: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_drawn_while_nobody_looks_and_once_for_all_who_do() -> None:
    live = LiveView(fps=50.0, longest_px=64, sensor_bits=8)
    assert live.picture() is None
    for sequence in range(100):
        live.add(sequence, verdict(), Frame(GREY, sequence))
    assert live.drawings == 0
    seen = [live.picture() for _ in range(10)]
    assert live.drawings == 1 and seen[0] is not None and {p.sequence for p in seen if p} == {99}


def test_the_live_picture_is_not_drawn_oftener_than_asked_for() -> None:
    live = LiveView(fps=0.1, longest_px=64, sensor_bits=8)
    for sequence in range(20):
        live.add(sequence, verdict(), Frame(GREY, sequence))
        picture = live.picture()
        assert picture is not None and picture.sequence == 0
    assert live.drawings == 1


def test_a_large_frame_is_drawn_small_with_its_region_in_place() -> None:
    image = np.full((900, 1200, 3), 90, np.uint8)
    anomaly_map = np.zeros((900, 1200), np.float32)
    anomaly_map[300:600, 600:900] = 5.0
    bad = verdict(5.0, map=anomaly_map, regions=(Region(600, 300, 300, 300, 90000, 5.0),))
    picture = decoded(jpeg_from_verdict(image, bad, 240, 8))
    assert picture.shape == (180, 240, 3)
    changed = np.argwhere(np.abs(picture.astype(int) - 90).max(axis=2) > 25)
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert abs(top - 60) < 8 and abs(left - 120) < 8 and abs(bottom - 120) < 8 and abs(right - 180) < 8
    assert bad.regions[0].width == 300  # the verdict that others have is not touched


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.full((48, 64), 90, np.uint8),
        np.full((48, 64), 900, np.uint16),
        np.zeros((0, 0, 3), np.uint8),
        np.full((48, 64, 4), 90, np.uint8),
    ],
)
def test_every_frame_that_a_source_may_give_can_be_drawn(image: np.ndarray | None) -> None:
    undecided = verdict(None)
    assert decoded(jpeg_from_verdict(image, undecided, 32, 12)).size


def test_the_album_keeps_the_newest_rejects_with_pictures() -> None:
    album = Album(3, 64, 8)
    try:
        for sequence in range(6):
            album.add(sequence, verdict(3.0 if sequence else 1.0, sequence), Frame(GREY, sequence))
        assert [reject.sequence for reject in album.rejects()] == [5, 4, 3]
        until(lambda: album.rejects()[0].jpeg is not None)
        newest = album.reject(5)
        assert newest is not None and newest.jpeg is not None and newest.thumbnail is not None
        assert decoded(newest.jpeg).shape == (48, 64, 3) and newest.verdict.map is None
        assert album.reject(0) is None and album.reject(1) is None
    finally:
        album.close()


def test_a_black_camera_does_not_drive_the_bad_parts_out() -> None:
    album = Album(4, 64, 8)
    try:
        for sequence, score in enumerate([3.0, None, None, None, None, None, 3.0, None]):
            album.add(sequence, verdict(score, sequence), Frame(GREY, sequence))
        assert [reject.sequence for reject in album.rejects()] == [7, 6, 1, 0]
    finally:
        album.close()


def test_a_picture_that_cannot_be_drawn_leaves_the_next_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    album = Album(4, 64, 8)
    try:
        broken = replace(verdict(3.0), map=np.full((48, 64), None))
        album.add(0, broken, Frame(GREY, 0))
        until(lambda: "verdict 0 cannot be drawn" in caplog.text)
        album.add(1, verdict(3.0), Frame(GREY, 1))
        until(lambda: (reject := album.reject(1)) is not None and reject.jpeg is not None)
    finally:
        album.close()
