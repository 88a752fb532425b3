"""Master parts: a known good and a known bad part, shown every few hours to prove the whole station."""

import threading
import time
from dataclasses import dataclass, field
from typing import Literal, get_args

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.judge import Judged, ok_taken_back, taken_back
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

Expected = Literal["OK", "NG"]
Shown = Literal["in order", "by name"]


@dataclass(frozen=True, slots=True)
class MasterPart:
    """A physical part whose verdict is known.

    Attributes:
        name: what is written on it.
        expected: its verdict.
    """

    name: str
    expected: Expected


@dataclass(frozen=True, slots=True)
class MastersConfig:
    """The table [masters] of a line file.

    Attributes:
        parts: as [[masters.parts]]; none: there is no such mode.
        every_h: hours after which they are overdue.
        limit_s: seconds in which all have to be shown.
        shown: "in order": the parts after `begin` are the master parts, in their order (a line with a
            trigger). "by name": the next picture after `show(name)` is that part (a running camera).
        failure_holds: whether no part is OK from a failure until a pass; NG stays NG.
        is_due_at_start: whether they are overdue until they pass the first time.
    """

    parts: tuple[MasterPart, ...] = ()
    every_h: float = 8.0
    limit_s: float = 120.0
    shown: Shown = "in order"
    failure_holds: bool = True
    is_due_at_start: bool = False

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) != len(names) or "" in names:
            raise ConfigError(
                f"masters has the parts {', '.join(map(repr, names))}; expected a different name for each; "
                "correct the names"
            )
        for key, value, known in [
            ("shown", self.shown, get_args(Shown)),
            *(("expected", part.expected, get_args(Expected)) for part in self.parts),
        ]:
            if value not in known:
                raise ConfigError(
                    f"masters has {key} {value!r}; expected one of {', '.join(known)}; correct it"
                )
        if not 0.0 < self.every_h <= 10_000.0 or not 1.0 <= self.limit_s <= 86_400.0:
            raise ConfigError(
                f"masters has every_h {self.every_h} and limit_s {self.limit_s}; "
                "expected every_h above 0 and limit_s 1 to 86400; correct them"
            )


@dataclass(frozen=True, slots=True)
class MastersState:
    """Where the master parts stand, for people.

    Attributes:
        is_running: whether they are being shown.
        waiting: names that are still to be shown.
        seen: "good 1: OK as expected", one for each that was shown.
        is_overdue: whether they should have been shown by now.
        hold_reason: why no part is OK; None if parts may be.
    """

    is_running: bool
    waiting: tuple[str, ...]
    seen: tuple[str, ...]
    is_overdue: bool
    hold_reason: str | None


@dataclass(slots=True)
class _Round:
    who: str
    since_ns: int
    waiting: list[MasterPart]
    seen: list[str] = field(default_factory=list)
    is_right: bool = True
    announced: MasterPart | None = None
    announced_ns: int = 0


