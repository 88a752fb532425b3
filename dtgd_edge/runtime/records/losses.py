"""Counts what the audit log could not take, until a row can say so."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone

from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.records.row import Draft

NOT_RECORDED = "not recorded"


class Losses:
    """Verdicts and events that were not recorded."""

    def __init__(self) -> None:
        self._decisions: Counter[str] = Counter()
        self._events = 0
        self._frames: tuple[int, int] | None = None
        self._since_ns = 0
        self._why = ""

    def __bool__(self) -> bool:
        return self._events > 0 or self.verdicts > 0

    @property
    def verdicts(self) -> int:
        return self._decisions.total()

    def add(self, drafts: Iterable[Draft], why: str) -> None:
        """Count rows that were refused."""
        for draft in drafts:
            if not self:
                self._since_ns = draft.wall_ns
            self._why = why
            if draft.kind != "verdict":
                self._events += 1
                continue
            self._decisions[draft.columns["decision"]] += 1
            frame = draft.columns["frame"]
            first, last = self._frames or (frame, frame)
            self._frames = (min(first, frame), max(last, frame))

    def add_earlier(self, others: "Losses") -> None:
        """Take back an account that could not be recorded either."""
        if not others:
            return
        if self._frames is None or others._frames is None:
            self._frames = self._frames or others._frames
        else:
            pair = (*self._frames, *others._frames)
            self._frames = (min(pair), max(pair))
        self._decisions += others._decisions
        self._events += others._events
        self._since_ns = others._since_ns
        self._why = self._why or others._why

    def event(self) -> Event:
        """The account, for the log's own row."""
        return Event(NOT_RECORDED, self.text(), is_alarm=True, who="audit log")

    def text(self) -> str:
        """The account, in words."""
        since = datetime.fromtimestamp(self._since_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
        kinds = ", ".join(f"{count} {decision}" for decision, count in sorted(self._decisions.items()))
        parts = []
        if self._frames is not None:
            first, last = self._frames
            parts.append(f"{self.verdicts} verdicts ({kinds}) of frames {first} to {last}")
        if self._events:
            parts.append(f"{self._events} events")
        return f"{' and '.join(parts)} since {since}: {self._why}"
