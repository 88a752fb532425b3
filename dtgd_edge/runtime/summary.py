"""What a run of the loop amounts to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dtgd_edge.percentiles import Percentiles, RecentSamples
from dtgd_edge.verdict import Decision, Verdict

StoppedBy = Literal["end of source", "stop", "max_frames"]

# Reasons are counted by kind; a source that invents kinds must not fill the memory over the weeks.
_KINDS_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and times of one run.

    Attributes:
        frames: frames that were judged; ok + ng + no_decision.
        ok, ng, no_decision: verdicts of each kind.
        dropped: live frames that made room for newer ones.
        seconds: from start to end.
        latency_ms: from a frame's arrival to its verdict, milliseconds, of frames with a score.
        stages_ms: the same for each stage that ran, in the order they run; "write" is the sinks.
        reasons: NO_DECISION verdicts by the kind of their reason.
        stopped_by: why it ended.

    Counts and maxima are exact; percentiles are those of the newest 10,000 samples.
    """

    frames: int
    ok: int
    ng: int
    no_decision: int
    dropped: int
    seconds: float
    latency_ms: Percentiles
    stages_ms: Mapping[str, Percentiles]
    reasons: Mapping[str, int]
    stopped_by: StoppedBy

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "frames": self.frames,
            "ok": self.ok,
            "ng": self.ng,
            "no_decision": self.no_decision,
            "dropped": self.dropped,
            "seconds": round(self.seconds, 3),
            "latency_ms": self.latency_ms.record(),
            "stages_ms": {stage: times.record() for stage, times in self.stages_ms.items()},
            "reasons": dict(self.reasons),
            "stopped_by": self.stopped_by,
        }


class Tally:
    """Gathers a summary verdict by verdict, in bounded memory."""

    def __init__(self) -> None:
        self._decisions: Counter[Decision] = Counter()
        self._latency_ms = RecentSamples()
        self._stages_ms: dict[str, RecentSamples] = {}
        self._reasons: Counter[str] = Counter()

    @property
    def frames(self) -> int:
        return self._decisions.total()

    def add(self, verdict: Verdict, latency_ms: float, write_ms: float) -> None:
        """Count one verdict.

        Args:
            latency_ms: from the frame's arrival to its verdict.
            write_ms: spent in the sinks.
        """
        self._decisions[verdict.decision] += 1
        if verdict.reason is not None:
            kind = verdict.reason.partition(":")[0]
            is_known = kind in self._reasons or len(self._reasons) < _KINDS_LIMIT
            self._reasons[kind if is_known else "other"] += 1
        if verdict.score is not None:
            self._latency_ms.add(latency_ms)
        for stage, duration_ms in (*verdict.stages_ms.items(), ("write", write_ms)):
            self._stages_ms.setdefault(stage, RecentSamples()).add(duration_ms)

    def summary(self, dropped: int, seconds: float, stopped_by: StoppedBy) -> Summary:
        """Close the account."""
        # A run whose first frame had no score met "write" before "score".
        order = {stage: place for place, stage in enumerate(_STAGE_ORDER)}
        stages = sorted(self._stages_ms, key=lambda stage: order.get(stage, len(order)))
        return Summary(
            frames=self.frames,
            ok=self._decisions[Decision.OK],
            ng=self._decisions[Decision.NG],
            no_decision=self._decisions[Decision.NO_DECISION],
            dropped=dropped,
            seconds=seconds,
            latency_ms=self._latency_ms.percentiles(),
            stages_ms={stage: self._stages_ms[stage].percentiles() for stage in stages},
            reasons=dict(self._reasons),
            stopped_by=stopped_by,
        )


_STAGE_ORDER = ("capture", "wait", "gate", "geometry", "score", "decide", "write")
