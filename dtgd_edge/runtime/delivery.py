"""Gives every verdict to every sink, and knows what the line does when one of them fails."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.judge import ok_taken_back
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

OnFailure = Literal["end", "hold", "tell"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Outlet:
    """A sink, its name, and what its failure means for the line.

    Attributes:
        sink: stays open.
        name: for people: "audit log", "mqtt".
        on_failure: "end": the run ends with its error. "hold": the run goes on, but no verdict is OK
            (NG stays NG) until the sink takes one again; sinks of this kind are served first, so that no
            OK leaves the line that one of them refused. "tell": the run goes on and the verdict is lost
            to that sink; events "sink down" and "sink back" tell of it.
    """

    sink: Sink
    name: str
    on_failure: OnFailure = "end"

    def __post_init__(self) -> None:
        if self.on_failure not in get_args(OnFailure):
            raise ConfigError(
                f"sink {self.name!r} has on_failure {self.on_failure!r}; "
                f"expected one of {', '.join(get_args(OnFailure))}; correct it"
            )


class Delivery:
    """The sinks of a run.

    Args:
        sinks: served in this order, those that may hold the line first; a bare sink ends the run when it
            fails.
        events: are told when a sink goes down and comes back.
    """

    def __init__(self, sinks: Sequence[Sink | Outlet], events: Events) -> None:
        outlets = [sink if isinstance(sink, Outlet) else Outlet(sink, type(sink).__name__) for sink in sinks]
        self._outlets = sorted(outlets, key=lambda outlet: outlet.on_failure != "hold")
        self._events = events
        self._down: dict[Outlet, int] = {}
        self._hold: str | None = None
        self._failures: Counter[str] = Counter()

    @property
    def failures(self) -> Mapping[str, int]:
        """Verdicts that a sink refused, by the name of the sink."""
        return dict(self._failures)

    def give(self, verdict: Verdict, frame: Frame) -> Verdict:
        """Give a verdict to every sink: a full disk must not keep a bad part from being rejected.

        Returns:
            What the last sinks were given: never OK while a sink holds the line.

        Raises:
            Exception: the first error of the sinks that end the run; the others were served first.
        """
        if self._hold is not None:
            verdict = ok_taken_back(verdict, self._hold)
        first: Exception | None = None
        for outlet in self._outlets:
            try:
                outlet.sink.write(verdict, frame)
            except Exception as exc:
                self._failures[outlet.name] += 1
                if outlet.on_failure != "end":
                    self._went_down(outlet, exc)
                elif first is None:
                    first = exc
                else:
                    _log.error("frame %d: another sink failed too: %s", frame.index, exc)
                if outlet.on_failure == "hold":
                    verdict = ok_taken_back(verdict, f"sink down: {outlet.name}: {exc}")
            else:
                self._came_back(outlet)
        self._hold = next(
            (f"sink down: {o.name} refused a verdict" for o in self._down if o.on_failure == "hold"), None
        )
        if first is not None:
            raise first
        return verdict

    def _went_down(self, outlet: Outlet, error: Exception) -> None:
        if outlet not in self._down:
            if not isinstance(error, SinkError):
                _log.error("sink %s failed in a way nobody foresaw", outlet.name, exc_info=error)
            effect = (
                "no part is OK until it is back"
                if outlet.on_failure == "hold"
                else ("the line runs on without it")
            )
            self._events.tell(Event("sink down", f"{outlet.name}: {error}; {effect}", is_alarm=True))
        self._down[outlet] = self._down.get(outlet, 0) + 1

    def _came_back(self, outlet: Outlet) -> None:
        refused = self._down.pop(outlet, 0)
        if refused:
            self._events.tell(Event("sink back", f"{outlet.name}: it refused {refused} verdicts"))
