"""Network cameras over HTTP: whole pictures, broken ones, other sizes, and the end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.source_config import ReconnectConfig
from dtgd_edge.runtime.sources.jpeg import jpeg_fault
from dtgd_edge.runtime.sources.mjpeg import next_picture, open_mjpeg

QUICK = ReconnectConfig(timeout_s=0.3, open_timeout_s=2.0)


def jpeg(size: int = 96, *options: int) -> bytes:
    picture = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", picture, list(options))[1].tobytes())


WHOLE = jpeg()


def part(content: bytes, has_length: bool = True) -> bytes:
    length = b"Content-Length: %d\r\n" % len(content) if has_length else b""
    return b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + content + b"\r\n"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


@contextmanager
def camera(*pieces: bytes, stays: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A camera that says these bytes to whoever comes; its address, and what it was asked."""
    asked: list[bytes] = []
    done = threading.Event()

    def serve() -> None:
        wire, _ = listener.accept()
        with wire:
            asked.append(wire.recv(4096))
            for piece in pieces:
                wire.sendall(piece)
            if stays:
                done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://user:p%40ss@127.0.0.1:{listener.getsockname()[1]}/video?q=1", asked
        done.set()
        thread.join(5)


def test_pictures_broken_ones_and_another_size() -> None:
    half = WHOLE[: len(WHOLE) // 2]
    with camera(HEAD, *map(part, (WHOLE, half, jpeg(64), WHOLE))) as (url, asked):
        source = open_mjpeg(url, QUICK)
        assert source is not None and source.is_live
        assert "user" not in source.description and "p%40ss" not in source.description
        frames = []
        with pytest.raises(SourceLost, match="broke off"), source:
            for frame in source:
                frames.append(frame)
    assert [None if f.image is None else f.image.shape for f in frames] == [
        (96, 96, 3),
        None,
        (64, 64, 3),
        (96, 96, 3),
    ]
    assert frames[1].fault is not None and frames[1].fault.startswith("damaged picture: it ends after")
    expected = cv2.imdecode(np.frombuffer(WHOLE, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(frames[0].image, expected)
    assert asked[0].startswith(b"GET /video?q=1 ") and b"Authorization: Basic dXNlcjpwQHNz" in asked[0]


def test_silence_is_a_loss_and_close_ends_a_wait() -> None:
    with camera(HEAD, part(WHOLE), stays=True) as (url, _):
        source = open_mjpeg(url, QUICK)
        assert source is not None
        frames = iter(source)
        assert next(frames).image is not None
        with pytest.raises(SourceLost, match="timed out"):
            next(frames)
    with camera(HEAD, part(WHOLE), stays=True) as (url, _):
        source = open_mjpeg(url, ReconnectConfig(timeout_s=0))
        assert source is not None
        frames = iter(source)
        next(frames)
        threading.Timer(0.1, source.close).start()
        assert next(frames, None) is None


def test_what_is_not_such_a_stream() -> None:
    with camera(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n") as (url, _):
        assert open_mjpeg(url, QUICK) is None
    with (
        camera(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as (url, _),
        pytest.raises(SourceNotFound, match=r"answers 401 Unauthorized.*user and password"),
    ):
        open_mjpeg(url, QUICK)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceNotFound, match="does not answer"):
        open_mjpeg(f"http://127.0.0.1:{port}/", QUICK)


def test_parts_without_a_length() -> None:
    stream = BytesIO(part(WHOLE, has_length=False) + part(jpeg(64), has_length=False) + b"--frame\r\n")
    assert next_picture(stream) == WHOLE
    assert next_picture(stream) == jpeg(64)


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 5000,
        b"--frame\r\nContent-Length: 99999999999\r\n\r\n",
        b"--frame\r\nContent-Length: many\r\n\r\n",
        b"--frame\r\nContent-Length: 10\r\n\r\nshort",
        b"--frame\r\n\r\nnothing like a picture\r\n--frame\r\n",
        b"",
    ],
)
def test_bodies_that_are_no_stream(body: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        next_picture(BytesIO(body))


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        jpeg(64, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg(64, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        WHOLE + bytes(20),
    ],
)
def test_whole_jpegs(content: bytes) -> None:
    assert jpeg_fault(content) is None


def test_every_shortened_jpeg_is_found() -> None:
    assert all(jpeg_fault(WHOLE[:length]) is not None for length in range(0, len(WHOLE) - 1, 7))


def test_noise_in_the_data_is_nearly_always_found() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        start = int(rng.integers(700, len(WHOLE) - 1500))
        content = WHOLE[:start] + rng.bytes(1000) + WHOLE[start + 1000 :]
        found += jpeg_fault(content) is not None
    assert found >= 190


def test_a_lost_restart_is_found() -> None:
    content = jpeg(64, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    first, second = content.index(b"\xff\xd0"), content.index(b"\xff\xd1")
    assert jpeg_fault(content[:first] + content[second:]) is not None
