"""Faults of the camera and its pictures, through a real network stream."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dtgd_edge.benchmarks.faults import mjpeg
from dtgd_edge.benchmarks.faults.child import Child
from dtgd_edge.benchmarks.faults.rig import Picture, Running, line_config, parts, running, write_bundle
from dtgd_edge.benchmarks.faults.row import Row, Shortfalls
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.sources.opening import open_source

UNPLUGGED = 50
EPISODES = 5
FPS = 50.0
_WAIT_S = 30.0
_EPISODE_S = 0.7


class NetworkCamera:
    """The program mjpeg.py, which can be killed and started again.

    Args:
        folder: holds the pictures, a folder per kind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        self._child = Child(["-S", "-E", str(Path(mjpeg.__file__)), str(self._port), str(folder)])

    @property
    def uri(self) -> str:
        """Where it streams."""
        return f"http://127.0.0.1:{self._port}/"

    def show(self, name: str, fps: float = FPS) -> int:
        """Show another kind of pictures from the next one on; the moment, time.monotonic_ns()."""
        beside = self._folder / "next"
        beside.write_text(f"{name} {fps}")
        os.replace(beside, self._folder / "now")
        return time.monotonic_ns()

    def plug_in(self) -> int:
        """Start it; the moment at which it listens, time.monotonic_ns()."""
        return self._child.start()

    def unplug(self) -> int:
        """Kill it; the moment, time.monotonic_ns()."""
        return self._child.kill()


@contextmanager
def camera_line(folder: Path, repeats: int = 0) -> Iterator[tuple[NetworkCamera, Running]]:
    """A line at a network camera that shows good parts.

    Args:
        folder: empty.
        repeats: as Watch.
    """
    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    shown = folder / "camera"
    seen = write_jpegs(shown / "good", pictures)
    camera = NetworkCamera(shown)
    camera.show("good")
    camera.plug_in()
    config = line_config(camera.uri)
    try:
        events = Events()
        source = open_source(config.source, events=events)
        with running(config, folder / "grey.dtgd", source, Watch(seen, repeats), events=events) as run:
            yield camera, run
    finally:
        camera.unplug()


def write_jpegs(folder: Path, pictures: Sequence[Picture]) -> list[Picture]:
    """Write pictures as JPEG; what comes out of them again."""
    import cv2

    folder.mkdir(parents=True)
    seen = []
    for number, picture in enumerate(pictures):
        _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folder / f"{number:03d}.jpg").write_bytes(content.tobytes())
        seen.append(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8))
    return seen


def unplugged(folder: Path, times: int = UNPLUGGED) -> Row:
    """Kill the camera and start it again, many times."""
    recovery_ms: list[float] = []
    short = Shortfalls()
    with camera_line(folder) as (camera, run):
        short = short.unless(run.watch.wait_judged(0, _WAIT_S) is not None, "no frame at the start")
        for number in range(times):
            gone_ns = camera.unplug()
            noticed = run.watch.wait(lambda seen: bool(seen.reason), gone_ns, _WAIT_S)
            short = short.unless(noticed is not None, f"fault {number} was not noticed")
            back_ns = camera.plug_in()
            back = run.watch.wait_judged(back_ns, _WAIT_S)
            if back is None:
                short = short.unless(False, f"no judged frame after fault {number}")
                break
            recovery_ms.append((back.at_ns - back_ns) / 1e6)
        short = short.unless(run.is_running, f"the run ended: {run.error}")
        lost, found = run.told_of("source lost"), run.told_of("source back")
        short = short.unless(lost == found == times, f"told lost {lost} and back {found} times")
        happened = f"{lost} times lost, {len(recovery_ms)} times back; {run.watch.judged} frames judged"
        wrong_ok = run.watch.wrong_ok
    return Row(
        fault="camera unplugged and back",
        injected="the MJPEG server is killed with SIGKILL and started again",
        times=times,
        expected="NO_DECISION while it is away, judged frames after it is back, the run goes on",
        happened=happened,
        wrong_ok=wrong_ok,
        recovery_ms=Percentiles.of(recovery_ms),
        shortfalls=short.texts,
    )


