"""Cameras, network streams and video files through OpenCV."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.source import Frame, FrameSource

STREAM_TIMEOUT_MS = 5000
INSTEAD = "connect it, or try --source FOLDER or --source sample:"

# Opens a device once: a cv2.VideoCapture, or None when it cannot be opened.
Opener = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a lost device is opened again, and how long to wait before each try.

    Attributes:
        tries: failures in a row that are borne; one more ends the source.
        first_s: wait before the first try; doubles from try to try.
        longest_s: longest wait.
    """

    tries: int = 8
    first_s: float = 0.2
    longest_s: float = 5.0

    def wait_s(self, failures: int) -> float:
        return min(self.longest_s, self.first_s * 2.0 ** (failures - 1))


class CaptureSource(FrameSource):
    """What the live and the finite source share: one handle that is never released while it is read.

    OpenCV crashes when a capture is released in the middle of a read, so every touch of the handle is
    under one lock; `close` does not wait for it, because a camera may keep a read for ten seconds.
    """

    is_live = False

    def __init__(self, handle: Any, description: str) -> None:
        self._description = description
        self._handle = handle
        self._touch = threading.Lock()
        self._closed = threading.Event()

    @property
    def description(self) -> str:
        return self._description

    def close(self) -> None:
        self._closed.set()
        if self._touch.acquire(blocking=False):
            try:
                self._handle.release()
            finally:
                self._touch.release()
        # Otherwise the reading thread is inside, and releases the handle when it comes out.

    def _release_if_closed(self) -> bool:
        if self._closed.is_set():
            self._handle.release()
        return self._closed.is_set()

    def _read(self, index: int) -> Frame | None:
        """Read one frame; None when there is none or the source was closed."""
        with self._touch:
            if self._release_if_closed():
                return None
            begun_ns = time.monotonic_ns()
            is_grabbed = self._handle.grab()
            if self.is_live:
                # A camera's grab waits for the next picture to arrive: that wait is nobody's cost.
                begun_ns = time.monotonic_ns()
            is_decoded, image = self._handle.retrieve() if is_grabbed else (False, None)
            if self._release_if_closed() or not is_decoded or image is None:
                return None
            return Frame(image, index, begun_ns, "", (time.monotonic_ns() - begun_ns) / 1e6)


class VideoSource(CaptureSource):
    """A video file, every frame of it; its end is the normal end."""

    def __iter__(self) -> Iterator[Frame]:
        try:
            for index in count():
                frame = self._read(index)
                if frame is not None:
                    yield frame
                    continue
                if index == 0 and not self._closed.is_set():
                    raise SourceLost(
                        f"{self._description} was opened but no picture in it can be decoded; "
                        "expected a video; convert it to MP4 (H.264) or AVI (MJPG)"
                    )
                return
        finally:
            self.close()


class LiveSource(CaptureSource):
    """A camera or stream: every failed read is a lost frame, and the device is opened again.

    Args:
        opener: opens the device again.
        handle: the device, open.
        description: for people, without a password.
        retry: how long to go on.
    """

    is_live = True

    def __init__(self, opener: Opener, handle: Any, description: str, retry: Retry = Retry()) -> None:
        super().__init__(handle, description)
        self._opener = opener
        self._retry = retry

    def __iter__(self) -> Iterator[Frame]:
        failures = 0
        try:
            for index in count():
                frame = self._read(index)
                if self._closed.is_set():
                    return
                if frame is not None:
                    failures = 0
                    yield frame
                    continue
                failures += 1
                if failures > self._retry.tries:
                    raise SourceLost(
                        f"{self._description} gave no picture {failures} times in a row; expected one; "
                        "check its cable, power and network, then start again"
                    )
                yield Frame(
                    None, index, fault=f"lost frame: {self._description} gave no picture, opening it again"
                )
                if self._closed.wait(self._retry.wait_s(failures)):
                    return
                self._reopen()
        finally:
            self.close()

    def _reopen(self) -> None:
        with self._touch:
            self._handle.release()
            if self._closed.is_set():
                return
            handle = self._opener()
            if handle is not None:
                self._handle = handle


