"""What the page changes: checked, done one at a time, and told to the line's events."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from dtgd_edge.errors import DtgdError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.page.active import Active
from dtgd_edge.runtime.page.alarms import Alarms
from dtgd_edge.runtime.page.controls import Controls
from dtgd_edge.runtime.page.refused import Refused
from dtgd_edge.verdict import Decision

_WHO_LENGTH = 60
_REASON_LENGTH = 300
# A control that hangs must not collect threads that wait for it.
_PATIENCE_S = 2.0

_log = logging.getLogger(__name__)


class Commands:
    """Does what an operator asks for.

    Args:
        controls: of the line.
        active: knows the threshold that is changed.
        alarms: that somebody may have seen.
        events: hear of everything, done or refused.
    """

    def __init__(self, controls: Controls, active: Active, alarms: Alarms, events: Events) -> None:
        self._controls = controls
        self._active = active
        self._alarms = alarms
        self._events = events
        self._one_at_a_time = threading.Lock()
        self._by_name: dict[str, Callable[[Mapping[str, Any], str], None]] = {
            "threshold": self._change_threshold,
            "trigger": self._trigger,
            "test-output": self._test_output,
            "seen": self._see,
            "switch": self._switch,
            "rollback": self._roll_back,
        }

    @property
    def names(self) -> frozenset[str]:
        """Of all commands, whether the line has them or not."""
        return frozenset(self._by_name)

    def run(self, name: str, values: Mapping[str, Any], address: str) -> None:
        """Do one command.

        Args:
            name: one of `names`.
            values: what the request said; "who" always.
            address: where it came from.

        Raises:
            Refused: a value is wrong, the line has no such control, is busy, or refused.
        """
        who = f"{_text(values, 'who', 'your name', 1, _WHO_LENGTH)} (page, {address})"
        if not self._one_at_a_time.acquire(timeout=_PATIENCE_S):
            raise Refused(503, "the line is busy with another command; try again", 2)
        try:
            self._by_name[name](values, who)
        finally:
            self._one_at_a_time.release()

    def _change_threshold(self, values: Mapping[str, Any], who: str) -> None:
        value = values.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            raise Refused(400, f"the threshold {value!r} is not a number; expected one; correct it")
        reason = _text(values, "reason", "a reason", 3, _REASON_LENGTH)
        change, before = self._controls.change_threshold, self._active.threshold
        action = None if change is None else lambda: change(float(value), reason, who)
        self._do("threshold", "changed", f"from {before:.6g} to {value:.6g}, because: {reason}", who, action)

    def _trigger(self, values: Mapping[str, Any], who: str) -> None:
        trigger = self._controls.trigger
        action = None if trigger is None else lambda: trigger(who)
        self._do("trigger", "pressed", "one picture was asked for", who, action)

    def _test_output(self, values: Mapping[str, Any], who: str) -> None:
        try:
            decision = Decision(values.get("decision"))
        except ValueError:
            known = ", ".join(decision.value for decision in Decision)
            raise Refused(400, f"the decision is not known; expected one of {known}; correct it") from None
        test = self._controls.test_output
        action = None if test is None else lambda: test(decision, who)
        self._do("output", "tested", f"with {decision.value}", who, action)

    def _see(self, values: Mapping[str, Any], who: str) -> None:
        count = self._alarms.see()
        if count:
            self._events.tell(Event("alarms seen", f"{count} of them", who=who))

    def _switch(self, values: Mapping[str, Any], who: str) -> None:
        reason, switch = _text(values, "reason", "a reason", 3, _REASON_LENGTH), self._controls.switch
        action = None if switch is None else lambda: switch(who, reason)
        self._do("switch", "asked for", f"because: {reason}", who, action)

    def _roll_back(self, values: Mapping[str, Any], who: str) -> None:
        reason, rollback = _text(values, "reason", "a reason", 3, _REASON_LENGTH), self._controls.rollback
        action = None if rollback is None else lambda: rollback(who, reason)
        self._do("rollback", "asked for", f"because: {reason}", who, action)

    def _do(self, subject: str, done: str, detail: str, who: str, action: Callable[[], None] | None) -> None:
        if action is None:
            raise Refused(404, f"this line has no {subject} that can be {done}")
        try:
            action()
        except DtgdError as exc:
            self._events.tell(Event(f"{subject} not {done}", f"{detail}; {exc}", who=who))
            raise Refused(409, str(exc)) from exc
        except Exception as exc:
            # The operator is told that it failed, but not with a stack of ours.
            _log.exception("%s could not be %s", subject, done)
            self._events.tell(Event(f"{subject} not {done}", f"{detail}; the log says why", who=who))
            raise Refused(500, f"the {subject} could not be {done}; look into the line's log") from exc
        self._events.tell(Event(f"{subject} {done}", detail, who=who))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _text(values: Mapping[str, Any], key: str, what: str, shortest: int, longest: int) -> str:
    """A text of one line; what cannot be printed would forge lines of a log."""
    value = values.get(key)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not shortest <= len(text) <= longest or not text.isprintable():
        raise Refused(
            400, f"{key} is missing or no plain text; expected {what} of {shortest} to {longest} characters"
        )
    return text
