"""Cameras, streams and videos, without a camera: what is there, what is not, what goes away."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.sources.camera import open_camera
from dtgd_edge.runtime.sources.capture import LiveSource, VideoSource
from dtgd_edge.runtime.sources.opening import open_source

PICTURE = np.full((48, 64, 3), 90, np.uint8)


class ScriptedCamera:
    """Stands in for cv2.VideoCapture: one letter per read, "p" a picture, "x" a failure."""

    def __init__(self, script: str) -> None:
        self.script = iter(script)
        self.released = 0

    def grab(self) -> bool:
        assert not self.released, "read after release"
        return next(self.script, "x") == "p"

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, PICTURE.copy()

    def release(self) -> None:
        self.released += 1


def letters(frames: list[Frame]) -> str:
    return "".join("x" if frame.image is None else "p" for frame in frames)


@pytest.mark.parametrize("name", ["77", "/dev/video77"])
def test_a_camera_that_is_not_there(name: str) -> None:
    with pytest.raises(SourceNotFound, match=r"camera .*77 is not there; this machine has .*sample:"):
        open_source(name)


def test_a_camera_may_be_a_number() -> None:
    with pytest.raises(SourceNotFound, match="camera 77 is not there"):
        open_source(77)


def test_a_device_that_is_no_camera(tmp_path: Path) -> None:
    (tmp_path / "video").touch()
    with pytest.raises(SourceNotFound):
        open_camera(str(tmp_path / "video"))


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_nobody_gives(scheme: str) -> None:
    begun = time.monotonic()
    with pytest.raises(
        SourceNotFound, match=r"127.0.0.1:9/line (cannot be opened|does not answer)"
    ) as caught:
        open_source(f"{scheme}://operator:secret@127.0.0.1:9/line")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("content", [b"", b"no video at all" * 20])
def test_a_video_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "line.mp4").write_bytes(content)
    with pytest.raises(SourceNotFound, match=r"line\.mp4 cannot be opened"):
        open_source(str(tmp_path / "line.mp4"))


def test_opencv_and_ffmpeg_are_silent_about_it() -> None:
    # FFmpeg reads its log level once in a process, so only a fresh one can show this.
    opening = "from dtgd_edge.runtime import open_source; open_source('http://127.0.0.1:9/line')"
    done = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("dtgd_edge.errors.SourceNotFound")
    assert "tcp" not in done.stderr.lower().partition("traceback")[0]


def test_a_video_gives_its_pictures_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "line.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(4):
        writer.write(np.full((48, 64, 3), 60 * number, np.uint8))
    writer.release()
    means = [frame.image.mean() for frame in open_source(path) if frame.image is not None]
    assert means == pytest.approx([0, 60, 120, 180], abs=2)


def test_a_video_without_a_picture_is_not_a_short_run() -> None:
    with pytest.raises(SourceLost, match="no picture in it can be decoded"):
        list(VideoSource(ScriptedCamera(""), "video x"))


def test_a_video_is_released_at_its_end() -> None:
    handle = ScriptedCamera("ppp")
    assert letters(list(VideoSource(handle, "video x"))) == "ppp"
    assert handle.released


def test_close_waits_for_no_read_and_no_read_meets_a_release() -> None:
    is_reading, may_return = threading.Event(), threading.Event()

    class Blocked(ScriptedCamera):
        def grab(self) -> bool:
            is_reading.set()
            may_return.wait(5)
            assert not self.released, "released in the middle of a read"
            return True

    handle = Blocked("")
    source = LiveSource(handle, "camera 0")
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(source), daemon=True)
    reader.start()
    assert is_reading.wait(5)
    begun = time.monotonic()
    source.close()
    assert time.monotonic() - begun < 1
    may_return.set()
    reader.join(5)
    assert not reader.is_alive() and handle.released and frames == []


@pytest.fixture
def network_camera() -> Iterator[str]:
    """An MJPEG camera on the loopback that hangs up after every fifth picture; gives its address."""
    jpeg = cv2.imencode(".jpg", PICTURE)[1].tobytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            for _ in range(5):
                self.wfile.write(head + jpeg + b"\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/line.mjpg"
        server.shutdown()
        thread.join(5)


@pytest.mark.skipif(
    cv2.CAP_FFMPEG not in cv2.videoio_registry.getBackends(), reason="this OpenCV has no FFmpeg"
)
def test_a_network_camera_that_hangs_up_comes_back(network_camera: str) -> None:
    seen = ""
    with open_source(network_camera) as source:
        assert source.is_live
        for frame in source:
            seen += letters([frame])
            if seen.endswith("xpp"):
                break
    # Five at once: the newest is kept, so that how many of them are seen is chance; a loss is one fault.
    assert seen.startswith("p") and "xx" not in seen
