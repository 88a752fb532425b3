"""What a run of the loop amounts to."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dtgd_edge.percentiles import Percentiles, RecentSamples
from dtgd_edge.runtime.event import Event
from dtgd_edge.verdict import Decision, Verdict

StoppedBy = Literal["end of source", "stop", "max_frames"]

# Reasons and events are counted by kind; a source that invents kinds must not fill the memory over the weeks.
_KINDS_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and times of one run.

    Attributes:
        frames: frames that were judged.
        ok, ng, no_decision: delivered verdicts of each kind; together as many as frames, unless several
            frames of a part give one verdict.
        dropped: live frames that made room for newer ones.
        seconds: from start to end.
        latency_ms: from a frame's arrival to its verdict, milliseconds, of frames with a score.
        stages_ms: the same for each stage that ran, in the order they run; "write" is the sinks, "chore"
            what was done between frames.
        reasons: NO_DECISION verdicts by the kind of their reason.
        stopped_by: why it ended.
        sink_failures: verdicts that a sink refused, by the name of the sink.
        events: what happened, by kind: "source back", "self-test failed".
        chores: times that there was something to do between frames.

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
    sink_failures: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    chores: int = 0

    @property
    def reconnects(self) -> int:
        """Times that a lost source came back."""
        return self.events.get("source back", 0)

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
            "reconnects": self.reconnects,
            "sink_failures": dict(self.sink_failures),
            "events": dict(self.events),
            "chores": self.chores,
        }


class Tally:
    """Gathers a summary verdict by verdict, in bounded memory. Events may be counted by any thread."""

    def __init__(self) -> None:
        self._frames = 0
        self._decisions: Counter[Decision] = Counter()
        self._latency_ms = RecentSamples()
        self._stages_ms: dict[str, RecentSamples] = {}
        self._reasons: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._events_lock = threading.Lock()
        self._chores = 0

    @property
    def frames(self) -> int:
        return self._frames

    def add_frame(self, verdict: Verdict) -> None:
        """Count a frame by the verdict about it alone."""
        self._frames += 1
        for stage, duration_ms in verdict.stages_ms.items():
            self._add_stage(stage, duration_ms)

    def add_verdict(self, verdict: Verdict, latency_ms: float, write_ms: float) -> None:
        """Count a verdict that was delivered.

        Args:
            latency_ms: from the frame's arrival to its verdict.
            write_ms: spent in the sinks.
        """
        self._decisions[verdict.decision] += 1
        if verdict.reason is not None:
            _count(self._reasons, verdict.reason.partition(":")[0])
        if verdict.score is not None:
            self._latency_ms.add(latency_ms)
        self._add_stage("write", write_ms)

    def add_event(self, event: Event) -> None:
        """Count what happened; a listener for Events."""
        with self._events_lock:
            _count(self._events, event.kind)

    def add_chore(self, duration_ms: float) -> None:
        """Count something that was done between frames."""
        self._chores += 1
        self._add_stage("chore", duration_ms)

    def summary(
        self, dropped: int, seconds: float, stopped_by: StoppedBy, sink_failures: Mapping[str, int]
    ) -> Summary:
        """Close the account."""
        # A run whose first frame had no score met "write" before "score".
        order = {stage: place for place, stage in enumerate(_STAGE_ORDER)}
        stages = sorted(self._stages_ms, key=lambda stage: order.get(stage, len(order)))
        with self._events_lock:
            events = dict(self._events)
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
            sink_failures=sink_failures,
            events=events,
            chores=self._chores,
        )

    def _add_stage(self, stage: str, duration_ms: float) -> None:
        self._stages_ms.setdefault(stage, RecentSamples()).add(duration_ms)


def _count(kinds: Counter[str], kind: str) -> None:
    kinds[kind if kind in kinds or len(kinds) < _KINDS_LIMIT else "other"] += 1


_STAGE_ORDER = ("capture", "wait", "gate", "geometry", "score", "decide", "write", "chore")
