"""What the page knows about the verdicts so far: counts, the newest scores and times."""

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

LATENCY_WINDOW_S = 300.0
LATENCY_BUCKETS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 5000.0)
# A score over its threshold: 1 is the border between OK and NG.
SCORE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)

_RATE_WINDOW_S = 10.0
_SAMPLES = 10_000
_KINDS_LIMIT = 32


class Histogram:
    """Counts of samples in fixed buckets, as Prometheus wants them."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, sample: float) -> None:
        self.counts[bisect_left(self.bounds, sample)] += 1
        self.sum += sample

    def copy(self) -> "Histogram":
        """One that does not change any more."""
        other = Histogram(self.bounds)
        other.counts, other.sum = list(self.counts), self.sum
        return other


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One verdict in the trend.

    Attributes:
        sequence: counts verdicts from 1.
        score: None when there is none.
        threshold: it was judged by.
        decision: what came out.
    """

    sequence: int
    score: float | None
    threshold: float
    decision: Decision


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The state at one moment.

    Attributes:
        sequence: verdicts so far.
        counts: of each decision.
        reasons: NO_DECISION verdicts by the kind of their reason.
        latest: the newest verdict; None before the first.
        age_s: since the newest verdict; since the start before the first.
        uptime_s: since the start.
        undecided_in_row: verdicts in a row, to the newest, that were NO_DECISION.
        skipped: frame numbers without a verdict: frames that made room for newer ones, or that nobody
            wanted a verdict on.
        latency_ms: arrival to verdict, of the last minutes' frames with a score.
        per_minute: verdicts a minute, of the last seconds.
        trend: newest verdicts, oldest first.
        latencies_ms, scores: of the whole run.
    """

    sequence: int
    counts: dict[Decision, int]
    reasons: dict[str, int]
    latest: Verdict | None
    age_s: float
    uptime_s: float
    undecided_in_row: int
    skipped: int
    latency_ms: Percentiles
    per_minute: float
    trend: tuple[TrendPoint, ...]
    latencies_ms: Histogram
    scores: Histogram


class LineState:
    """Gathers verdicts in bounded memory; one thread adds, any thread reads.

    Args:
        trend: newest verdicts that are kept for the trend.
        clock_ns: the time, for durations.
    """

    def __init__(self, trend: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._begun_ns = clock_ns()
        self._latest_ns = self._begun_ns
        self._latest: Verdict | None = None
        self._latest_index: int | None = None
        self._sequence = 0
        self._counts: Counter[Decision] = Counter()
        self._reasons: Counter[str] = Counter()
        self._undecided_in_row = 0
        self._skipped = 0
        self._trend: deque[TrendPoint] = deque(maxlen=trend)
        self._samples: deque[tuple[int, float | None]] = deque(maxlen=_SAMPLES)
        self._latencies_ms = Histogram(LATENCY_BUCKETS_MS)
        self._scores = Histogram(SCORE_BUCKETS)

    def add(self, verdict: Verdict, frame: Frame) -> int:
        """Count one verdict; its sequence number."""
        now_ns = self._clock_ns()
        latency_ms = None if verdict.score is None else sum(verdict.stages_ms.values())
        with self._lock:
            self._sequence += 1
            self._latest, self._latest_ns = verdict, now_ns
            self._counts[verdict.decision] += 1
            if self._latest_index is not None and frame.index > self._latest_index:
                self._skipped += frame.index - self._latest_index - 1
            self._latest_index = frame.index
            self._count_reason(verdict)
            self._samples.append((now_ns, latency_ms))
            self._trend.append(TrendPoint(self._sequence, verdict.score, verdict.threshold, verdict.decision))
            if latency_ms is not None and verdict.score is not None:
                self._latencies_ms.add(latency_ms)
                if verdict.threshold > 0:
                    self._scores.add(verdict.score / verdict.threshold)
            return self._sequence

    def snapshot(self) -> Snapshot:
        """Look at it all; the line waits for some microseconds at most."""
        with self._lock:
            now_ns = self._clock_ns()
            samples = tuple(self._samples)
            latest_ns, begun_ns = self._latest_ns, self._begun_ns
            counts = {decision: self._counts[decision] for decision in Decision}
            reasons, trend = dict(self._reasons), tuple(self._trend)
            sequence, latest = self._sequence, self._latest
            undecided_in_row, skipped = self._undecided_in_row, self._skipped
            latencies_ms, scores = self._latencies_ms.copy(), self._scores.copy()
        oldest_ns = now_ns - round(LATENCY_WINDOW_S * 1e9)
        return Snapshot(
            sequence=sequence,
            counts=counts,
            reasons=reasons,
            latest=latest,
            age_s=(now_ns - latest_ns) / 1e9,
            uptime_s=(now_ns - begun_ns) / 1e9,
            undecided_in_row=undecided_in_row,
            skipped=skipped,
            latency_ms=Percentiles.of(ms for at_ns, ms in samples if ms is not None and at_ns >= oldest_ns),
            per_minute=_per_minute([at_ns for at_ns, _ in samples], now_ns, begun_ns),
            trend=trend,
            latencies_ms=latencies_ms,
            scores=scores,
        )

    def _count_reason(self, verdict: Verdict) -> None:
        if verdict.decision is not Decision.NO_DECISION:
            self._undecided_in_row = 0
            return
        self._undecided_in_row += 1
        kind = (verdict.reason or "").partition(":")[0]
        is_known = kind in self._reasons or len(self._reasons) < _KINDS_LIMIT
        self._reasons[kind if is_known else "other"] += 1


def _per_minute(times_ns: list[int], now_ns: int, begun_ns: int) -> float:
    """Verdicts a minute within the last seconds; of a quick line, within those that are remembered."""
    window_ns = max(1, min(round(_RATE_WINDOW_S * 1e9), now_ns - begun_ns))
    if len(times_ns) == _SAMPLES:
        window_ns = max(1, min(window_ns, now_ns - times_ns[0]))
    recent = len(times_ns) - bisect_left(times_ns, now_ns - window_ns)
    return recent * 60e9 / window_ns