class MasterParts:
    """A part judge, the last one, and a chore: keeps master parts out of the production.

    Their verdicts go on as NO_DECISION with the reason "master part: ...", score and map kept: the output
    goes to its safe state, the record says what was seen, and no counter of good and bad parts moves.
    `begin`, `show`, `cancel` and `state` belong to any thread.

    Args:
        config: which parts, how often.
        events: are told "master parts begun", "passed", "failed" and "overdue".
    """

    def __init__(self, config: MastersConfig, events: Events) -> None:
        self._config = config
        self._events = events
        self._lock = threading.Lock()
        self._round: _Round | None = None
        self._hold: str | None = None
        self._is_overdue = False
        wait_h = 0.0 if config.is_due_at_start else config.every_h
        self._due_ns = time.monotonic_ns() + _ns_from_hours(wait_h)

    @property
    def state(self) -> MastersState:
        """Where they stand."""
        with self._lock:
            current = self._round
            return MastersState(
                current is not None,
                () if current is None else tuple(part.name for part in current.waiting),
                () if current is None else tuple(current.seen),
                self._is_overdue,
                self._hold,
            )

    def begin(self, who: str) -> None:
        """Begin: what is captured from now on are master parts, until all were shown or time is up.

        Raises:
            ConfigError: no master parts are configured.
        """
        if not self._config.parts:
            raise ConfigError(
                "no master parts are known; expected [[masters.parts]] in the line file; add them"
            )
        with self._lock:
            self._round = _Round(who, time.monotonic_ns(), list(self._config.parts))
        names = ", ".join(part.name for part in self._config.parts)
        self._events.tell(Event("master parts begun", names, who=who))

    def show(self, name: str) -> None:
        """Say which master part the next picture shows.

        Raises:
            ConfigError: they have not begun, or it is none of those that wait.
        """
        with self._lock:
            waiting = [] if self._round is None else self._round.waiting
            part = next((part for part in waiting if part.name == name), None)
            if self._round is None or part is None:
                known = ", ".join(part.name for part in waiting) or "none"
                raise ConfigError(f"master part {name!r} does not wait; expected one of {known}; begin first")
            self._round.announced, self._round.announced_ns = part, time.monotonic_ns()

    def cancel(self, who: str, reason: str) -> None:
        """End without a result: as if they had not begun."""
        with self._lock:
            current, self._round = self._round, None
        if current is not None:
            self._events.tell(Event("master parts cancelled", reason, who=who))

    def add(self, verdict: Verdict, frame: Frame) -> list[Judged]:
        """Take a master part out of the production, and everything else as long as they failed."""
        event: Event | None = None
        with self._lock:
            current = self._round
            if current is None or frame.captured_ns < current.since_ns:
                return [(ok_taken_back(verdict, self._hold) if self._hold else verdict, frame)]
            part = self._shown(current, frame)
            if part is None:
                return [(taken_back(verdict, "master part: none was announced"), frame)]
            text = _seen(current, part, verdict)
            if not current.waiting:
                event = self._ended(current, ", ".join(current.seen))
        if event is not None:
            self._events.tell(event)
        return [(taken_back(verdict, f"master part: {text}"), frame)]

    def flush(self) -> list[Judged]:
        """Nothing ever waits here."""
        return []

    def __call__(self, now_ns: int) -> bool:
        """Watch the time: as a chore, so that no part has to come by for the alarm."""
        event: Event | None = None
        with self._lock:
            current = self._round
            if current is not None and now_ns - current.since_ns > self._config.limit_s * 1e9:
                current.is_right = False
                missing = ", ".join(part.name for part in current.waiting)
                event = self._ended(current, f"{missing} not shown within {self._config.limit_s:.0f} s")
            elif self._config.parts and not self._is_overdue and current is None and now_ns >= self._due_ns:
                self._is_overdue = True
                text = f"{self._config.every_h:g} hours have gone by; show the master parts"
                event = Event("master parts overdue", text, is_alarm=True)
        if event is not None:
            self._events.tell(event)
        return event is not None

    def _shown(self, current: _Round, frame: Frame) -> MasterPart | None:
        if self._config.shown == "in order":
            return current.waiting[0]
        part = current.announced
        if part is None or frame.captured_ns < current.announced_ns:
            return None
        current.announced = None
        return part

    def _ended(self, current: _Round, detail: str) -> Event:
        self._round = None
        if current.is_right:
            self._hold, self._is_overdue = None, False
            self._due_ns = time.monotonic_ns() + _ns_from_hours(self._config.every_h)
            return Event("master parts passed", detail, who=current.who)
        if self._config.failure_holds:
            self._hold = "master parts failed: show them again"
            detail += "; no part is OK until they pass"
        return Event("master parts failed", detail, is_alarm=True, who=current.who)


def _seen(current: _Round, part: MasterPart, verdict: Verdict) -> str:
    current.waiting.remove(part)
    decision = verdict.decision.value
    is_right = decision == part.expected
    score = "no score" if verdict.score is None else f"score {verdict.score:.4g}"
    outcome = "as expected" if is_right else f"but {part.expected} was expected"
    text = f"{part.name}: {decision} {outcome} ({score})"
    current.seen.append(text)
    current.is_right = current.is_right and is_right
    return text


def _ns_from_hours(hours: float) -> int:
    return round(hours * 3600e9)
