"""Who decides: about a frame, and about a part of which there may be several frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

Judged = tuple[Verdict, Frame]


class FrameJudge(Protocol):
    """Judges frames, as Inspector and LiveInspector do. Structural."""

    @property
    def threshold(self) -> float: ...

    def inspect(self, frame: Frame) -> Verdict:
        """Judge one frame.

        Raises:
            BackendError: the session failed.
        """
        ...


class PartJudge(Protocol):
    """Stands between the verdicts about frames and the sinks. Structural."""

    def add(self, verdict: Verdict, frame: Frame) -> list[Judged]:
        """Take the verdict about one frame and give back what is now decided; [] to wait for more."""
        ...

    def flush(self) -> list[Judged]:
        """Give back what still waits: no frame has come for a while, or the run ends."""
        ...


class Panel:
    """Several part judges, each deciding on what the one before it gave back; none: every frame is a part."""

    def __init__(self, judges: Sequence[PartJudge]) -> None:
        self._judges = tuple(judges)

    def add(self, verdict: Verdict, frame: Frame) -> list[Judged]:
        return self._from(0, [(verdict, frame)])

    def flush(self) -> list[Judged]:
        decided: list[Judged] = []
        for place, judge in enumerate(self._judges):
            decided += self._from(place + 1, judge.flush())
        return decided

    def _from(self, place: int, judged: list[Judged]) -> list[Judged]:
        for judge in self._judges[place:]:
            judged = [later for verdict, frame in judged for later in judge.add(verdict, frame)]
        return judged


def no_decision(
    frame: Frame, threshold: float, reason: str, stages_ms: Mapping[str, float] | None = None
) -> Verdict:
    """The verdict about a frame that was not judged.

    Args:
        reason: "kind: detail"; the kind is counted.
        stages_ms: the stages that ran, milliseconds.
    """
    return Verdict(
        Decision.NO_DECISION,
        frame.index,
        threshold,
        stages_ms=dict(stages_ms or {}),
        reason=reason,
        frame_name=frame.name,
        part=frame.part,
    )


def taken_back(verdict: Verdict, reason: str) -> Verdict:
    """The same verdict without its decision; score and map stay, as a record of what was seen."""
    return replace(verdict, decision=Decision.NO_DECISION, regions=(), reason=reason)


def ok_taken_back(verdict: Verdict, reason: str) -> Verdict:
    """The same verdict, which may no longer be OK; NG stays, so that a bad part is rejected all the same."""
    return verdict if verdict.decision is Decision.NG else taken_back(verdict, reason)
