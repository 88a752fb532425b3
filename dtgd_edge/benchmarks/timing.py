"""Time a bundle the way the line uses it: frame by frame through the Inspector, stage by stage."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.bundle import Bundle
from dtgd_edge.config import mapping_from_record
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.health import HealthGate
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session
from dtgd_edge.runtime.source import Frame

TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of one session.

    Attributes:
        backend: "ort", "null", ...
        device: where it ran, for people.
        precision: of the bundle.
        graph_sha256: of the bundle.
        frame_hw: size of the frames that were judged.
        warm_up: frames judged before the clock counted.
        stages_ms: milliseconds per stage; "total" is from arrival to verdict, without capture.
        machine: where.
    """

    backend: str
    device: str
    precision: str
    graph_sha256: str
    frame_hw: tuple[int, int]
    warm_up: int
    stages_ms: dict[str, Percentiles]
    machine: Machine

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return mapping_from_record(self)


def measure(
    bundle: Bundle,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    backends: Sequence[str] = ("auto", "null"),
    frames: int = 200,
    warm_up: int = 20,
    threads: int | None = None,
) -> list[Measurement]:
    """Judge the same frames with each backend in turn, interleaved so that foreign load hits all alike.

    Args:
        bundle: to open.
        pictures: uint8 BGR [H, W, 3], all of one size; used round and round.
        backends: as open_session takes them.
        frames: counted frames per backend.
        warm_up: frames per backend before that.
        threads: as open_session takes them.

    Raises:
        BackendError: a session cannot be opened or fails.
    """
    # Frames of any size may be timed, whatever the bundle was trained on.
    inspectors = [
        Inspector(open_session(bundle, backend, threads), bundle.manifest, HealthGate(None, is_live=False))
        for backend in backends
    ]
    samples: list[dict[str, list[float]]] = [{} for _ in inspectors]
    try:
        for index, picture in enumerate(itertools.islice(itertools.cycle(pictures), frames + warm_up)):
            for inspector, times in zip(inspectors, samples, strict=True):
                arrived = time.monotonic_ns()
                verdict = inspector.inspect(Frame(picture, index, arrived))
                assert verdict.score is not None, verdict.reason
                total_ms = (time.monotonic_ns() - arrived) / 1e6
                if index >= warm_up:
                    for stage, ms in {**verdict.stages_ms, TOTAL: total_ms}.items():
                        if stage not in ("capture", "wait"):
                            times.setdefault(stage, []).append(ms)
        machine = this_machine()
        return [
            Measurement(
                backend=inspector.session.spec.backend,
                device=inspector.session.spec.device,
                precision=bundle.manifest.precision,
                graph_sha256=bundle.manifest.graph_sha256,
                frame_hw=(pictures[0].shape[0], pictures[0].shape[1]),
                warm_up=warm_up,
                stages_ms={stage: Percentiles.of(ms) for stage, ms in times.items()},
                machine=machine,
            )
            for inspector, times in zip(inspectors, samples, strict=True)
        ]
    finally:
        for inspector in inspectors:
            inspector.close()
