"""What the signals are at a given moment: all of the reject line but its thread and its clock."""

from dataclasses import replace

from dtgd_edge.runtime.reject.encoder import EncoderTrace
from dtgd_edge.runtime.reject.handshake import Handshake
from dtgd_edge.runtime.reject.news import News
from dtgd_edge.runtime.reject.parts import Part, Parts
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.reject.signals import Counts, Result, Signals, part_of
from dtgd_edge.verdict import Decision, Verdict

_MISSING = "verdict missing: the part reached the ejector before its verdict"
_COUNTED = {Decision.OK: "ok", Decision.NG: "ng", Decision.NO_DECISION: "no_decision"}


class RejectLogic:
    """Follows parts to the ejector and the results to the controller.

    Every method takes the moment, time.monotonic_ns(), and moments must not fall; between calls nothing
    happens. Not for several threads.

    Args:
        config: how.
        news: is told what goes wrong.
        start_ns: the moment of the start.
    """

    def __init__(self, config: RejectConfig, news: News, start_ns: int) -> None:
        self._config = config
        self._news = news
        self._parts = Parts(config.frames_per_part, config.combine)
        self._handshake = Handshake(_ns(config.acknowledge_ms))
        self._trace = EncoderTrace() if config.encoder_counts else None
        self._counts = Counts()
        self._reject_until_ns = 0
        self._is_stopped = False
        self._is_held = False
        self._beat_ns = start_ns
        self._beats = 0
        self._threshold = 0.0

    def read_encoder(self, count: int, now_ns: int) -> None:
        """Take a reading of the encoder; only with encoder_counts."""
        assert self._trace is not None, "this line goes by time"
        before = self._trace.at(now_ns)
        if before is not None and count < before - self._config.encoder_counts:
            self._news.add(
                "encoder reset", f"the count fell from {before} to {count}; parts are lost", now_ns
            )
            while self._parts.first is not None:
                self._pass_first(now_ns, None)
            self._trace.clear()
        self._trace.add(now_ns, count)

    def announce(self, number: int, captured_ns: int, now_ns: int) -> None:
        """Expect a verdict on a part that was just captured."""
        if self._parts.find(number) is None and not self._parts.has_passed(number, captured_ns):
            self._put_on_way(number, captured_ns, now_ns)

    def judge(self, verdict: Verdict, captured_ns: int, now_ns: int) -> None:
        """Take a verdict; a part that was not announced is from now on known."""
        self.advance(now_ns)
        number = part_of(verdict)
        self._threshold = verdict.threshold
        part = self._parts.find(number)
        if part is None:
            if self._parts.has_passed(number, captured_ns):
                self._count_late(number, verdict, now_ns)
                return
            part = self._put_on_way(number, captured_ns, now_ns)
            if part is None:
                self._count_late(number, verdict, now_ns)
                late = replace(verdict, decision=Decision.NO_DECISION, reason=_late(verdict))
                self._finish(number, late, now_ns, is_told=False)
                self._parts.note_passed(number, now_ns)
                return
        before = part.verdict
        self._parts.judge(part, verdict)
        if part.is_told and before is not None and part.verdict is not None:
            # The controller was told otherwise: it gets the new word as another result.
            part.is_told = part.verdict.decision is before.decision
        self._tell_results(now_ns)
        self.advance(now_ns)

    def acknowledge(self, sequence: int, now_ns: int) -> None:
        """The controller has the result of this number."""
        self._handshake.acknowledge(sequence, now_ns)

    def try_out(self, decision: Decision, now_ns: int) -> bool:
        """Show a decision as if a part had got it; counted nowhere.

        Returns:
            False: a part is on its way, and its result must not be mixed up with a test.
        """
        self.advance(now_ns)
        if self._parts.first is not None:
            return False
        verdict = Verdict(decision, 0, self._threshold, reason="test output")
        if self._is_rejected(verdict):
            self._reject_until_ns = now_ns + _ns(self._config.pulse_ms)
        self._offer(0, verdict, now_ns)
        return True

    def resume(self, now_ns: int) -> None:
        """Let a stopped line go on."""
        if self._is_stopped and not self._is_held:
            self._is_stopped = False
            self._news.add("line resumed", "the stop signal is off again", now_ns, is_alarm=False)

    def hold(self, is_held: bool, now_ns: int) -> None:
        """Hold the safe state for as long as nobody judges, or an output that must work does not."""
        if is_held and self._config.safe_state == "stop":
            self._is_stopped = True
        self._is_held = is_held
        self.advance(now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass up to a moment."""
        position = self._position(now_ns)
        while (part := self._parts.first) is not None and position is not None and part.due <= position:
            is_known = self._parts.is_complete(part) or _is_ng(part.verdict)
            self._pass_first(now_ns, part.verdict if is_known else None)
        self._handshake.advance(now_ns)
        if self._is_held:
            self._beat_ns = now_ns
        elif (beats := (now_ns - self._beat_ns) // _ns(self._config.heartbeat_ms)) > 0:
            self._beats += beats
            self._beat_ns += beats * _ns(self._config.heartbeat_ms)

    def signals(self, now_ns: int) -> Signals:
        """The signals at the moment that `advance` was last given."""
        counts = replace(self._counts, unacknowledged=self._handshake.unacknowledged)
        is_busy = self._parts.has_unjudged
        return Signals(
            is_ready=not (is_busy or self._handshake.is_waiting or self._is_held or self._is_stopped),
            is_busy=is_busy,
            is_result_valid=self._handshake.is_valid,
            is_rejecting=now_ns < self._reject_until_ns
            or (self._is_held and self._config.safe_state == "reject"),
            is_stopped=self._is_stopped,
            beats=self._beats,
            result=self._handshake.result,
            counts=counts,
        )

    def next_ns(self, now_ns: int) -> int:
        """The moment at which something changes by itself."""
        moments = [self._beat_ns + _ns(self._config.heartbeat_ms)]
        if self._reject_until_ns > now_ns:
            moments.append(self._reject_until_ns)
        if self._handshake.until_ns is not None:
            moments.append(self._handshake.until_ns)
        if self._trace is not None:
            moments.append(now_ns + _ns(self._config.encoder_poll_ms))
        elif self._parts.first is not None:
            moments.append(self._parts.first.due)
        return min(moments)

    def _position(self, moment_ns: int) -> int | None:
        return moment_ns if self._trace is None else self._trace.at(moment_ns)

    def _put_on_way(self, number: int, captured_ns: int, now_ns: int) -> Part | None:
        """Add a part; None when its moment is over or nobody knows where it is."""
        captured, position = self._position(captured_ns), self._position(now_ns)
        if captured is None or position is None:
            return None
        delay = self._config.encoder_counts or _ns(self._config.delay_ms)
        if captured + delay < position:
            return None
        if self._parts.is_full:
            self._news.add("too many parts", "the conveyor holds more than can be; check the delay", now_ns)
            self._pass_first(now_ns, None)
        return self._parts.add(number, captured + delay)

    def _tell_results(self, now_ns: int) -> None:
        while (part := self._parts.untold()) is not None:
            assert part.verdict is not None, "a part that is complete has a verdict"
            part.is_told = True
            self._offer(part.number, part.verdict, now_ns)

    def _pass_first(self, now_ns: int, verdict: Verdict | None) -> None:
        part = self._parts.pass_first(now_ns)
        if verdict is None:
            self._counts = replace(self._counts, missing=self._counts.missing + 1)
            self._news.add("verdict missing", f"part {part.number} is at the ejector without one", now_ns)
            threshold = part.verdict.threshold if part.verdict else self._threshold
            verdict = Verdict(Decision.NO_DECISION, part.number, threshold, reason=_MISSING)
        self._finish(part.number, verdict, now_ns, part.is_told)
        self._tell_results(now_ns)

    def _finish(self, number: int, verdict: Verdict, now_ns: int, is_told: bool) -> None:
        """A part is at the ejector: act, count, and tell its result if that is still to be done."""
        key = _COUNTED[verdict.decision]
        self._counts = replace(self._counts, **{key: getattr(self._counts, key) + 1})
        if self._is_rejected(verdict):
            self._counts = replace(self._counts, rejected=self._counts.rejected + 1)
            self._reject_until_ns = now_ns + _ns(self._config.pulse_ms)
        if verdict.decision is Decision.NO_DECISION and self._config.safe_state == "stop":
            self._is_stopped = True
        if not is_told:
            self._offer(number, verdict, now_ns)

    def _offer(self, number: int, verdict: Verdict, now_ns: int) -> None:
        is_reject = self._is_rejected(verdict)
        self._handshake.offer(
            Result(0, number, verdict.decision, is_reject, verdict.score, verdict.threshold, verdict.reason),
            now_ns,
        )

    def _is_rejected(self, verdict: Verdict) -> bool:
        is_unsafe = verdict.decision is Decision.NO_DECISION and self._config.safe_state == "reject"
        return verdict.decision is Decision.NG or is_unsafe

    def _count_late(self, number: int, verdict: Verdict, now_ns: int) -> None:
        self._counts = replace(self._counts, late=self._counts.late + 1)
        what = f"part {number} had passed the ejector when it was found {verdict.decision.value}"
        self._news.add("verdict late", f"{what}; safe state {self._config.safe_state}", now_ns)


def _is_ng(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.decision is Decision.NG


def _late(verdict: Verdict) -> str:
    return f"verdict late: {verdict.decision.value} came after the part had passed the ejector"


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
