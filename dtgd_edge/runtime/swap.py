"""Another bundle on a running line: in the shadow first, then switched to, with a way back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, DtgdError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import HICCUPS, LiveInspector, Opened, OpenInspector
from dtgd_edge.runtime.probation import Probation
from dtgd_edge.runtime.shadow import Shadow, ShadowReport
from dtgd_edge.runtime.shadow_report import write_report
from dtgd_edge.runtime.swap_config import SwapConfig, remember_bundle


@dataclass(frozen=True, slots=True)
class SwapState:
    """Where a swap stands, for people.

    Attributes:
        active: the bundle that judges.
        candidate: the one in the shadow; None without one.
        previous: the one that `rollback` returns to; None without one.
        is_on_probation: whether the line goes back by itself.
    """

    active: str
    candidate: str | None
    previous: str | None
    is_on_probation: bool


class Swap:
    """A chore: runs a candidate in the shadow, switches to it when told, and goes back when it must.

    `offer`, `switch`, `rollback`, `withdraw`, `state` and `report` may be called from any thread; the
    requests are carried out in order by the judging thread, between two frames, and events tell how they
    went: "candidate in the shadow", "candidate withdrawn", "bundle switched", "bundle rolled back",
    "probation passed", "swap refused".

    Args:
        live: whose bundle is swapped.
        open_inspector: opens a session for a bundle.
        config: how.
        events: are told everything, with the digests of the graphs.
    """

    def __init__(
        self, live: LiveInspector, open_inspector: OpenInspector, config: SwapConfig, events: Events
    ) -> None:
        self._live = live
        self._open_inspector = open_inspector
        self._config = config
        self._events = events
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._shadow: Shadow | None = None
        self._shadow_failures = 0
        self._previous: Opened | None = None
        self._probation: Probation | None = None
        self._seen = 0

    @property
    def state(self) -> SwapState:
        """Where it stands."""
        shadow, previous = self._shadow, self._previous
        return SwapState(
            self._live.active.label,
            None if shadow is None else shadow.opened.label,
            None if previous is None else previous.label,
            self._probation is not None,
        )

    def report(self) -> ShadowReport | None:
        """What the candidate would have changed so far; None without a candidate."""
        shadow = self._shadow
        return None if shadow is None else shadow.report()

    def offer(self, path: Path | str, who: str = "") -> None:
        """Ask for a bundle to be run in the shadow, in place of any other candidate.

        It is read and checked at once, in the caller's thread.

        Raises:
            BundleError: the bundle cannot be used.
        """
        bundle = Bundle.open(path)
        self._requests.put(partial(self._offer, Path(path), bundle, who))

    def switch(self, who: str, reason: str) -> None:
        """Ask for the candidate to become active."""
        self._requests.put(partial(self._switch, who, reason))

    def rollback(self, who: str, reason: str) -> None:
        """Ask for the bundle before the last switch."""
        self._requests.put(partial(self._rollback, who, reason))

    def withdraw(self, who: str, reason: str) -> None:
        """Ask for the candidate to be dropped."""
        self._requests.put(partial(self._withdraw, who, reason))

    def __call__(self, now_ns: int) -> bool:
        """Carry out one request, watch the probation, give the candidate the newest frame."""
        try:
            request = self._requests.get_nowait()
        except Empty:
            request = None
        if request is not None:
            request()
        is_new, self._seen = self._live.judged != self._seen, self._live.judged
        went_back = self._watch_probation(now_ns, is_new)
        looked = self._look() if is_new and request is None else False
        return request is not None or went_back or looked

    def close(self) -> None:
        """Close the candidate and what was active before; the active bundle stays open."""
        if self._shadow is not None:
            self._shadow.close()
        if self._previous is not None:
            self._previous.close()

    def _tell(self, kind: str, detail: str, who: str = "", is_alarm: bool = False) -> None:
        self._events.tell(Event(kind, detail, is_alarm, who))

    def _offer(self, path: Path, bundle: Bundle, who: str) -> None:
        if self._shadow is not None:
            self._withdraw(who, f"{path.name} was offered")
        begun = time.monotonic()
        try:
            opened = Opened.of(path, bundle, self._open_inspector)
        except DtgdError as exc:
            self._tell("swap refused", f"{path} was offered and cannot run here: {exc}", who, is_alarm=True)
            return
        # Opening included: too long for a first guess is safe, and forgotten soon.
        expected_ms = (time.monotonic() - begun) * 1e3 / max(1, len(bundle.golden.frames))
        config = self._config
        self._shadow = Shadow(
            opened,
            self._live.active.label,
            every_nth_frame=config.every_nth_frame,
            budget_ms=config.budget_ms,
            pictures=config.pictures,
            expected_ms=min(expected_ms, config.budget_ms / 2),
        )
        self._shadow_failures = 0
        self._tell("candidate in the shadow", f"{opened.label} of {path}", who)

    def _withdraw(self, who: str, reason: str) -> None:
        shadow, self._shadow = self._shadow, None
        if shadow is None:
            self._tell("swap refused", f"nothing to withdraw ({reason}): no candidate is in the shadow", who)
            return
        shadow.close()
        self._tell("candidate withdrawn", f"{shadow.opened.label}: {reason}{self._reported(shadow)}", who)

    def _switch(self, who: str, reason: str) -> None:
        shadow = self._shadow
        if shadow is None:
            self._tell("swap refused", f"nothing to switch to ({reason}): no candidate is in the shadow", who)
            return
        if self._probation is not None:
            self._tell("swap refused", f"no second switch ({reason}): wait for the end of the probation", who)
            return
        try:
            shadow.opened.prove()
        except BackendError as exc:
            self._tell(
                "swap refused", f"{shadow.opened.label} fails its self-test: {exc}", who, is_alarm=True
            )
            self._withdraw(who, "its self-test failed")
            return
        text = self._reported(shadow)
        self._shadow = None
        self._previous = self._live.install(shadow.opened)
        self._probation = Probation(
            time.monotonic_ns(),
            self._config.probation_s,
            self._config.probation_frames,
            self._config.max_ng,
            self._config.max_no_decision,
        )
        self._tell("bundle switched", f"{self._previous.label} -> {shadow.opened.label}: {reason}{text}", who)

    def _rollback(self, who: str, reason: str, is_alarm: bool = False) -> None:
        previous, was_kept_open = self._previous, self._probation is not None
        if previous is None:
            self._tell("swap refused", f"nothing to go back to ({reason}): nothing was switched", who)
            return
        self._probation = None
        try:
            if was_kept_open:
                previous.prove()
            else:
                previous = previous.opened_again(self._open_inspector)
        except BackendError as exc:
            # What is active stays: if it is lost, Recovery looks after it.
            detail = f"{previous.label} cannot be returned to ({reason}): {exc}"
            self._tell("swap refused", detail, who, is_alarm=True)
            return
        self._previous = None
        left = self._live.install(previous)
        left.close()
        self._remember(previous)
        self._tell("bundle rolled back", f"{left.label} -> {previous.label}: {reason}", who, is_alarm)

    def _watch_probation(self, now_ns: int, is_new: bool) -> bool:
        probation, last = self._probation, self._live.last
        if probation is None:
            return False
        if is_new and last is not None:
            probation.add(last[0].decision)
        fault = self._live.hold_reason or probation.fault
        if fault is not None:
            self._rollback("probation", fault, is_alarm=True)
            return True
        if not probation.is_passed(now_ns):
            return False
        self._probation = None
        if self._previous is not None:
            self._previous.close()
        self._remember(self._live.active)
        self._tell("probation passed", self._live.active.label)
        return True

    def _look(self) -> bool:
        shadow, last = self._shadow, self._live.last
        if shadow is None or last is None or self._live.hold_reason is not None:
            return False
        try:
            looked = shadow.look(*last)
        except BackendError as exc:
            self._shadow_failures += 1
            if self._shadow_failures >= HICCUPS:
                self._withdraw("shadow", f"its session failed {HICCUPS} times in a row: {exc}")
            return True
        if looked:
            self._shadow_failures = 0
        return looked

    def _reported(self, shadow: Shadow) -> str:
        """What the shadow saw, and where the report lies."""
        report = shadow.report()
        text = f"; in the shadow {report.agreed} of {report.compared} frames were decided alike"
        if not self._config.reports:
            return text
        try:
            return f"{text}, report {write_report(report, Path(self._config.reports))}"
        except SinkError as exc:
            return f"{text}, no report: {exc}"

    def _remember(self, opened: Opened) -> None:
        if not self._config.remember:
            return
        try:
            remember_bundle(Path(self._config.remember), opened.path)
        except SinkError as exc:
            self._tell("swap not remembered", f"the next start takes another bundle: {exc}", is_alarm=True)
