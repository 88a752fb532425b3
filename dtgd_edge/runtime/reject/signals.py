"""What a plant's controller sees of the line, as one record."""

from dataclasses import dataclass

from dtgd_edge.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """What was said about one part.

    Attributes:
        sequence: counts results from 1, without gaps; 0 belongs to the time before the first.
        part: the part's number.
        decision: OK, NG or NO_DECISION.
        is_reject: whether the ejector is to take the part.
        score: None when no score was computed.
        threshold: a score above it is NG.
        reason: why there is no decision, as "kind: detail"; None otherwise.
    """

    sequence: int
    part: int
    decision: Decision
    is_reject: bool
    score: float | None
    threshold: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many parts met what fate since the start; ok + ng + no_decision is every part.

    Attributes:
        ok, ng, no_decision: parts by their decision.
        rejected: parts that the ejector was told to take.
        late: verdicts that came after their part had passed the ejector.
        missing: parts that reached the ejector without a verdict; also counted in no_decision.
        unacknowledged: results that the controller did not take in time.
    """

    ok: int = 0
    ng: int = 0
    no_decision: int = 0
    rejected: int = 0
    late: int = 0
    missing: int = 0
    unacknowledged: int = 0


@dataclass(frozen=True, slots=True)
class Signals:
    """The state of every signal at one moment.

    Attributes:
        is_ready: a part may come.
        is_busy: a part was announced and has no verdict yet.
        is_result_valid: `result` may be read; falls when it was acknowledged or the time for it is over.
        is_rejecting: the ejector's own signal, on for one pulse a part.
        is_stopped: the line shall stop; stays until somebody resumes.
        beats: rises by one with every half period of the heartbeat; stands still when nobody judges.
        result: the newest result; None before the first.
        counts: since the start.
    """

    is_ready: bool = False
    is_busy: bool = False
    is_result_valid: bool = False
    is_rejecting: bool = False
    is_stopped: bool = False
    beats: int = 0
    result: Result | None = None
    counts: Counts = Counts()

    @property
    def heartbeat(self) -> bool:
        """A bit that changes for as long as the line is judged; a controller must watch it."""
        return self.beats % 2 == 1


# The part that a verdict is about: frames of a source that knows no parts are parts themselves.
def part_of(verdict: Verdict) -> int:
    """Number of the part that a verdict is about."""
    return verdict.frame_index if verdict.part is None else verdict.part
