"""A bundle's graph opened on a device."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError, ShapeError
from dtgd_edge.runtime.choice import choose_backend
from dtgd_edge.verdict import Scores


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session is.

    Attributes:
        backend: its name in SESSIONS.
        device: where it really runs, for people: "CPU (ONNX Runtime 1.23, 2 threads)".
        batch: number of frames that `score` takes at once.
        size_hw: height and width of a prepared frame.
    """

    backend: str
    device: str
    batch: int
    size_hw: tuple[int, int]


class Session(Protocol):
    """Scores prepared frames. Structural: any class with these members is one."""

    @property
    def spec(self) -> SessionSpec: ...

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        """Score a batch of prepared frames.

        Args:
            frames: uint8 [N, H, W, 3], RGB, as returned by Geometry.apply; N == spec.batch.

        Returns:
            Scores: score float32 [N]; map float32 [N, H, W], same pixel grid as frames.
            Owned by the caller (copied out of the session's buffers).

        Raises:
            ShapeError: N, H, W or dtype differ from the graph's.
            BackendError: the device failed, or the session is closed.
        """
        ...

    def close(self) -> None:
        """Give the device's memory back; closing twice is fine."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class SessionType:
    """Where the session of a backend is written, and what it is called in parity records.

    Attributes:
        module: in dtgd_edge.runtime.sessions; imported when the session is opened.
        name: of the class; it takes the bundle, `threads` if it `has_threads`, `build` and `say` if it
            `has_plans`.
        title: for people.
        has_threads: whether it computes in CPU threads.
        has_plans: whether it runs engines that are built once and kept.
    """

    module: str
    name: str
    title: str
    has_threads: bool = True
    has_plans: bool = False


SESSIONS: dict[str, SessionType] = {
    "ort": SessionType("ort", "OrtSession", "ONNX Runtime CPU"),
    "ort-cuda": SessionType("ort", "OrtCudaSession", "ONNX Runtime CUDA"),
    "ort-tensorrt": SessionType("ort", "OrtTensorrtSession", "ONNX Runtime TensorRT"),
    "openvino": SessionType("openvino", "OpenVinoSession", "OpenVINO CPU"),
    "tensorrt": SessionType("trt", "TrtSession", "TensorRT", has_threads=False, has_plans=True),
    "null": SessionType("null", "NullSession", "nothing", has_threads=False),
}
BACKENDS = ("auto", *SESSIONS)


def open_session(
    bundle: Bundle,
    backend: str = "auto",
    threads: int | None = None,
    *,
    build: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Session:
    """Open a bundle's graph.

    Args:
        bundle: from Bundle.open.
        backend: one of SESSIONS; "null" computes nothing and shows what the loop itself costs. "auto"
            is TensorRT where a CUDA device and TensorRT answer, else ONNX Runtime on the CPU.
        threads: CPU threads that share one graph; None: the cores this process may use. TensorRT and
            null have none.
        build: whether to build an engine that is not kept for this machine yet (minutes); with "auto",
            where that is TensorRT.
        say: is told the progress of a build.

    Raises:
        ConfigError: an unknown backend, one that has no engine to build, or no thread at all.
        PlanMismatch: no engine is kept for this machine, and none may be built.
        BackendUnavailable: its library or its device is not here. Never replaced by another one.
        BackendError: the library refuses the graph.
    """
    if backend == "auto":
        choice = choose_backend(bundle.manifest)
        backend = choice.backend
        if build and not SESSIONS[backend].has_plans:
            say(f"no engine to build for {SESSIONS[backend].title}, which runs because {choice.reason}")
            build = False
    if backend not in SESSIONS:
        known = ", ".join(BACKENDS)
        raise ConfigError(f"backend {backend!r} is not known; expected one of {known}; choose one")
    if threads is not None and threads < 1:
        raise ConfigError(f"{threads} threads were asked for; expected 1 or more; correct the number")
    kind = SESSIONS[backend]
    if build and not kind.has_plans:
        raise ConfigError(
            f"backend {backend!r} has no engine to build; expected auto or tensorrt; "
            "leave --build out, or choose another backend"
        )
    options: dict[str, Any] = {}
    if kind.has_threads:
        options.update(threads=threads)
    if kind.has_plans:
        options.update(build=build, say=say)
    session: Session = session_class(kind)(bundle, **options)
    return session


def session_class(kind: SessionType) -> Any:
    """Import the class of a session.

    Raises:
        BackendUnavailable: its library is not installed.
    """
    module = f"dtgd_edge.runtime.sessions.{kind.module}"
    try:
        return getattr(importlib.import_module(module), kind.name)
    except ModuleNotFoundError as exc:
        if exc.name != module:
            raise
        raise BackendUnavailable(
            f"this dtgd-edge has no {kind.title} session; expected {module}; update dtgd-edge"
        ) from exc


def spec_of_bundle(bundle: Bundle, backend: str, device: str) -> SessionSpec:
    """Read batch and size from the manifest.

    Raises:
        BackendError: its input is not [N, H, W, 3] uint8.
    """
    shape, dtype = bundle.manifest.input.shape, bundle.manifest.input.dtype
    if len(shape) != 4 or shape[3] != 3 or dtype != "uint8":
        raise BackendError(
            f"the bundle's input is {dtype} {list(shape)}; expected uint8 [N, H, W, 3]; export it again"
        )
    return SessionSpec(backend, device, batch=shape[0], size_hw=(shape[1], shape[2]))


def check_frames(frames: NDArray[Any], spec: SessionSpec) -> None:
    """Refuse what a graph cannot take, in the same words for every backend.

    Raises:
        ShapeError: N, H, W or dtype differ from the graph's.
    """
    expected = (spec.batch, *spec.size_hw, 3)
    if frames.shape != expected or frames.dtype != np.uint8:
        raise ShapeError(
            f"frames of {frames.dtype} {list(frames.shape)} were given; "
            f"the graph takes uint8 {list(expected)}; prepare them with Geometry.apply"
        )


def check_golden(bundle: Bundle, session: Session) -> float:
    """Score every golden frame of the bundle and compare.

    Returns:
        The largest difference of a score, in score units.

    Raises:
        BackendError: a score is off by more than the bundle's tolerance, or there is nothing to compare.
    """
    golden = bundle.golden
    if not len(golden.frames) or len(golden.frames) != len(golden.score):
        raise BackendError(
            f"the bundle holds {len(golden.frames)} golden frames and {len(golden.score)} scores; "
            "expected as many scores as frames, and at least one; export it again"
        )
    score = score_all(session, golden.frames).score
    difference = np.abs(score - golden.score)
    # NaN compares false with everything, so ask for "within", never for "beyond".
    is_within = difference <= bundle.manifest.golden_tolerance
    if not bool(is_within.all()):
        row = int(np.argmin(is_within))
        backend, chosen_on = session.spec.backend, bundle.manifest.session
        remedy = "for this kind of machine"
        if backend != chosen_on:
            remedy = f"with --session {backend} (its threshold was chosen on {chosen_on}'s scores)"
        raise BackendError(
            f"golden frame {row} scores {score[row]:.5g} on {session.spec.device}; expected "
            f"{golden.score[row]:.5g} within {bundle.manifest.golden_tolerance:.2g}; "
            f"export the bundle again {remedy}"
        )
    return float(difference.max())


def score_all(session: Session, frames: NDArray[np.uint8]) -> Scores:
    """Score any number of prepared frames, batch by batch; the last batch is filled up with its last frame.

    Args:
        session: open.
        frames: uint8 [N, H, W, 3], RGB, as returned by Geometry.apply; N >= 1.

    Raises:
        ShapeError, BackendError: as Session.score.
    """
    batch = session.spec.batch
    parts = []
    for start in range(0, len(frames), batch):
        rows = np.minimum(np.arange(start, start + batch), len(frames) - 1)
        scores, count = session.score(frames[rows]), min(batch, len(frames) - start)
        parts.append(Scores(scores.score[:count], scores.map[:count]))
    return Scores(np.concatenate([p.score for p in parts]), np.concatenate([p.map for p in parts]))


def usable_cores() -> int:
    """Cores of this process: a container or taskset may give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def first_line(error: Exception) -> str:
    """What a foreign error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
