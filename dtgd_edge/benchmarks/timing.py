"""Time a bundle the way the line uses it: frame by frame through the Inspector, stage by stage."""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.core_wait import CoreWait
from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.benchmarks.pace import Pace, Takt, Turn
from dtgd_edge.benchmarks.sensors import SensorWatch
from dtgd_edge.bundle import Bundle
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import DataError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.health import HealthGate
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session
from dtgd_edge.runtime.source import Frame

WAIT, SCORE, TOTAL, LOOP, NO_CORE = "wait", "score", "total", "all but score", "no core"
SETTLE_S = 0.005
ONE_AFTER_THE_OTHER = Pace()
_DIGITS = 4  # a tenth of a microsecond

Stages = dict[str, Percentiles]
Samples = dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratios of times that were taken side by side.

    Attributes:
        median: of the ratios of the single frames.
        lower, upper: quartiles; the middle half of the ratios lies between them.
    """

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> "Ratio":
        """Divide frame by frame; both [N], N >= 1."""
        median, lower, upper = np.percentile(np.divide(over, under), (50, 25, 75))
        return cls(float(median), float(lower), float(upper))


@dataclass(frozen=True, slots=True)
class AfterGap:
    """What came out after idle gaps of one length.

    Attributes:
        gap_ms: idle time between the last verdict and the moment when the frame was due.
        stages_ms: as of a measurement, of these frames only.
    """

    gap_ms: float
    stages_ms: Stages


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
        stages_ms: milliseconds per stage; "total" is from arrival to verdict, without capture, and
            "all but score" what of it neither the session takes nor waiting. On a line a frame arrives
            when it is due, and "wait" is from then to the moment when somebody begins with it. "no core" is
            what of all this a thread could have run but other programs had the cores, where that is counted.
        speed: median over the frames of the first subject's time to score over this one's.
        machine: where.
        after_gaps: stages_ms after each idle gap by itself.
        takt: whether verdicts came in time; None without a fixed pace.
        samples_ms: all times, stage by stage, in the order of the frames.
        gaps_ms: the idle gap before each of these frames; empty without gaps.
    """

    backend: str
    device: str
    precision: str
    graph_sha256: str
    frame_hw: tuple[int, int]
    warm_up: int
    stages_ms: Stages
    speed: float
    machine: Machine
    after_gaps: tuple[AfterGap, ...] = ()
    takt: Takt | None = None
    samples_ms: Samples = field(default_factory=dict)
    gaps_ms: tuple[float, ...] = ()

    @property
    def frames_per_s(self) -> float:
        """How many frames a second can be judged at most, one after the other, by the median frame."""
        total, wait = (self.samples_ms.get(stage, ()) for stage in (TOTAL, WAIT))
        busy = np.subtract(total, wait) if wait else total
        median_ms = Percentiles.of(busy).p50
        return 1e3 / median_ms if median_ms else 0.0

    def samples_by_gap(self) -> dict[float | None, Samples]:
        """`samples_ms` after each idle gap by itself; all of them under None without gaps."""
        if not self.gaps_ms:
            return {None: self.samples_ms}
        return {
            gap: {
                stage: tuple(ms for ms, before in zip(samples, self.gaps_ms, strict=True) if before == gap)
                for stage, samples in self.samples_ms.items()
            }
            for gap in dict.fromkeys(self.gaps_ms)
        }

    def record(self) -> dict[str, Any]:
        """Plain JSON values, without the single times."""
        values = {**mapping_from_record(self), "frames_per_s": round(self.frames_per_s, 1)}
        del values["samples_ms"], values["gaps_ms"]
        return values


def measure(
    subjects: Sequence[tuple[Bundle, str]],
    pictures: Sequence[NDArray[np.uint8]],
    *,
    frames: int = 200,
    warm_up: int = 20,
    threads: int | None = None,
    pace: Pace = ONE_AFTER_THE_OTHER,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Measurement]:
    """Judge the same frames with each subject in turn, interleaved so that foreign load hits all alike.

    At the pace of a line and with idle gaps a subject's turn is several frames long, for on its line
    there is nobody else; the first one is not counted.

    Args:
        subjects: bundles, each with a backend as open_session takes it.
        pictures: uint8 BGR [H, W, 3], all of one size; used round and round.
        frames: counted frames per subject.
        warm_up: frames per subject before that.
        threads: as open_session takes them.
        pace: when frames come.
        progress: is told how many of how many frames have been counted.

    Raises:
        BackendError: a session cannot be opened or fails.
        ConfigError: the pace has more gaps than there are frames.
        DataError: a picture cannot be judged.
    """
    turns = list(pace.turns(frames))
    with contextlib.ExitStack() as stack:
        inspectors = []
        for bundle, backend in subjects:
            # Frames of any size may be timed, whatever the bundle was trained on.
            gate = HealthGate(None, is_live=False)
            inspectors.append(Inspector(open_session(bundle, backend, threads), bundle.manifest, gate))
            stack.callback(inspectors[-1].close)
        core_wait = CoreWait()
        stack.callback(core_wait.close)
        lines = [_Line(inspector, pictures, pace, core_wait) for inspector in inspectors]
        for turn in [Turn(0, lead_in=1)] * warm_up:
            for line in lines:
                line.judge(turn)
        watch = stack.enter_context(SensorWatch())
        for index, turn in enumerate(turns):
            watch.look(is_due=index in (0, len(turns) - 1))
            for line in lines:
                line.judge(turn)
            progress(len(lines[0].rows), frames)
        machine = this_machine(watch=watch)
        scores = [[row[SCORE] for row in line.rows] for line in lines]
        return [
            _measurement(bundle, line, warm_up, Ratio.of(scores[0], own).median, machine, pace)
            for (bundle, _), line, own in zip(subjects, lines, scores, strict=True)
        ]


