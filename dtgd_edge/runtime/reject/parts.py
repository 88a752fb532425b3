"""Parts between the camera and the ejector, in the order in which they get there."""

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field

from dtgd_edge.runtime.reject.settings import Combine
from dtgd_edge.verdict import Decision, Verdict

# So many parts may be on their way; more means that the delay or the trigger is set wrongly.
PARTS_LIMIT = 4096
# So many of those that have passed are remembered, to know a late verdict from a new part.
_PASSED_LIMIT = 1024

_WORST_FIRST = (Decision.NG, Decision.NO_DECISION, Decision.OK)


@dataclass(slots=True, eq=False)
class Part:
    """One part on its way.

    Attributes:
        number: as the source counts it.
        due: its moment at the ejector, in nanoseconds or encoder counts.
        verdict: the one that counts so far; None before the first.
        received: verdicts so far.
        is_told: whether its result was given to the controller.
    """

    number: int
    due: int
    verdict: Verdict | None = None
    received: int = 0
    is_told: bool = field(default=False)


class Parts:
    """Keeps parts in the order of their moments at the ejector.

    Args:
        frames_per_part: verdicts that make a part complete.
        combine: which of several verdicts counts.
    """

    def __init__(self, frames_per_part: int, combine: Combine) -> None:
        self._frames_per_part = frames_per_part
        self._combine = combine
        self._waiting: list[Part] = []
        self._by_number: dict[int, Part] = {}
        self._passed: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Part | None:
        """The part that reaches the ejector next."""
        return self._waiting[0] if self._waiting else None

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= PARTS_LIMIT

    @property
    def has_unjudged(self) -> bool:
        """Whether a part waits for a verdict."""
        return any(not self.is_complete(part) for part in self._waiting)

    def find(self, number: int) -> Part | None:
        """Look a part up that is on its way."""
        return self._by_number.get(number)

    def has_passed(self, number: int, captured_ns: int) -> bool:
        """Whether a part of this number went by after a moment; a source may count from 0 again."""
        passed_ns = self._passed.get(number)
        return passed_ns is not None and captured_ns <= passed_ns

    def add(self, number: int, due: int) -> Part:
        """Put a part on its way; the first of two with the same moment stays the first."""
        part = Part(number, due)
        insort(self._waiting, part, key=lambda waiting: waiting.due)
        self._by_number[number] = part
        return part

    def judge(self, part: Part, verdict: Verdict) -> None:
        """Note a verdict on a part."""
        part.received += 1
        if part.verdict is None or self._combine == "last" or _is_worse(verdict, part.verdict):
            part.verdict = verdict

    def is_complete(self, part: Part) -> bool:
        """Whether every verdict on a part is here."""
        return part.received >= self._frames_per_part

    def untold(self) -> Part | None:
        """The next part whose result may be told: those before it were told."""
        for part in self._waiting:
            if not part.is_told:
                return part if self.is_complete(part) else None
        return None

    def pass_first(self, now_ns: int) -> Part:
        """Take the first part off the conveyor: it is at the ejector."""
        part = self._waiting.pop(0)
        if self._by_number.get(part.number) is part:
            del self._by_number[part.number]
        self.note_passed(part.number, now_ns)
        return part

    def note_passed(self, number: int, now_ns: int) -> None:
        """Remember that a part went by."""
        self._passed[number] = now_ns
        self._passed.move_to_end(number)
        while len(self._passed) > _PASSED_LIMIT:
            self._passed.popitem(last=False)


def _is_worse(verdict: Verdict, other: Verdict) -> bool:
    return _WORST_FIRST.index(verdict.decision) < _WORST_FIRST.index(other.decision)
