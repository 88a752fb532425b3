"""Measuring how far one machine reaches: every number of cameras in turn, several rounds."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from dtgd_edge.benchmarks.cameras import CamerasRun, run_cameras
from dtgd_edge.benchmarks.machine import this_machine
from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.scale import LOAD, CameraStep, FrameCost, Mode, Scale, Sessions, TileCost
from dtgd_edge.benchmarks.timing import measure
from dtgd_edge.bundle import Bundle, Manifest
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
# Counted frames of each camera at least, so that nobody's share is chance.
_EACH = 4
_WARM_UP = 3


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
