"""The time after a switch in which the line goes back by itself."""

from collections import deque

from dtgd_edge.verdict import Decision


class Probation:
    """Watches the verdicts of a bundle that was switched to.

    Args:
        begun_ns: time.monotonic_ns() of the switch.
        seconds: how long it lasts at least.
        frames: frames it lasts at least; the rates are those of so many newest frames.
        max_ng, max_no_decision: largest allowed rates.
    """

    def __init__(
        self, begun_ns: int, seconds: float, frames: int, max_ng: float, max_no_decision: float
    ) -> None:
        self._until_ns = begun_ns + round(seconds * 1e9)
        self._newest: deque[Decision] = deque(maxlen=frames)
        self._limits = ((Decision.NG, max_ng), (Decision.NO_DECISION, max_no_decision))

    def add(self, decision: Decision) -> None:
        """Count the verdict about one frame."""
        self._newest.append(decision)

    @property
    def fault(self) -> str | None:
        """Which rate is out of its bounds; None while there are too few frames to say so."""
        if not self._is_full:
            return None
        for decision, limit in self._limits:
            rate = self._newest.count(decision) / len(self._newest)
            if rate > limit:
                return (
                    f"{rate:.0%} of the newest {len(self._newest)} frames were {decision.value}, "
                    f"expected at most {limit:.0%}"
                )
        return None

    def is_passed(self, now_ns: int) -> bool:
        """Whether it has lasted long enough without a fault."""
        return self._is_full and now_ns >= self._until_ns and self.fault is None

    @property
    def _is_full(self) -> bool:
        return len(self._newest) == self._newest.maxlen
