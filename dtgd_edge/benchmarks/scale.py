"""How far one machine reaches: cost against number of cameras, frame size and number of tiles."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from dtgd_edge.benchmarks.cameras import CamerasRun, run_cameras
from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.timing import measure
from dtgd_edge.bundle import Bundle, Manifest
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Shrink
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.health import HealthGate
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import Session, open_session, usable_cores
from dtgd_edge.runtime.shared_session import SharedSession

CAMERAS = (1, 2, 4, 8, 16)
MOST_CAMERAS = 64
FRAME_SIZES_HW = ((480, 640), (1024, 1280), (1080, 1920), (2048, 2448))
SHRINKS: tuple[Shrink, ...] = ("area", "halves")
# A step that brings less than this share more in total is past the bend.
GAIN = 0.10
# Share of the limit that the cameras ask for when the latency of a line is measured: no line is planned
# to its limit.
LOAD = 0.7
# At its limit a session on the CPU keeps at least so much of one core busy, unless other programs have it.
BUSY = 0.8
# Counted frames of each camera at least, so that nobody's share is chance.
_EACH = 4
_WARM_UP = 3

Sessions = Literal["shared", "own"]
Mode = Literal["limit", "paced"]


@dataclass(frozen=True, slots=True)
class CameraStep:
    """Some cameras at once.

    Attributes:
        cameras: how many.
        sessions: "shared": one for all of them; "own": one each, with its share of the threads.
        mode: "limit": each camera always has a next frame; "paced": together they give LOAD of what the
            limit of the same round was.
        frames_per_s: judged, of all together; the median of the rounds.
        lowest_per_s, highest_per_s: the same of the worst and the best round.
        slowest_per_s: of the camera that got least, median of the rounds.
        processor_ms, busy_cores: as CamerasRun, medians of the rounds.
        latency_ms: from arrival to verdict, frames of all rounds.
        dropped: frames that made room for newer ones, of all rounds.
        held_mib: memory that the process held, the least of all rounds: what earlier steps left behind is no
            camera's.
        batches: how often the shared session scored so many frames at once.
    """

    cameras: int
    sessions: Sessions
    mode: Mode
    frames_per_s: float
    lowest_per_s: float
    highest_per_s: float
    slowest_per_s: float
    processor_ms: float
    busy_cores: float
    latency_ms: Percentiles
    dropped: int
    held_mib: float
    batches: dict[int, int]


@dataclass(frozen=True, slots=True)
class FrameCost:
    """One camera with frames of some size.

    Attributes:
        frame_hw: of the frames.
        shrink: how the geometry makes them small.
        stages_ms: milliseconds per stage, as Measurement has them.
    """

    frame_hw: tuple[int, int]
    shrink: Shrink
    stages_ms: dict[str, Percentiles]


@dataclass(frozen=True, slots=True)
class TileCost:
    """One camera with a graph that cuts its frames into tiles.

    Attributes:
        name: of the bundle.
        precision: of the bundle.
        tiles: rows and columns.
        tile_hw: size of a tile as the network sees it.
        size_hw: of the graph's input.
        stages_ms: milliseconds per stage, as Measurement has them.
    """

    name: str
    precision: str
    tiles: tuple[int, int]
    tile_hw: tuple[int, int]
    size_hw: tuple[int, int]
    stages_ms: dict[str, Percentiles]


@dataclass(frozen=True, slots=True)
class Scale:
    """All of it, of one bundle on one machine.

    Attributes:
        name, precision, graph_sha256: of the bundle.
        batch: frames that its graph takes at once.
        device: where the session ran.
        frame_hw: size of the frames that the cameras gave.
        frames: counted frames of all cameras together, per step and round; more where a camera would have
            had less than _EACH.
        rounds: how often all steps were gone through.
        steps: by cameras; "shared" at its limit and paced, then "own" at its limit.
        frame_costs: by frame size and rule.
        tile_costs: of the bundles that were given for it.
        machine: where.
    """

    name: str
    precision: str
    graph_sha256: str
    batch: int
    device: str
    frame_hw: tuple[int, int]
    frames: int
    rounds: int
    steps: tuple[CameraStep, ...]
    frame_costs: tuple[FrameCost, ...]
    tile_costs: tuple[TileCost, ...]
    machine: Machine

    def chosen(self, sessions: Sessions, mode: Mode) -> list[CameraStep]:
        """The steps of one kind, by cameras."""
        return [step for step in self.steps if (step.sessions, step.mode) == (sessions, mode)]

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs had the cores, so that times and bends say nothing about this machine."""
        busy = min(step.busy_cores for step in self.steps if step.mode == "limit")
        return self.device.startswith("CPU") and busy < BUSY

    def bend(self, sessions: Sessions) -> int | None:
        """From how many cameras on more of them judge no more frames; None: not yet at the most."""
        return bend_of([(step.cameras, step.frames_per_s) for step in self.chosen(sessions, "limit")])

    def mib_per_camera(self, sessions: Sessions) -> float | None:
        """Memory that each further camera takes; None with only one number of cameras."""
        steps = self.chosen(sessions, "limit")
        first, last = steps[0], steps[-1]
        if first is last:
            return None
        return (last.held_mib - first.held_mib) / (last.cameras - first.cameras)

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        kinds: tuple[Sessions, ...] = ("shared", "own")
        return {
            **mapping_from_record(self),
            "is_disturbed": self.is_disturbed,
            "bend": {kind: self.bend(kind) for kind in kinds},
            "mib_per_camera": {kind: self.mib_per_camera(kind) for kind in kinds},
        }


