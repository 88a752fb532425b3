"""An output without a controller: remembers what was shown and when."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.reject.output import Commands
from dtgd_edge.runtime.reject.signals import Signals


@dataclass(frozen=True, slots=True)
class Transition:
    """Signals that differ from those before.

    Attributes:
        at_ns: time.monotonic_ns() when they were shown.
        signals: all of them.
    """

    at_ns: int
    signals: Signals


class SimulatedOutput:
    """Records transitions; acknowledges results if told to.

    Args:
        capacity: transitions kept; the oldest make room.
        acknowledges: whether it answers every result at once, as a quick controller does.
    """

    name = "simulator"
    is_required = True

    def __init__(self, capacity: int = 10_000, *, acknowledges: bool = False) -> None:
        self._transitions: deque[Transition] = deque(maxlen=capacity)
        self._acknowledges = acknowledges
        self._commands: Commands | None = None
        self._changed = threading.Condition()
        self.is_up = True
        self.is_closed = False

    @property
    def transitions(self) -> list[Transition]:
        """What was shown, oldest first."""
        with self._changed:
            return list(self._transitions)

    def wait_for(self, is_reached: Callable[[Signals], bool], timeout_s: float) -> Transition | None:
        """The first transition with signals of some kind, waiting for it; None when there is none in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: next((t for t in self._transitions if is_reached(t.signals)), None), timeout_s
            )

    def open(self, commands: Commands) -> None:
        self._commands = commands

    def show(self, signals: Signals) -> None:
        if self.is_closed:
            raise SinkError("the simulator is closed; expected no more signals; open another")
        with self._changed:
            self._transitions.append(Transition(time.monotonic_ns(), signals))
            self._changed.notify_all()
        if self._acknowledges and self._commands and signals.is_result_valid and signals.result:
            self._commands.acknowledge(signals.result.sequence)

    def close(self) -> None:
        self.is_closed = True