def open_camera(
    camera: int | str, *, size_hw: tuple[int, int] | None = None, fps: float | None = None
) -> LiveSource:
    """Open a camera by number or device file, asking it for a size and a rate.

    Raises:
        SourceNotFound: it is not there or cannot be opened; names the cameras that are there.
    """
    device = f"/dev/video{camera}" if isinstance(camera, int) else camera
    on_linux = sys.platform.startswith("linux")

    def opener() -> Any:
        # OpenCV tries every backend, noisily, for a device that is not there.
        if on_linux and not Path(device).exists():
            return None
        handle = _opened(camera, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY)
        if handle is not None:
            # Few drivers obey; where they do, no old picture waits behind the newest.
            handle.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if size_hw is not None:
                handle.set(cv2.CAP_PROP_FRAME_HEIGHT, size_hw[0])
                handle.set(cv2.CAP_PROP_FRAME_WIDTH, size_hw[1])
            if fps is not None:
                handle.set(cv2.CAP_PROP_FPS, fps)
        return handle

    handle = opener()
    if handle is None:
        raise SourceNotFound(_why_no_camera(camera, device))
    return LiveSource(opener, handle, f"camera {camera}")


def open_stream(url: str) -> LiveSource:
    """Open a network stream; opening and every read give up after STREAM_TIMEOUT_MS.

    Raises:
        SourceNotFound: nobody answers, or it is not a stream that this OpenCV can decode.
    """
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        STREAM_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        STREAM_TIMEOUT_MS,
    ]

    def opener() -> Any:
        return _opened(url, cv2.CAP_FFMPEG, limits) if _has_ffmpeg() else _opened(url, cv2.CAP_ANY)

    name = _without_password(url)
    handle = opener()
    if handle is None:
        raise SourceNotFound(
            f"stream {name} cannot be opened; expected an answer within {STREAM_TIMEOUT_MS / 1000:.0f} s; "
            "check address, password and network, for example with ffplay"
        )
    return LiveSource(opener, handle, f"stream {name}")


def open_video(path: Path) -> VideoSource:
    """Open a video file.

    Raises:
        SourceNotFound: it cannot be opened as a video.
    """
    handle = _opened(str(path), cv2.CAP_FFMPEG if _has_ffmpeg() else cv2.CAP_ANY)
    if handle is None:
        raise SourceNotFound(
            f"video {path} cannot be opened; expected a whole video that OpenCV can decode; "
            "copy it again or convert it to MP4 (H.264)"
        )
    return VideoSource(handle, f"video {path}")


def _opened(target: int | str, backend: int, parameters: list[int] | None = None) -> Any:
    with _quiet():
        handle = cv2.VideoCapture(target, backend, parameters or [])
    if handle.isOpened():
        return handle
    handle.release()
    return None


def _has_ffmpeg() -> bool:
    return cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own lines about a failed opening off stderr: our error says it in one sentence."""
    # OpenCV 4 has these two at the top, OpenCV 5 in a module of their own.
    levels: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = levels.getLogLevel()
    levels.setLogLevel(0)  # LOG_LEVEL_SILENT
    # FFmpeg inside OpenCV reads its level once, when the first capture is opened.
    is_unset = "OPENCV_FFMPEG_LOGLEVEL" not in os.environ
    if is_unset:
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
    try:
        yield
    finally:
        levels.setLogLevel(level)
        if is_unset:
            os.environ.pop("OPENCV_FFMPEG_LOGLEVEL", None)


def _why_no_camera(camera: int | str, device: str) -> str:
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    if device not in found:
        there = f"this machine has {', '.join(found)}" if found else "this machine has no /dev/video* at all"
        return f"camera {camera} is not there; {there}; {INSTEAD}"
    if not os.access(device, os.R_OK | os.W_OK):
        return (
            f"camera {camera} may not be opened; expected the right to use {device}; "
            "add the user to group video"
        )
    return (
        f"camera {camera} ({device}) is there but cannot be opened; expected a capture device that no other "
        f"program uses (found {', '.join(found)}); close that program or try the next number"
    )


def _without_password(url: str) -> str:
    host = urlsplit(url).netloc
    return url.replace(host, f"***@{host.rpartition('@')[2]}", 1) if "@" in host else url
