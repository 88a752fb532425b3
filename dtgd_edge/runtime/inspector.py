"""From a frame to a verdict: policy only, no threads, no input or output."""

import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.appearance import appearance_of
from dtgd_edge.bundle import Bundle, Manifest
from dtgd_edge.errors import ConfigError, ShapeError
from dtgd_edge.runtime.case import Case, Stopwatch
from dtgd_edge.runtime.health import USUAL_LIMITS, Gate, HealthGate, HealthLimits
from dtgd_edge.runtime.hysteresis import Hysteresis
from dtgd_edge.runtime.policy import WHOLE_FRAME, PolicyConfig
from dtgd_edge.runtime.regions import regions_above
from dtgd_edge.runtime.session import Session, check_golden, open_session
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.zones import Zone, Zones, ZoneScore
from dtgd_edge.verdict import Decision, Region, Verdict, decide

STAGES = ("capture", "wait", "gate", "geometry", "score", "decide")


class Inspector:
    """Judges frames with an open session.

    Args:
        session: open; closed by `close`.
        manifest: of the bundle that the session runs.
        gate: keeps frames that cannot be judged from the session; None: a HealthGate for frames that
            are not live.
        policy: masks, zones, areas and hysteresis; its vote is for a PartJudge behind this.

    Raises:
        ConfigError: the policy does not fit the bundle.
        DataError: the policy's mask cannot be read.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        gate: Gate | None = None,
        policy: PolicyConfig = WHOLE_FRAME,
    ) -> None:
        self.session = session
        self.manifest = manifest
        self._gate = gate if gate is not None else health_gate(manifest, is_live=False)
        self._pictures = 0
        self._policy = policy
        self._zones = Zones(policy, manifest.geometry, manifest.pooling, manifest.frame_size_hw)
        self._hysteresis = None if policy.hysteresis is None else Hysteresis(policy.hysteresis)
        self._threshold = manifest.threshold.value
        if _has_factors(policy) and self._threshold <= 0:
            raise ConfigError(_factor_text(self._threshold))

    @classmethod
    def open(
        cls,
        path: Path | str,
        backend: str = "auto",
        is_live: bool = False,
        threads: int | None = None,
        *,
        policy: PolicyConfig = WHOLE_FRAME,
        limits: HealthLimits = USUAL_LIMITS,
    ) -> "Inspector":
        """Open a bundle and a session for it, and prove the session on the bundle's golden frames.

        Args:
            path: a bundle.
            backend: as open_session takes it; "null" computes nothing and proves nothing.
            is_live: whether frames will come from a live source.
            threads: as open_session takes them.
            policy: as the constructor takes it.
            limits: of the health gate.

        Raises:
            ConfigError, DataError: as the constructor raises them.
            BundleError: the bundle cannot be used.
            BackendError: no session, or one that disagrees with the golden scores.
        """
        bundle = Bundle.open(path)
        session = open_session(bundle, backend, threads)
        try:
            if session.spec.backend != "null":
                check_golden(bundle, session)
            return cls(session, bundle.manifest, health_gate(bundle.manifest, is_live, limits), policy)
        except BaseException:
            session.close()
            raise

    @property
    def threshold(self) -> float:
        """A score above it is NG; the bundle's until `set_threshold` is called."""
        return self._threshold

    def set_threshold(self, value: float) -> None:
        """Use another threshold from the next frame on; any thread may call it.

        What the bundle's threshold promised does not hold for another one.

        Raises:
            ConfigError: it is not a finite number, or not above 0 where the policy multiplies it.
        """
        if not math.isfinite(value):
            raise ConfigError(f"threshold {value} was given; expected a finite number; correct it")
        if _has_factors(self._policy) and value <= 0:
            raise ConfigError(_factor_text(value))
        # One assignment; a frame reads it once, so that decision and regions use the same value.
        self._threshold = float(value)

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
        case = Case(frame, self._threshold, Stopwatch(stages, begun_ns))

        reason = self._gate.fault(frame)
        case.watch.lap("gate")
        if reason is not None or frame.image is None:
            return case.undecided(reason or "lost frame: the source gave no picture")
        try:
            zones = self._zones.on_frames((frame.image.shape[0], frame.image.shape[1]))
            prepared = self.manifest.geometry.apply(frame.image)
        except ShapeError as exc:
            case.watch.lap("geometry")
            return case.undecided(f"wrong layout: {exc}")
        except ConfigError as exc:
            case.watch.lap("geometry")
            return case.undecided(f"wrong zone: {exc}")
        case.watch.lap("geometry")
        case.appearance = appearance_of(prepared)
        reason = self._gate.appearance_fault(case.appearance)
        case.watch.lap("gate")
        if reason is not None:
            return case.undecided(reason)
        # A graph with a fixed larger batch gets the frame several times; the first row is the answer.
        scores = self.session.score(np.repeat(prepared[None], self.session.spec.batch, axis=0))
        case.watch.lap("score")
        return self._decided(case, frame.image.shape, zones, float(scores.score[0]), scores.map[0])

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
        case: Case,
        shape: tuple[int, ...],
        zones: tuple[Zone, ...],
        score: float,
        graph_map: NDArray[np.float32],
    ) -> Verdict:
        # The graph's own score first: what a mask hides must be a number too.
        is_sound = math.isfinite(score) and bool(np.isfinite(graph_map).all())
        scored = self._zones.score(zones, score, graph_map, case.threshold) if is_sound else ()
        decisions = [decide(each.score, each.threshold) for each in scored]
        if not scored or Decision.NO_DECISION in decisions:
            case.watch.lap("decide")
            return case.undecided("not a number: the score or the map is NaN or infinite")
        frame_map = self.manifest.geometry.map_on_frame(graph_map, (shape[0], shape[1]))
        above = [each for each, decision in zip(scored, decisions, strict=True) if decision is Decision.NG]
        regions = self._regions(above, frame_map)
        # A zone whose areas are all too small does not count, however high its score.
        counted = [each for each in above if not self._is_small(each, regions)]
        note = "" if len(counted) == len(above) else self._small_text()
        is_ng = bool(counted)
        if self._hysteresis is not None:
            far = self._hysteresis.at_once_factor
            is_far = any(each.score > each.threshold * far for each in counted)
            is_ng = self._hysteresis.is_ng(bool(counted), is_far)
            if counted and not is_ng:
                note = f"not yet: above the threshold in {self._hysteresis.pending} in a row"
        decisive = max(counted or scored, key=lambda each: each.score - each.threshold)
        case.watch.lap("decide")
        return case.decided(
            Decision.NG if is_ng else Decision.OK,
            decisive,
            frame_map,
            regions if is_ng else (),
            "" if is_ng else note,
        )

    def _regions(self, above: list[ZoneScore], frame_map: NDArray[np.float32]) -> tuple[Region, ...]:
        """The areas of the zones that are above their thresholds, largest peak first."""
        found = [
            region
            for each in above
            for region in regions_above(
                frame_map,
                each.threshold,
                inside=each.zone.on_frame,
                smallest_area_px=self._policy.smallest_area_px,
                zone=each.zone.name,
            )
        ]
        return tuple(sorted(found, key=lambda region: -region.peak))

    def _is_small(self, scored: ZoneScore, regions: tuple[Region, ...]) -> bool:
        return all(region.zone != scored.zone.name for region in regions)

    def _small_text(self) -> str:
        return f"small: no area above the threshold has {self._policy.smallest_area_px} px"


def health_gate(manifest: Manifest, is_live: bool, limits: HealthLimits = USUAL_LIMITS) -> HealthGate:
    """The gate that a bundle asks for."""
    return HealthGate(
        manifest.frame_size_hw,
        is_live,
        limits,
        sensor_bits=manifest.geometry.sensor_bits,
        statistics=manifest.statistics,
    )


def _has_factors(policy: PolicyConfig) -> bool:
    return policy.hysteresis is not None or any(zone.threshold_factor != 1 for zone in policy.zones)


def _factor_text(threshold: float) -> str:
    return (
        f"threshold {threshold:g} cannot be multiplied by the policy's factors; expected one above 0; "
        "choose another threshold, or a policy without factors"
    )
