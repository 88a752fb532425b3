"""The self-test: the golden frames of the bundle, again and again while the line runs."""

import threading
import time
from dataclasses import dataclass

from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector

# A session that fails so often in a row is opened again.
_FAILURES = 2


@dataclass(frozen=True, slots=True)
class SelfTestConfig:
    """The table [selftest] of a line file.

    Attributes:
        every_s: seconds between two self-tests; 0: only at the start, after a swap and when asked for.
        retry_s: seconds from a self-test that failed to the next one.
    """

    every_s: float = 3600.0
    retry_s: float = 10.0

    def __post_init__(self) -> None:
        if not (self.every_s == 0.0 or 1.0 <= self.every_s <= 1e6) or not 0.1 <= self.retry_s <= 3600.0:
            raise ConfigError(
                f"selftest has every_s {self.every_s} and retry_s {self.retry_s}; "
                "expected every_s 0 or 1 to 1e6 and retry_s 0.1 to 3600; correct them"
            )


@dataclass(frozen=True, slots=True)
class SelfTestOutcome:
    """How the newest self-test went.

    Attributes:
        is_passed: whether every golden frame got its score.
        detail: for people.
        took_ms: milliseconds.
        at_ns: time.time_ns().
    """

    is_passed: bool
    detail: str
    took_ms: float
    at_ns: int


class SelfTest:
    """A chore: scores the golden frames at the start, on a schedule, after a swap and when asked.

    From one that fails until one that passes every verdict is NO_DECISION. A session that fails twice in
    a row counts as lost, so that Recovery opens it again.

    Args:
        live: what is tested.
        config: when.
        events: are told of a failure, of the first pass after it and of passes that a person asked for.
    """

    def __init__(self, live: LiveInspector, config: SelfTestConfig, events: Events) -> None:
        self._live = live
        self._config = config
        self._events = events
        self._asked_by: str | None = None
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._due_ns: int | None = None
        self._failures = 0
        self._outcome: SelfTestOutcome | None = None

    @property
    def outcome(self) -> SelfTestOutcome | None:
        """How the newest one went; None before the first. Any thread may ask."""
        return self._outcome

    def ask(self, who: str = "") -> None:
        """Test before the next frame. Any thread may ask."""
        with self._lock:
            self._asked_by = who

    def __call__(self, now_ns: int) -> bool:
        """Test when it is time."""
        if self._live.is_lost:
            return False
        with self._lock:
            asked_by = self._asked_by
            self._asked_by = None
        is_new = self._generation != self._live.generation
        is_due = self._due_ns is not None and now_ns >= self._due_ns
        if not is_new and not is_due and asked_by is None:
            return False
        if is_new:
            self._generation, self._failures = self._live.generation, 0
        self._test(asked_by)
        wait_s = self._config.retry_s if self._failures else self._config.every_s
        self._due_ns = time.monotonic_ns() + round(wait_s * 1e9) if wait_s else None
        return True

    def _test(self, asked_by: str | None) -> None:
        active = self._live.active
        begun_ns = time.monotonic_ns()
        error: BackendError | None = None
        difference = 0.0
        try:
            difference = active.prove()
        except BackendError as exc:
            error = exc
        took_ms = (time.monotonic_ns() - begun_ns) / 1e6
        if error is None:
            detail = (
                f"{active.label}: {len(active.bundle.golden.frames)} golden frames in {took_ms:.0f} ms, "
                f"largest difference {difference:.2g}"
            )
        else:
            detail = f"{active.label}: {error}"
        self._outcome = SelfTestOutcome(error is None, detail, took_ms, time.time_ns())
        if error is None:
            self._passed(detail, asked_by)
        else:
            self._failed(detail, error)

    def _passed(self, detail: str, asked_by: str | None) -> None:
        if self._failures or asked_by is not None:
            self._events.tell(Event("self-test passed", detail, who=asked_by or ""))
        if self._failures:
            self._live.release()
        self._failures = 0

    def _failed(self, detail: str, error: BackendError) -> None:
        self._failures += 1
        self._live.hold(f"self-test failed: {error}")
        if self._failures == 1:
            text = f"{detail}; every part is NO_DECISION until it passes"
            self._events.tell(Event("self-test failed", text, is_alarm=True))
        elif self._failures == _FAILURES:
            self._live.lose(f"its self-test failed {_FAILURES} times in a row: {error}")
