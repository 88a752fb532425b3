"""A bundle's graph opened on a device."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, ConfigError, ShapeError
from dtgd_edge.verdict import Scores


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session is.

    Attributes:
        backend: "ort" or "null".
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


BACKENDS = ("auto", "ort", "null")


def open_session(bundle: Bundle, backend: str = "auto") -> Session:
    """Open a bundle's graph.

    Args:
        bundle: from Bundle.open.
        backend: "ort" (ONNX Runtime on the CPU), "null" (computes nothing; shows what the loop
            itself costs) or "auto" (the best that this machine has).

    Raises:
        ConfigError: an unknown backend.
        BackendUnavailable: its library is not installed.
        BackendError: the library refuses the graph.
    """
    if backend in ("auto", "ort"):
        from dtgd_edge.runtime.sessions.ort import OrtSession

        return OrtSession(bundle)
    if backend == "null":
        from dtgd_edge.runtime.sessions.null import NullSession

        return NullSession(bundle)
    raise ConfigError(f"backend {backend!r} is not known; expected one of {', '.join(BACKENDS)}; choose one")


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
        raise BackendError(
            f"golden frame {row} scores {score[row]:.5g} on {session.spec.device}; expected "
            f"{golden.score[row]:.5g} within {bundle.manifest.golden_tolerance:.2g}; "
            "export the bundle again for this kind of machine"
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
