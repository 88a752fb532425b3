"""The reject line: verdicts come in, signals go out at the right moment."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.reject.encoder import Encoder
from dtgd_edge.runtime.reject.logic import RejectLogic
from dtgd_edge.runtime.reject.news import News
from dtgd_edge.runtime.reject.output import Output
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.reject.signals import Signals
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

_JOIN_S = 2.0


def _yes() -> bool:
    return True


class RejectLine(Sink):
    """Takes every part's verdict to the ejector and to the controller; one thread of its own.

    `write` and `announce` return at once. When it closes, the outputs are left in the safe state: nobody
    judges any more. A process that was killed cannot do so: the controller must watch the heartbeat.

    Args:
        config: how.
        outputs: opened here, closed by `close`.
        events: is told what goes wrong.
        encoder: needed when the config counts.
        is_alive: asked with every change; while it says no, the heartbeat stands still and the safe
            state is held. Quick, from the line's thread.
        clock_ns: monotonic time, nanoseconds.

    Raises:
        SinkError: an output cannot be opened, or the encoder is missing.
    """

    def __init__(
        self,
        config: RejectConfig,
        outputs: Sequence[Output],
        events: Events,
        *,
        encoder: Encoder | None = None,
        is_alive: Callable[[], bool] = _yes,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if config.encoder_counts and encoder is None:
            raise SinkError(
                "encoder_counts is set and there is no encoder; expected one; add it or use delay_ms"
            )
        self._config = config
        self._outputs = tuple(outputs)
        self._events = events
        self._encoder = encoder if config.encoder_counts else None
        self._is_alive = is_alive
        self._clock_ns = clock_ns
        self._news = News()
        self._logic = RejectLogic(config, self._news, clock_ns())
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_dirty = True
        self._shown: Signals | None = None
        self._down: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._encoder_fault = ""
        self._open_outputs()
        self._thread = threading.Thread(target=self._run, name="dtgd-reject", daemon=True)
        self._thread.start()

    @property
    def signals(self) -> Signals:
        """What the outputs were last shown."""
        return self._shown or Signals()

    def announce(self, part: int, captured_ns: int) -> None:
        """Expect a verdict on a part: it was triggered, or its frame has arrived.

        Args:
            part: its number; the frame's index where the source knows no parts.
            captured_ns: time.monotonic_ns() of its capture, the same as the frame's.
        """
        with self._changed:
            self._logic.announce(part, captured_ns, self._clock_ns())
            self._wake()

    def write(self, verdict: Verdict, frame: Frame) -> None:
        with self._changed:
            if self._is_closing:
                raise SinkError("the reject line is closed; expected no more verdicts; start it again")
            # Many parts may be on their way to an ejector that is far from the camera.
            self._logic.judge(verdict.without_map(), frame.captured_ns, self._clock_ns())
            self._wake()

    def acknowledge(self, sequence: int) -> None:
        """The controller has the result of this number."""
        with self._changed:
            self._logic.acknowledge(sequence, self._clock_ns())
            self._wake()

    def try_out(self, decision: Decision) -> None:
        """Show a decision to the outputs as if a part had got it, to see that they move.

        Raises:
            ConfigError: a part is between camera and ejector.
        """
        with self._changed:
            if not self._logic.try_out(decision, self._clock_ns()):
                raise ConfigError(
                    "a part is between camera and ejector; expected none while an output is tested; "
                    "wait until it has passed"
                )
            self._wake()

    def resume(self) -> None:
        """Let a stopped line go on; without effect while the cause lasts."""
        with self._changed:
            self._logic.resume(self._clock_ns())
            self._wake()

    def close(self) -> None:
        """Show the safe state and close the outputs."""
        with self._changed:
            self._is_closing = True
            self._wake()
        self._thread.join(_JOIN_S)

    def _open_outputs(self) -> None:
        for count, output in enumerate(self._outputs):
            try:
                output.open(self)
            except BaseException:
                for opened in self._outputs[:count]:
                    opened.close()
                raise

    def _wake(self) -> None:
        self._is_dirty = True
        self._changed.notify()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as exc:
            # The thread that rejects must not end unheard; the heartbeat stands still from here on.
            self._events.tell(Event("reject line failed", f"{type(exc).__name__}: {exc}", is_alarm=True))
            raise
        finally:
            self._show_safe_state()

    def _step(self) -> bool:
        """Bring the outputs up to date and wait for the next change; False when it is over."""
        is_held = not self._is_alive()
        count = self._encoder_count()
        is_held |= bool(self._encoder_fault) or self._look_at_outputs()
        with self._changed:
            now_ns = self._clock_ns()
            if count is not None:
                self._logic.read_encoder(count, now_ns)
            self._logic.hold(is_held, now_ns)
            signals = self._logic.signals(now_ns)
            self._is_dirty = False
            if self._is_closing:
                return False
        self._show(signals)
        for event in self._news.take():
            self._events.tell(event)
        with self._changed:
            now_ns = self._clock_ns()
            wait_ns = self._logic.next_ns(now_ns) - now_ns
            if not self._is_dirty and wait_ns > 0:
                self._changed.wait(wait_ns / 1e9)
        return True

    def _encoder_count(self) -> int | None:
        if self._encoder is None:
            return None
        try:
            count = self._encoder.count()
        except SinkError as exc:
            if not self._encoder_fault:
                self._encoder_fault = str(exc)
                self._events.tell(Event("encoder lost", str(exc), is_alarm=True))
            return None
        if self._encoder_fault:
            self._encoder_fault = ""
            self._events.tell(Event("encoder back", "its counts are read again"))
        return count

    def _look_at_outputs(self) -> bool:
        """Tell which outputs went down or came back; whether one that must work does not."""
        is_required_down = False
        for output in self._outputs:
            why = self._failed.get(output.name, "")
            if not why and not output.is_up:
                why = "it does not reach the controller"
            if why and output.name not in self._down:
                self._events.tell(Event("sink down", f"{output.name}: {why}", is_alarm=True))
                self._down[output.name] = why
            elif not why and self._down.pop(output.name, ""):
                self._events.tell(Event("sink back", f"{output.name} shows the signals again"))
            is_required_down |= bool(why) and output.is_required
        return is_required_down

    def _show(self, signals: Signals) -> None:
        # One that failed is tried again, also while the signals stand still because of it.
        if signals == self._shown and not self._failed:
            return
        self._shown = signals
        for output in self._outputs:
            try:
                output.show(signals)
            except SinkError as exc:
                self._failed[output.name] = str(exc)
            else:
                self._failed.pop(output.name, None)

    def _show_safe_state(self) -> None:
        with self._changed:
            self._is_closing = True
            final = self._logic.signals(self._clock_ns())
        self._show(
            Signals(
                is_rejecting=self._config.safe_state == "reject",
                is_stopped=final.is_stopped or self._config.safe_state == "stop",
                beats=final.beats,
                result=final.result,
                counts=final.counts,
            )
        )
        for output in self._outputs:
            with contextlib.suppress(SinkError):
                output.close()
