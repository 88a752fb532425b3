"""A network camera on loopback that is killed and started again, slow, or comes back otherwise."""

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count

import cv2
import numpy as np
import pytest

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import ReconnectConfig, SourceConfig
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.reconnect import HUNG_LIMIT, ReconnectingSource

QUICK = ReconnectConfig(first_wait_s=0.02, longest_wait_s=0.05, timeout_s=0.5, open_timeout_s=2.0)


class CameraServer:
    """An MJPEG camera at one address; `kill` cuts its connections, `start` brings it back."""

    def __init__(self) -> None:
        self.size_hw = (48, 64)
        self.is_silent = threading.Event()
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/line.mjpg"

    def start(self) -> None:
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._connections.append(self.connection)
                # It was killed, or the client has gone.
                with contextlib.suppress(OSError, ValueError):
                    camera._stream(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        assert self._server is not None, "only what runs can be killed"
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in self._connections:
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def _stream(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        server = self._server
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        # Pure blue: a first frame in the wrong order of colours would be red.
        picture = np.zeros((*self.size_hw, 3), np.uint8)
        picture[..., 0] = 255
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        while server is self._server:
            if not self.is_silent.is_set():
                handler.wfile.write(head + jpeg + b"\r\n")
            time.sleep(0.005)


@pytest.fixture
def server() -> Iterator[CameraServer]:
    made = CameraServer()
    yield made
    if made._server is not None:
        made.kill()


def until(frames: Iterator[Frame], is_picture: bool) -> Frame:
    for frame in frames:
        if (frame.image is not None) == is_picture:
            return frame
    raise AssertionError("the source ended")


def test_a_camera_that_is_killed_and_started_again_and_again(server: CameraServer) -> None:
    told: list[str] = []
    events = Events()
    events.listen(lambda event: told.append(event.kind))
    with open_source(SourceConfig(server.url, reconnect=QUICK), events=events) as source:
        assert isinstance(source, ReconnectingSource)
        frames = iter(source)
        indices = [until(frames, True).index]
        for _ in range(5):
            server.kill()
            lost = until(frames, False)
            assert (lost.fault or "").startswith("lost frame: ")
            server.start()
            back = next(frame for frame in frames if frame.image is not None)
            assert back.image is not None and back.image[..., 0].min() > 240 and back.image[..., 2].max() < 15
            indices += [lost.index, back.index]
        assert source.reconnects == 5
    assert told == ["source lost", "source back"] * 5
    assert indices == sorted(set(indices))


def test_a_camera_that_comes_back_in_another_size_is_not_judged_until_it_is_as_before(
    server: CameraServer,
) -> None:
    with open_source(SourceConfig(server.url, reconnect=QUICK)) as source:
        frames = iter(source)
        until(frames, True)
        for size_hw, is_judged in (((24, 32), False), ((48, 64), True)):
            server.kill()
            until(frames, False)
            server.size_hw = size_hw
            server.start()
            back = next(f for f in frames if not (f.fault or "").startswith("lost frame"))
            assert (back.image is not None) is is_judged
            assert is_judged or (back.fault or "").startswith("changed format: 32x24 px")


def test_a_camera_that_falls_silent_is_noticed_in_time(server: CameraServer) -> None:
    with open_source(SourceConfig(server.url, reconnect=QUICK)) as source:
        frames = iter(source)
        until(frames, True)
        server.is_silent.set()
        begun = time.monotonic()
        assert until(frames, False).fault
        assert 0.3 < time.monotonic() - begun < 3.0
        server.is_silent.clear()
        until(frames, True)


class HangingDevice(FrameSource):
    """Hangs in its driver, whatever is done to it."""

    is_live = True
    description = "camera 0"

    def __init__(self, release: threading.Event) -> None:
        self._release = release

    def __iter__(self) -> Iterator[Frame]:
        self._release.wait()
        return
        yield

    def close(self) -> None:
        pass


def test_threads_that_hang_in_a_driver_are_left_behind_but_never_many() -> None:
    release, opened = threading.Event(), count()
    quick = ReconnectConfig(0.005, 0.01, timeout_s=0.05, open_timeout_s=0.05)

    def opener() -> FrameSource:
        next(opened)
        return HangingDevice(release)

    source = ReconnectingSource(opener(), opener, "camera 0", quick)
    frames = iter(source)
    faults = [next(frames).fault or "" for _ in range(10)]
    assert next(opened) == HUNG_LIMIT
    assert f"{HUNG_LIMIT} reads hang in its driver" in faults[-1]
    release.set()
    while next(opened) < 3 * HUNG_LIMIT:  # they have returned, and it is tried again
        next(frames)
    source.close()