def bend_of(points: Sequence[tuple[int, float]]) -> int | None:
    """Where a curve of throughput bends: the first point from which the next one gains less than GAIN.

    Args:
        points: (cameras, frames a second of all together), ascending by cameras.

    Returns:
        The cameras of that point; None: each step still gains.
    """
    for (cameras, before), (_, after) in pairwise(points):
        if after < before * (1 + GAIN):
            return cameras
    return None


def camera_counts(text: str) -> tuple[int, ...]:
    """Read "1,2,4" as ascending numbers of cameras.

    Raises:
        ConfigError: it is not of that form.
    """
    words = [word.strip() for word in text.split(",")]
    counts = sorted({int(word) for word in words if word.isdecimal()})
    if not all(word.isdecimal() for word in words) or not 1 <= counts[0] <= counts[-1] <= MOST_CAMERAS:
        raise ConfigError(
            f"cameras {text!r} were asked for; expected numbers from 1 to {MOST_CAMERAS} with commas "
            "between; use 1,2,4,8,16"
        )
    return tuple(counts)


def measure_scale(
    bundle: Bundle,
    tiled: Iterable[Bundle] = (),
    *,
    cameras: Sequence[int] = CAMERAS,
    frames: int = 100,
    rounds: int = 3,
    frame_hw: tuple[int, int] = FRAME_SIZES_HW[0],
    frame_sizes_hw: Sequence[tuple[int, int]] = FRAME_SIZES_HW,
    backend: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Scale:
    """Measure one bundle.

    All steps are gone through `rounds` times, so that load that comes and goes hits all of them alike.

    Args:
        bundle: whose graph the cameras share.
        tiled: bundles of the same network with other tiles, for the cost of a tile; taken at the end, so that
            those of an iterator do not count as memory of the cameras.
        cameras: numbers of cameras, ascending.
        frames: counted frames of all cameras together, per step and round; per size and tiling. More where
            a camera would have less than _EACH.
        rounds: 1 or more.
        frame_hw: of the cameras' frames, and of those that are cut into tiles.
        frame_sizes_hw: for the cost of a frame's size.
        backend, threads: as open_session takes them.
        say: is told what is being measured.

    Raises:
        BackendError: a session cannot be opened or fails.
        DataError: this system does not tell the memory of a process.
    """
    bundle = _whole_frame(bundle)
    sharer = _Sharer(bundle, backend, threads or usable_cores(), frames, frame_hw)
    gathered: dict[tuple[int, Sessions, Mode], _Gathered] = {}
    for turn in range(rounds):
        for count in cameras:
            say(f"round {turn + 1} of {rounds}, {count} cameras")
            for key, run, batches in sharer.runs(count, turn):
                gathered.setdefault(key, _Gathered()).add(run, batches)
    return Scale(
        name=bundle.manifest.name,
        precision=bundle.manifest.precision,
        graph_sha256=bundle.manifest.graph_sha256,
        batch=bundle.manifest.input.shape[0],
        device=sharer.device,
        frame_hw=frame_hw,
        frames=frames,
        rounds=rounds,
        steps=tuple(gathered[key].step(*key) for key in sorted(gathered, key=_order)),
        frame_costs=tuple(_frame_costs(bundle, frame_sizes_hw, frames, backend, threads, say)),
        tile_costs=_tile_costs(
            [_whole_frame(each) for each in tiled], frame_hw, frames, backend, threads, say
        ),
        machine=this_machine(),
    )


class _Sharer:
    """Opens sessions for cameras and lets them run."""

    def __init__(
        self, bundle: Bundle, backend: str, threads: int, frames: int, frame_hw: tuple[int, int]
    ) -> None:
        self.device = ""
        self._bundle = bundle
        self._backend = backend
        self._threads = threads
        self._frames = frames
        self._pictures = bench_pictures(bundle, frame_hw)

    def runs(
        self, cameras: int, turn: int
    ) -> Iterator[tuple[tuple[int, Sessions, Mode], CamerasRun, dict[int, int]]]:
        """One round of some cameras: sharing a session at the limit and paced, then with one each."""
        frames, pictures = max(self._frames, _EACH * cameras), self._pictures
        with self._shared(cameras) as (inspectors, shared):
            self.device = shared.spec.device
            limit = run_cameras(inspectors, pictures, frames)
            yield (cameras, "shared", "limit"), limit, shared.batches
            before = Counter(shared.batches)
            each_per_s = LOAD * limit.frames_per_s / cameras
            paced = run_cameras(inspectors, pictures, frames, each_per_s, turn)
            yield (cameras, "shared", "paced"), paced, dict(Counter(shared.batches) - before)
        with self._own(cameras) as inspectors:
            yield (cameras, "own", "limit"), run_cameras(inspectors, pictures, frames), {}

    @contextmanager
    def _shared(self, cameras: int) -> Iterator[tuple[list[Inspector], SharedSession]]:
        with SharedSession(lambda: open_session(self._bundle, self._backend, self._threads)) as shared:
            yield [self._inspector(shared.seat()) for _ in range(cameras)], shared

    @contextmanager
    def _own(self, cameras: int) -> Iterator[list[Inspector]]:
        threads = max(1, self._threads // cameras)
        with ExitStack() as stack:
            yield [
                stack.enter_context(self._inspector(open_session(self._bundle, self._backend, threads)))
                for _ in range(cameras)
            ]

    def _inspector(self, session: Session) -> Inspector:
        # Frames of any size may be timed, whatever the bundle was trained on.
        return Inspector(session, self._bundle.manifest, HealthGate(None, is_live=False))


class _Gathered:
    """The rounds of one step."""

    def __init__(self) -> None:
        self._runs: list[CamerasRun] = []
        self._batches: Counter[int] = Counter()

    def add(self, run: CamerasRun, batches: dict[int, int]) -> None:
        self._runs.append(run)
        self._batches.update(batches)

    def step(self, cameras: int, sessions: Sessions, mode: Mode) -> CameraStep:
        per_s = [run.frames_per_s for run in self._runs]
        return CameraStep(
            cameras=cameras,
            sessions=sessions,
            mode=mode,
            frames_per_s=_median(per_s),
            lowest_per_s=min(per_s),
            highest_per_s=max(per_s),
            slowest_per_s=_median([run.slowest_per_s for run in self._runs]),
            processor_ms=_median([run.processor_ms for run in self._runs]),
            busy_cores=_median([run.busy_cores for run in self._runs]),
            latency_ms=Percentiles.of(ms for run in self._runs for ms in run.latencies_ms),
            dropped=sum(run.dropped for run in self._runs),
            held_mib=min(run.held_mib for run in self._runs),
            batches=dict(sorted(self._batches.items())),
        )


def _median(values: Sequence[float]) -> float:
    """One that occurred, as Percentiles does."""
    median = Percentiles.of(values).p50
    assert median is not None, "there is at least one round"
    return median


def _order(key: tuple[int, Sessions, Mode]) -> tuple[int, int, int]:
    cameras, sessions, mode = key
    return ("shared", "own").index(sessions), ("limit", "paced").index(mode), cameras


def _whole_frame(bundle: Bundle) -> Bundle:
    """The bundle without its region, which may lie outside of frames of another size."""
    return _changed(bundle, replace(bundle.manifest.geometry, region_xywh=None))


def _changed(bundle: Bundle, geometry: Any) -> Bundle:
    manifest: Manifest = replace(bundle.manifest, geometry=geometry)
    return replace(bundle, manifest=manifest)


def _frame_costs(
    bundle: Bundle,
    sizes_hw: Sequence[tuple[int, int]],
    frames: int,
    backend: str,
    threads: int | None,
    say: Callable[[str], None],
) -> Iterator[FrameCost]:
    geometry = bundle.manifest.geometry
    subjects = [(_changed(bundle, replace(geometry, shrink=shrink)), backend) for shrink in SHRINKS]
    for size_hw in sizes_hw:
        say(f"frames of {size_hw[1]}x{size_hw[0]} px")
        pictures = bench_pictures(bundle, size_hw)
        found = measure(subjects, pictures, frames=frames, warm_up=_WARM_UP, threads=threads)
        for shrink, each in zip(SHRINKS, found, strict=True):
            yield FrameCost(size_hw, shrink, each.stages_ms)


def _tile_costs(
    tiled: Sequence[Bundle],
    frame_hw: tuple[int, int],
    frames: int,
    backend: str,
    threads: int | None,
    say: Callable[[str], None],
) -> tuple[TileCost, ...]:
    if not tiled:
        return ()
    say(f"{len(tiled)} tilings of frames of {frame_hw[1]}x{frame_hw[0]} px")
    pictures = bench_pictures(tiled[0], frame_hw)
    found = measure(
        [(each, backend) for each in tiled], pictures, frames=frames, warm_up=_WARM_UP, threads=threads
    )
    costs = []
    for bundle, measurement in zip(tiled, found, strict=True):
        manifest, grid = bundle.manifest, bundle.manifest.geometry.tile_grid
        costs.append(
            TileCost(
                name=manifest.name,
                precision=manifest.precision,
                tiles=manifest.geometry.tiles,
                tile_hw=grid.tile_hw if grid else manifest.geometry.size_hw,
                size_hw=manifest.geometry.size_hw,
                stages_ms=measurement.stages_ms,
            )
        )
    return tuple(costs)
