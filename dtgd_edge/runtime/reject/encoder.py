"""Where the conveyor is: an encoder's counts, now and a moment ago."""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

# Counts are remembered for so long; a capture older than that cannot be placed on the conveyor.
_MEMORY_NS = 30_000_000_000


class Encoder(Protocol):
    """Counts the conveyor's way. Structural: any class with this member is one."""

    def count(self) -> int:
        """Read the counts since some fixed moment; they do not wrap. Quick: called every few milliseconds.

        Raises:
            SinkError: it cannot be read.
        """
        ...


class SimulatedEncoder:
    """A conveyor that moves at a set speed.

    Args:
        counts_per_s: its speed; 0 stands still.
        clock_ns: monotonic time, nanoseconds.
    """

    def __init__(self, counts_per_s: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._speed = counts_per_s
        self._since_ns = clock_ns()
        self._before = 0.0

    def count(self) -> int:
        return int(self._before + self._speed * (self._clock_ns() - self._since_ns) / 1e9)

    def run_at(self, counts_per_s: float) -> None:
        """Change the speed; the conveyor goes on from where it is."""
        now_ns = self._clock_ns()
        self._before += self._speed * (now_ns - self._since_ns) / 1e9
        self._since_ns, self._speed = now_ns, counts_per_s


class EncoderTrace:
    """The counts of the last half minute, so that a capture in the past gets its place on the conveyor.

    A conveyor that swings back a little is still where it was: only the way forward counts.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, count: int) -> None:
        """Remember a reading; times must not fall."""
        newest = self._samples[-1][1] if self._samples else count
        count = max(count, newest)
        # While it stands still, the first and the last reading say all.
        if len(self._samples) > 1 and self._samples[-2][1] == self._samples[-1][1] == count:
            self._samples.pop()
        self._samples.append((now_ns, count))
        while len(self._samples) > 2 and self._samples[1][0] < now_ns - _MEMORY_NS:
            self._samples.popleft()

    def clear(self) -> None:
        """Forget everything: the counter has started anew."""
        self._samples.clear()

    def at(self, moment_ns: int) -> int | None:
        """Say where the conveyor was: between two readings in proportion; None before the first."""
        later_ns, later = 0, 0
        for sample_ns, count in reversed(self._samples):
            if sample_ns <= moment_ns:
                if not later_ns:
                    return count
                share = (moment_ns - sample_ns) / (later_ns - sample_ns)
                return count + round(share * (later - count))
            later_ns, later = sample_ns, count
        return None
