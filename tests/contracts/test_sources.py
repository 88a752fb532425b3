"""What every source keeps to, whatever gives the frames."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.runtime.source import FrameSource
from dtgd_edge.runtime.sources.capture import LiveSource
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.reconnect import ReconnectingSource

Opener = Callable[[Path], FrameSource]


class EndlessCamera:
    """Stands in for cv2.VideoCapture."""

    def __init__(self) -> None:
        self.released = 0

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.random.default_rng().integers(0, 255, (48, 64, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


def folder(tmp_path: Path) -> FrameSource:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), 40 * number, np.uint8))
    return open_source(str(tmp_path))


def video(tmp_path: Path) -> FrameSource:
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(5):
        writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    writer.release()
    return open_source(str(path))


def sample(tmp_path: Path) -> FrameSource:
    return open_source("sample:?parts=5&size=64")


def live_sample(tmp_path: Path) -> FrameSource:
    return open_source("sample:?parts=5&size=64&fps=200")


def camera(tmp_path: Path) -> FrameSource:
    return LiveSource(EndlessCamera(), "pretend camera")


def reopened_camera(tmp_path: Path) -> FrameSource:
    return ReconnectingSource(camera(tmp_path), lambda: camera(tmp_path), "pretend camera")


def listed(tmp_path: Path) -> FrameSource:
    folder(tmp_path)
    (tmp_path / "list.txt").write_text("".join(f"{number}.png\n" for number in range(5)))
    return open_source(f"list:{tmp_path / 'list.txt'}")


FINITE: list[Opener] = [folder, video, sample, live_sample, listed]
LIVE: list[Opener] = [live_sample, camera, reopened_camera]
EVERY: list[Opener] = [*FINITE, camera, reopened_camera]


@pytest.mark.parametrize("opener", FINITE)
def test_frames_are_counted_from_zero_and_the_end_is_the_end(opener: Opener, tmp_path: Path) -> None:
    with opener(tmp_path) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(frame.image is not None and frame.image.dtype == np.uint8 for frame in frames)
    assert all(frame.capture_ms >= 0 for frame in frames)
    assert [f.captured_ns for f in frames] == sorted(f.captured_ns for f in frames)


@pytest.mark.parametrize("opener", EVERY)
def test_says_whether_it_is_live_and_what_it_is(opener: Opener, tmp_path: Path) -> None:
    with opener(tmp_path) as source:
        assert source.is_live is (opener in LIVE)
        assert source.description


@pytest.mark.parametrize("opener", EVERY)
def test_closing_ends_the_iteration(opener: Opener, tmp_path: Path) -> None:
    source = opener(tmp_path)
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert next(frames, None) is None
    assert list(source) == []


@pytest.mark.parametrize("opener", EVERY)
def test_closing_from_another_thread_ends_the_iteration(opener: Opener, tmp_path: Path) -> None:
    source = opener(tmp_path)
    has_begun = threading.Event()

    def read() -> None:
        for _ in source:
            has_begun.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert has_begun.wait(5)
    source.close()
    reader.join(5)
    assert not reader.is_alive()


@pytest.mark.parametrize("opener", EVERY)
def test_images_belong_to_the_caller(opener: Opener, tmp_path: Path) -> None:
    with opener(tmp_path) as source:
        frames = iter(source)
        first = next(frames).image
        assert first is not None
        kept = first.copy()
        next(frames)
        assert np.array_equal(first, kept)
        first[:] = 0
