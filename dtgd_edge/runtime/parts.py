"""One verdict per part where several frames show it."""

import time
from dataclasses import dataclass, field, replace

from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.policy import VoteConfig
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

Judged = tuple[Verdict, Frame]


@dataclass(slots=True)
class _OpenPart:
    """A part whose frames are coming in."""

    part: int
    begun_ns: int
    judged: list[Judged] = field(default_factory=list)


class PartJudge:
    """Stands between inspector and sinks: takes verdicts about frames, gives verdicts about parts.

    A part is decided when all its frames have come, when a frame of another part comes, when `overdue` finds
    it waiting too long, or in `flush`. It is then

        NG           when `ng_frames` of its frames are NG;
        OK           when not, and at least as many frames as the vote asks for were judged;
        NO_DECISION  otherwise: what was not seen is not good.

    The part's verdict is that of one of its frames: of the NG frames, or else of the OK frames, the one
    furthest above its threshold, with a note that says how the frames voted. A NO_DECISION has the reason of
    the first frame that could not be judged, or "missing frames".

    A frame of an unknown part cannot vote: NG stays NG, OK becomes NO_DECISION. A frame that comes after
    its part was decided makes no second verdict; an event tells of it. `wait_ms` later the number is free for
    another part. Used by one thread.

    Args:
        config: None: every verdict passes through unchanged.
        events: told of late frames; None: they are only logged.
    """

    def __init__(self, config: VoteConfig | None, events: Events | None = None) -> None:
        self._config = config
        self._events = events or Events()
        self._open: _OpenPart | None = None
        self._decided_ns: dict[int, int] = {}

    def add(self, verdict: Verdict, frame: Frame) -> list[Judged]:
        """Take the verdict about a frame; give those about parts that are decided by now, oldest first."""
        config = self._config
        if config is None:
            return [(verdict, frame)]
        if verdict.part is None:
            return [(_without_part(verdict), frame)]
        if self._is_late(verdict.part, config):
            self._tell_late(verdict)
            return []
        done: list[Judged] = []
        if self._open is not None and self._open.part != verdict.part:
            done += self.flush()
        if self._open is None:
            self._open = _OpenPart(verdict.part, time.monotonic_ns())
        self._open.judged.append((verdict, frame))
        if len(self._open.judged) >= config.frames:
            done += self.flush()
        return done

    def overdue(self) -> list[Judged]:
        """Decide a part that has waited too long for its frames; call it whenever no frame came."""
        if self._open is None or self._config is None:
            return []
        waited_ms = (time.monotonic_ns() - self._open.begun_ns) / 1e6
        return self.flush() if waited_ms > self._config.wait_ms else []

    def flush(self) -> list[Judged]:
        """Decide the part whose frames were coming in; call it at the end."""
        if self._open is None or self._config is None:
            return []
        part, self._open = self._open, None
        self._decided_ns[part.part] = time.monotonic_ns()
        return [_decided(part.judged, self._config)]

    def _is_late(self, part: int, config: VoteConfig) -> bool:
        # Later the number belongs to another part: a source that came back may count from 0 again.
        oldest_ns = time.monotonic_ns() - round(config.wait_ms * 1e6)
        while self._decided_ns and next(iter(self._decided_ns.values())) < oldest_ns:
            del self._decided_ns[next(iter(self._decided_ns))]
        return part in self._decided_ns

    def _tell_late(self, verdict: Verdict) -> None:
        self._events.tell(
            Event(
                "late frame",
                f"frame {verdict.frame_index} of part {verdict.part} was {verdict.decision.value} after "
                "the part had been decided; expected fewer or quicker frames; check frames and wait_ms",
                is_alarm=True,
            )
        )


def _decided(judged: list[Judged], config: VoteConfig) -> Judged:
    ng = [pair for pair in judged if pair[0].decision is Decision.NG]
    ok = [pair for pair in judged if pair[0].decision is Decision.OK]
    missing = max(0, config.frames - len(judged))
    note = f"vote: {len(ng)} NG, {len(ok)} OK, {len(judged) - len(ng) - len(ok)} undecided, {missing} missing"
    if len(ng) >= config.ng_frames:
        verdict, frame = max(ng, key=_margin)
        return replace(verdict, note=note), frame
    if len(ng) + len(ok) >= config.judged:
        verdict, frame = max(ok, key=_margin)  # not empty: an OK needs at least ng_frames judged
        return replace(verdict, decision=Decision.OK, regions=(), note=note), frame
    verdict, frame = next((pair for pair in judged if pair[0].decision is Decision.NO_DECISION), judged[-1])
    reason = verdict.reason or f"missing frames: {len(judged)} of {config.frames} came; check the trigger"
    return _undecided(verdict, reason, note), frame


def _margin(pair: Judged) -> float:
    verdict, _ = pair
    assert verdict.score is not None, "OK and NG have a score"
    return verdict.score - verdict.threshold


def _without_part(verdict: Verdict) -> Verdict:
    if verdict.decision is not Decision.OK:
        return verdict
    reason = "unknown part: the source did not say which part the frame shows; set its trigger or parts"
    return _undecided(verdict, reason, "")


def _undecided(verdict: Verdict, reason: str, note: str) -> Verdict:
    """A verdict without a score: what was scored was a frame, and not the part."""
    return replace(
        verdict,
        decision=Decision.NO_DECISION,
        score=None,
        map=None,
        regions=(),
        reason=reason,
        zone="",
        note=note,
    )
