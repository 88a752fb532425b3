"""A verdict that was not recorded is not acted upon as OK."""

from collections.abc import Sequence
from dataclasses import replace

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


class RecordedFirst(Sink):
    """Writes to the record first, and to the other sinks what may be acted upon.

    While the record refuses, the others get NO_DECISION ("not recorded: ...") in place of OK, so
    that the line goes on in its safe state; NG stays NG. Verdicts are recorded again as soon as the record
    takes them.

    Args:
        record: its SinkErrors do not end the run; it tells them as events and counts what it lost. Closed
            by whoever made it, like the others.
        others: the reject output, the operator's page ...
        is_required: False: the others get the verdict all the same.
    """

    def __init__(self, record: Sink, others: Sequence[Sink], is_required: bool = True) -> None:
        self._record = record
        self._others = tuple(others)
        self._is_required = is_required

    def write(self, verdict: Verdict, frame: Frame) -> None:
        """Deliver to all; raises the first SinkError of the others after each had its turn."""
        try:
            self._record.write(verdict, frame)
        except SinkError as exc:
            if self._is_required and verdict.decision is Decision.OK:
                verdict = replace(
                    verdict,
                    decision=Decision.NO_DECISION,
                    score=None,
                    map=None,
                    reason=f"not recorded: {exc}",
                )
        first: SinkError | None = None
        for sink in self._others:
            try:
                sink.write(verdict, frame)
            except SinkError as exc:
                first = first or exc
        if first is not None:
            raise first

    def close(self) -> None:
        """Nothing is held."""