class _Line:
    """One subject at work; its turns, and the times of the counted frames."""

    def __init__(
        self,
        inspector: Inspector,
        pictures: Sequence[NDArray[np.uint8]],
        pace: Pace,
        core_wait: CoreWait,
    ) -> None:
        self.inspector = inspector
        self.rows: list[dict[str, float]] = []
        self.gaps_ms: list[float] = []
        self.frame_hw = (pictures[0].shape[0], pictures[0].shape[1])
        self._pictures = itertools.cycle(pictures)
        self._pace = pace
        self._core_wait = core_wait

    def judge(self, turn: Turn) -> None:
        due = time.monotonic_ns()
        for number in range(-turn.lead_in, turn.frames):
            waited = self._core_wait.now_ns()
            _sleep_until(due)
            row = self._timed(due)
            if (no_core_ms := self._core_wait.since_ms(waited)) is not None:
                row[NO_CORE] = round(no_core_ms, _DIGITS)
            if number >= 0:
                self.rows.append(row)
                self.gaps_ms += [] if turn.gap_ms is None else [turn.gap_ms]
            now = time.monotonic_ns()
            if self._pace.period_ms is None:
                due = now + round((turn.gap_ms or 0.0) * 1e6)
            else:
                due += round(self._pace.period_ms * 1e6)
                # What is not counted makes nothing late.
                due = max(due, now) if number < 0 else due
        # A pool's threads go on spinning for a while, which would slow the next subject down.
        time.sleep(SETTLE_S)

    def _timed(self, due: int) -> dict[str, float]:
        """Milliseconds per stage of one frame that was due at a time, and their total."""
        verdict = self.inspector.inspect(Frame(next(self._pictures), len(self.rows), due))
        total_ms = (time.monotonic_ns() - due) / 1e6
        if verdict.score is None:
            raise DataError(
                f"a frame was not judged ({verdict.reason}), so that it cannot be timed; expected frames as "
                "a line takes them; export the bundle from pictures like those of the line"
            )
        stages = {stage: ms for stage, ms in verdict.stages_ms.items() if stage != "capture"}
        loop_ms = total_ms - stages[SCORE] - stages[WAIT]
        if not self._pace.is_line:
            del stages[WAIT]  # nothing was waited for
        return {stage: round(ms, _DIGITS) for stage, ms in {**stages, LOOP: loop_ms, TOTAL: total_ms}.items()}


def _sleep_until(due_ns: int) -> None:
    if (left_ns := due_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / 1e9)


def _measurement(
    bundle: Bundle, line: _Line, warm_up: int, speed: float, machine: Machine, pace: Pace
) -> Measurement:
    spec, manifest = line.inspector.session.spec, bundle.manifest
    measured = Measurement(
        backend=spec.backend,
        device=spec.device,
        precision=manifest.precision,
        graph_sha256=manifest.graph_sha256,
        frame_hw=line.frame_hw,
        warm_up=warm_up,
        stages_ms={},
        speed=speed,
        machine=machine,
        samples_ms={stage: tuple(row[stage] for row in line.rows) for stage in line.rows[0]},
        gaps_ms=tuple(line.gaps_ms),
    )
    by_gap = measured.samples_by_gap().items()
    return replace(
        measured,
        stages_ms=_percentiles(measured.samples_ms),
        after_gaps=tuple(AfterGap(gap, _percentiles(own)) for gap, own in by_gap if gap is not None),
        takt=None if pace.period_ms is None else Takt.of(measured.samples_ms[TOTAL], pace.period_ms),
    )


def _percentiles(samples: Samples) -> Stages:
    return {stage: Percentiles.of(ms) for stage, ms in samples.items()}