def bad_pictures() -> dict[str, tuple[str, Callable[[Path, Sequence[Picture]], None], frozenset[str]]]:
    """Kinds of pictures that cannot be judged: how they are made, and the reasons that may be given."""
    return {
        "black": (
            "the lens is covered: frames of 2 grey levels",
            lambda folder, good: _write(folder, [np.full_like(p, 2) for p in good]),
            frozenset({"black", "under-exposed"}),
        ),
        "white": (
            "the exposure runs away: frames of 253 grey levels",
            lambda folder, good: _write(folder, [np.full_like(p, 253) for p in good]),
            frozenset({"white", "over-exposed"}),
        ),
        "frozen": (
            "the same frame again and again",
            lambda folder, good: _write(folder, good[:1]),
            frozenset({"frozen"}),
        ),
        "resized": (
            "the camera changes the size of its pictures",
            lambda folder, good: _write(folder, [np.ascontiguousarray(p[:-32, :-32]) for p in good]),
            frozenset({"wrong size", "changed format"}),
        ),
        "recoloured": (
            "red and blue are exchanged",
            lambda folder, good: _write(folder, [np.ascontiguousarray(p[..., ::-1]) for p in good]),
            frozenset({"wrong channel order", "wrong colour"}),
        ),
        "grey": (
            "a grey picture in place of a colour one",
            lambda folder, good: _write(folder, [_greyed(p) for p in good]),
            frozenset({"wrong channels", "wrong colour"}),
        ),
        "corrupt": (
            "the lower half of every JPEG is missing, or is noise",
            _write_corrupt,
            frozenset(),
        ),
    }


def bad_picture(folder: Path, kind: str) -> Row:
    """Show pictures of one bad kind for a while, several times."""
    injected, write, reasons = bad_pictures()[kind]
    repeats = 5 if kind == "frozen" else 0
    recovery_ms: list[float] = []
    short = Shortfalls()
    with camera_line(folder, repeats) as (camera, run):
        write(folder / "camera" / kind, parts())
        short = short.unless(run.watch.wait_judged(0, _WAIT_S) is not None, "no frame at the start")
        given: dict[str, int] = {}
        for number in range(EPISODES):
            begun_ns = camera.show(kind)
            noticed = run.watch.wait(lambda seen: bool(seen.reason), begun_ns, _WAIT_S)
            short = short.unless(noticed is not None, f"episode {number} was not noticed")
            time.sleep(_EPISODE_S)
            back_ns = camera.show("good")
            for reason, count in run.watch.reasons(begun_ns).items():
                given[reason] = given.get(reason, 0) + count
            back = run.watch.wait(lambda seen: not seen.reason and seen.could_be_judged, back_ns, _WAIT_S)
            short = short.unless(back is not None, f"no judged frame after episode {number}")
            if back is not None:
                recovery_ms.append((back.at_ns - back_ns) / 1e6)
            time.sleep(0.1)
        short = short.unless(run.is_running, f"the run ended: {run.error}")
        short = short.unless(not reasons or bool(reasons & set(given)), f"the reasons given were {given}")
        wrong_ok = run.watch.wrong_ok
    return Row(
        fault=f"{kind} frames",
        injected=injected,
        times=EPISODES,
        expected="NO_DECISION with the reason; judged again with the first good frame",
        happened="NO_DECISION: " + _counted(given),
        wrong_ok=wrong_ok,
        recovery_ms=Percentiles.of(recovery_ms),
        shortfalls=short.texts,
    )


def slow(folder: Path) -> Row:
    """The camera gives a frame every two seconds, and the limit is one second of silence."""
    recovery_ms: list[float] = []
    short = Shortfalls()
    with camera_line(folder) as (camera, run):
        short = short.unless(run.watch.wait_judged(0, _WAIT_S) is not None, "no frame at the start")
        for number in range(3):
            begun_ns = camera.show("good", 0.5)
            noticed = run.watch.wait(lambda seen: bool(seen.reason), begun_ns, _WAIT_S)
            short = short.unless(noticed is not None, f"silence {number} was not noticed")
            back_ns = camera.show("good")
            back = run.watch.wait_judged(back_ns, _WAIT_S)
            short = short.unless(back is not None, f"no judged frame after silence {number}")
            if back is not None:
                recovery_ms.append((back.at_ns - back_ns) / 1e6)
        short = short.unless(run.is_running, f"the run ended: {run.error}")
        given, wrong_ok = run.watch.reasons(), run.watch.wrong_ok
    return Row(
        fault="slow frames",
        injected="the camera gives one frame in 2 s; silence of 1 s is a fault",
        times=3,
        expected="NO_DECISION while it is silent; judged again when it is quick",
        happened="NO_DECISION: " + _counted(given),
        wrong_ok=wrong_ok,
        recovery_ms=Percentiles.of(recovery_ms),
        shortfalls=short.texts,
    )


def _write(folder: Path, pictures: Sequence[Picture]) -> None:
    write_jpegs(folder, pictures)


def _greyed(picture: Picture) -> Picture:
    mean = picture.mean(axis=2).astype(np.uint8)
    return np.repeat(mean[..., None], 3, axis=2)


def _write_corrupt(folder: Path, pictures: Sequence[Picture]) -> None:
    write_jpegs(folder, pictures)
    noise = np.random.default_rng(0)
    for number, path in enumerate(sorted(folder.iterdir())):
        content = path.read_bytes()
        half = content[: len(content) // 2]
        rest = b"" if number % 2 else noise.bytes(len(content) - len(half))
        path.write_bytes(half + rest)


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
