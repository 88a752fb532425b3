"""What the judging thread does between frames: self-test, swap, recovery.

Sessions are not thread-safe, so whoever needs the session beside the frames comes here.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol


class Chore(Protocol):
    """Called again and again between frames, at least ten times a second. Structural: a function is one."""

    def __call__(self, now_ns: int) -> bool | None:
        """Do what is due; be back at once when nothing is.

        Args:
            now_ns: time.monotonic_ns().

        Returns:
            Whether there was something to do, so that its time is billed.

        Raises:
            DtgdError: what nobody can go on with; it ends the run.
        """
        ...


class Chores:
    """Runs chores in their order and bills their time."""

    def __init__(self, chores: Sequence[Chore], bill: Callable[[float], None]) -> None:
        self._chores = tuple(chores)
        self._bill = bill

    def run(self) -> None:
        """Call every chore once; `bill` is told the milliseconds of each that did something."""
        for chore in self._chores:
            begun_ns = time.monotonic_ns()
            if chore(begun_ns):
                self._bill((time.monotonic_ns() - begun_ns) / 1e6)
