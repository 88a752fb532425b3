"""Network cameras that stream JPEG pictures over HTTP.

Read here rather than by FFmpeg, which enlarges a picture of another size to that of the first and fills the
missing half of a broken one, both without a word.
"""

import base64
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

import cv2
import numpy as np

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig
from dtgd_edge.runtime.sources.jpeg import jpeg_fault

STREAM_TYPE = "multipart/x-mixed-replace"

_LINE_LIMIT = 1024
_PICTURE_LIMIT = 64 << 20


class MjpegSource(FrameSource):
    """Pictures of one HTTP answer; a broken one is a frame with a fault. Ends with SourceLost.

    Args:
        stream: the answer's body.
        connection: its socket; None where there is none to wake a waiting read with.
        description: for people, without a password.
    """

    is_live = True

    def __init__(self, stream: BinaryIO, connection: socket.socket | None, description: str) -> None:
        self._stream = stream
        self._connection = connection
        self._description = description
        self._closed = threading.Event()

    @property
    def description(self) -> str:
        return self._description

    def __iter__(self) -> Iterator[Frame]:
        try:
            for index in count():
                try:
                    content = next_picture(self._stream)
                except (OSError, ValueError, http.client.HTTPException) as exc:
                    if self._closed.is_set():
                        return
                    raise SourceLost(
                        f"{self._description} broke off ({exc}); expected pictures without end; "
                        "check the camera and the network"
                    ) from exc
                if self._closed.is_set():
                    return
                yield _frame(content, index)
        finally:
            self.close()
            self._stream.close()

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        if self._connection is not None:
            try:
                # Wakes a read that waits for the camera.
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the other end was quicker


def open_mjpeg(url: str, reconnect: ReconnectConfig = ReconnectConfig()) -> MjpegSource | None:
    """Open a camera's stream.

    Args:
        url: http:// or https://, with a user and a password if it needs one.
        reconnect: its open_timeout_s and timeout_s are how long the camera may take for an answer and for a
            picture.

    Returns:
        None when something answers that is not such a stream.

    Raises:
        SourceNotFound: nobody answers, or not with pictures.
    """
    parts = urlsplit(url)
    name = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=reconnect.open_timeout_s)
    try:
        connection.connect()
        wire: socket.socket = connection.sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=_headers(parts))
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as exc:
        connection.close()
        raise SourceNotFound(
            f"stream {name} does not answer ({exc}); expected pictures; check address and network"
        ) from exc
    if answer.status != http.client.OK:
        answer.close()
        connection.close()
        raise SourceNotFound(
            f"stream {name} answers {answer.status} {answer.reason}; expected pictures; "
            "check address, user and password"
        )
    if answer.getheader("Content-Type", "").partition(";")[0].strip().lower() != STREAM_TYPE:
        answer.close()
        connection.close()
        return None
    wire.settimeout(reconnect.timeout_s or None)
    return MjpegSource(answer, wire, f"stream {name}")


def next_picture(stream: BinaryIO) -> bytes:
    """Read the next part of a multipart body.

    Raises:
        ValueError: it is not one, or it is too large.
        OSError: the connection broke, or nothing came in time.
    """
    boundary = _line(stream)
    while not boundary.startswith(b"--"):
        boundary = _line(stream)
    length: int | None = None
    while line := _line(stream):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-length":
            length = int(value)
    if length is None:
        return _up_to(stream, boundary)
    if not 0 < length <= _PICTURE_LIMIT:
        raise ValueError(f"a picture of {length} bytes was announced")
    content = stream.read(length)
    if len(content) < length:
        raise ConnectionResetError("the connection was closed inside of a picture")
    return content


def _up_to(stream: BinaryIO, boundary: bytes) -> bytes:
    """A picture whose length was not announced: up to the next boundary, which is the last line read."""
    content = bytearray()
    while len(content) <= _PICTURE_LIMIT:
        line = stream.readline(_PICTURE_LIMIT)
        if not line:
            raise ConnectionResetError("the connection was closed inside of a picture")
        content += line
        # A JPEG's end, then the boundary's line: read it again as the head of the next part.
        if content.endswith(b"\r\n") and content.rstrip(b"\r\n").endswith(b"\xff\xd9"):
            return bytes(content.rstrip(b"\r\n"))
        if line.rstrip(b"\r\n") == boundary:
            raise ValueError("a picture does not end like a JPEG")
    raise ValueError(f"a picture has more than {_PICTURE_LIMIT} bytes")


def _line(stream: BinaryIO) -> bytes:
    """One line without its end; every line of a part's head ends in time."""
    line = stream.readline(_LINE_LIMIT)
    if not line:
        raise ConnectionResetError("the connection was closed")
    if not line.endswith(b"\n"):
        raise ValueError(f"a line of more than {_LINE_LIMIT} bytes stands where a part should begin")
    return line.rstrip(b"\r\n")


def _headers(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _frame(content: bytes, index: int) -> Frame:
    begun_ns = time.monotonic_ns()
    fault = jpeg_fault(content)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if fault is None else None
    if image is None:
        return Frame(None, index, begun_ns, fault=f"damaged picture: {fault or 'it cannot be decoded'}")
    return Frame(image, index, begun_ns, capture_ms=(time.monotonic_ns() - begun_ns) / 1e6)
