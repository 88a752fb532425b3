"""Network streams and video files through OpenCV; cameras are in camera.py and gstreamer.py."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig

# Damaged pictures in a row that are borne; one more and the device is taken for lost.
UNDECODED_LIMIT = 5

_FOREVER_S = 86_400.0


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
            try:
                if not self._handle.grab():
                    return None
                if self.is_live:
                    # A camera's grab waits for the next picture to arrive: that wait is nobody's cost.
                    begun_ns = time.monotonic_ns()
                is_decoded, image = self._handle.retrieve()
            except cv2.error as exc:
                raise SourceLost(
                    f"{self._description} failed while it was read ({str(exc).strip()}); expected a picture; "
                    "check its format"
                ) from exc
            if self._release_if_closed():
                return None
            if not is_decoded or image is None:
                return Frame(None, index, begun_ns, fault=f"damaged picture: {self._description} sent one")
            return Frame(image, index, begun_ns, "", (time.monotonic_ns() - begun_ns) / 1e6)


class VideoSource(CaptureSource):
    """A video file, every frame of it; its end is the normal end."""

    def __iter__(self) -> Iterator[Frame]:
        try:
            for index in count():
                frame = self._read(index)
                if frame is not None and frame.image is not None:
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
    """A camera or stream until it is lost; ReconnectingSource opens it again.

    A picture that arrives but cannot be decoded is a frame with a fault, because a wire near a motor
    damages one now and then.
    """

    is_live = True

    def __iter__(self) -> Iterator[Frame]:
        undecoded = 0
        try:
            for index in count():
                frame = self._read(index)
                if self._closed.is_set():
                    return
                undecoded = undecoded + 1 if frame is not None and frame.image is None else 0
                if frame is None or undecoded > UNDECODED_LIMIT:
                    what = "no picture" if frame is None else f"{undecoded} damaged pictures in a row"
                    raise SourceLost(
                        f"{self._description} gave {what}; expected one; check its cable, power and network"
                    )
                yield frame
        finally:
            self.close()


def open_stream(url: str, reconnect: ReconnectConfig = ReconnectConfig()) -> LiveSource:
    """Open a network stream.

    Args:
        reconnect: its open_timeout_s and timeout_s are what FFmpeg waits for the stream and for a frame.

    Raises:
        SourceNotFound: nobody answers, or it is not a stream that this OpenCV can decode.
    """
    open_s = reconnect.open_timeout_s
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(open_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        # 0 would be FFmpeg's own 30 s rather than for ever.
        round(1000 * (reconnect.timeout_s or _FOREVER_S)),
    ]
    name = _without_password(url)
    handle = opened(url, cv2.CAP_FFMPEG, limits) if _has_ffmpeg() else opened(url, cv2.CAP_ANY)
    if handle is None:
        raise SourceNotFound(
            f"stream {name} cannot be opened; expected an answer within {open_s:g} s; "
            "check address, password and network, for example with ffplay"
        )
    return LiveSource(handle, f"stream {name}")


def open_video(path: Path) -> VideoSource:
    """Open a video file.

    Raises:
        SourceNotFound: it cannot be opened as a video.
    """
    handle = opened(str(path), cv2.CAP_FFMPEG if _has_ffmpeg() else cv2.CAP_ANY)
    if handle is None:
        raise SourceNotFound(
            f"video {path} cannot be opened; expected a whole video that OpenCV can decode; "
            "copy it again or convert it to MP4 (H.264)"
        )
    return VideoSource(handle, f"video {path}")


def opened(target: int | str, backend: int, parameters: list[int] | None = None) -> Any:
    """Open a cv2.VideoCapture without a word on stderr; None when it cannot be opened."""
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


def _without_password(url: str) -> str:
    host = urlsplit(url).netloc
    return url.replace(host, f"***@{host.rpartition('@')[2]}", 1) if "@" in host else url
