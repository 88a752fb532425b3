"""From a frame to a verdict: policy only, no threads, no input or output."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.bundle import Bundle, Manifest
from dtgd_edge.errors import ShapeError
from dtgd_edge.runtime.health import Gate, HealthGate
from dtgd_edge.runtime.regions import regions_above
from dtgd_edge.runtime.session import Session, check_golden, open_session
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict, decide

STAGES = ("capture", "wait", "gate", "geometry", "score", "decide")


class Inspector:
    """Judges frames with an open session.

    Args:
        session: open; closed by `close`.
        manifest: of the bundle that the session runs.
        gate: keeps frames that cannot be judged from the session; None: a HealthGate for frames that
            are not live.
    """

    def __init__(self, session: Session, manifest: Manifest, gate: Gate | None = None) -> None:
        self.session = session
        self.manifest = manifest
        self._gate = gate if gate is not None else health_gate(manifest, is_live=False)
        self._pictures = 0

    @classmethod
    def open(
        cls,
        path: Path | str,
        backend: str = "auto",
        is_live: bool = False,
        threads: int | None = None,
    ) -> "Inspector":
        """Open a bundle and a session for it, and prove the session on the bundle's golden frames.

        Args:
            path: a bundle.
            backend: as open_session takes it; "null" computes nothing and proves nothing.
            is_live: whether frames will come from a live source.
            threads: as open_session takes them.

        Raises:
            BundleError: the bundle cannot be used.
            BackendError: no session, or one that disagrees with the golden scores.
        """
        bundle = Bundle.open(path)
        session = open_session(bundle, backend, threads)
        try:
            if session.spec.backend != "null":
                check_golden(bundle, session)
        except BaseException:
            session.close()
            raise
        return cls(session, bundle.manifest, health_gate(bundle.manifest, is_live))

    @property
    def threshold(self) -> float:
        """A score above it is NG."""
        return self.manifest.threshold.value

    def inspect(self, frame: Frame | NDArray[Any]) -> Verdict:
        """Judge one frame.

        Args:
            frame: from a source, or a bare picture: uint8 or uint16, [H, W] or BGR [H, W, 3].

        Returns:
            A verdict. Whatever cannot be judged is NO_DECISION with a reason "kind: detail". Its
            `stages_ms` has the stages that ran; their sum is the time from arrival to verdict.

        Raises:
            BackendError: the session failed.
        """
        begun_ns = time.monotonic_ns()
        if not isinstance(frame, Frame):
            frame = Frame(frame, self._pictures, begun_ns)
            self._pictures += 1
        wait_ms = (begun_ns - frame.captured_ns) / 1e6 - frame.capture_ms
        stages = {"capture": frame.capture_ms, "wait": max(0.0, wait_ms)}
        watch = _Stopwatch(stages, begun_ns)

        reason = self._gate.fault(frame)
        watch.lap("gate")
        if reason is not None or frame.image is None:
            return self._undecided(frame, stages, reason or "lost frame: the source gave no picture")
        try:
            prepared = self.manifest.geometry.apply(frame.image)
        except ShapeError as exc:
            watch.lap("geometry")
            return self._undecided(frame, stages, f"wrong layout: {exc}")
        watch.lap("geometry")
        # A graph with a fixed larger batch gets the frame several times; the first row is the answer.
        scores = self.session.score(np.repeat(prepared[None], self.session.spec.batch, axis=0))
        watch.lap("score")
        return self._decided(frame, frame.image, float(scores.score[0]), scores.map[0], watch)

    def close(self) -> None:
        """Close the session."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decided(
        self,
        frame: Frame,
        image: NDArray[Any],
        score: float,
        graph_map: NDArray[np.float32],
        watch: "_Stopwatch",
    ) -> Verdict:
        decision = decide(score, self.threshold)
        if decision is Decision.NO_DECISION or not bool(np.isfinite(graph_map).all()):
            watch.lap("decide")
            return self._undecided(
                frame, watch.stages, "not a number: the score or the map is NaN or infinite"
            )
        frame_map = self.manifest.geometry.map_on_frame(graph_map, (image.shape[0], image.shape[1]))
        regions = regions_above(frame_map, self.threshold) if decision is Decision.NG else ()
        watch.lap("decide")
        return Verdict(
            decision,
            frame.index,
            self.threshold,
            score,
            frame_map,
            regions,
            watch.stages,
            None,
            frame.name,
            frame.part,
        )

    def _undecided(self, frame: Frame, stages: dict[str, float], reason: str) -> Verdict:
        return Verdict(
            Decision.NO_DECISION,
            frame.index,
            self.threshold,
            stages_ms=stages,
            reason=reason,
            frame_name=frame.name,
            part=frame.part,
        )


class _Stopwatch:
    """Bills the time since the last lap to a stage."""

    def __init__(self, stages: dict[str, float], begun_ns: int) -> None:
        self.stages = stages
        self._last_ns = begun_ns

    def lap(self, stage: str) -> None:
        now_ns = time.monotonic_ns()
        self.stages[stage] = (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns


def health_gate(manifest: Manifest, is_live: bool) -> HealthGate:
    """The gate that a bundle asks for."""
    return HealthGate(manifest.frame_size_hw, is_live, sensor_bits=manifest.geometry.sensor_bits)
