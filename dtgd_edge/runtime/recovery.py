"""Opens a lost session again."""

from dataclasses import dataclass

from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector, OpenInspector


@dataclass(frozen=True, slots=True)
class RecoveryConfig:
    """The table [recovery] of a line file.

    Attributes:
        first_wait_s: after the first try that failed; doubled after each.
        longest_wait_s: the wait is never longer.
        tries: after so many that failed the run ends, so that the service manager starts a new process:
            some errors of a CUDA device last as long as the process does. 0: never.
    """

    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    tries: int = 8

    def __post_init__(self) -> None:
        if not 0.0 < self.first_wait_s <= self.longest_wait_s <= 3600.0 or self.tries < 0:
            raise ConfigError(
                f"recovery has first_wait_s {self.first_wait_s}, longest_wait_s {self.longest_wait_s} and "
                f"tries {self.tries}; expected 0 < first_wait_s <= longest_wait_s <= 3600 and tries >= 0; "
                "correct them"
            )


class Recovery:
    """A chore: when the session is lost, closes it, opens it again and proves it on the golden frames.

    The threshold that was set on the line stays.

    Args:
        live: whose session it looks after.
        open_inspector: opens a session for a bundle.
        config: how often it tries.
        events: are told "session back".
    """

    def __init__(
        self, live: LiveInspector, open_inspector: OpenInspector, config: RecoveryConfig, events: Events
    ) -> None:
        self._live = live
        self._open_inspector = open_inspector
        self._config = config
        self._events = events
        self._failed_tries = 0
        self._due_ns = 0

    def __call__(self, now_ns: int) -> bool:
        """Try once when a try is due.

        Raises:
            BackendError: the last try failed.
        """
        if not self._live.is_lost:
            self._failed_tries, self._due_ns = 0, 0
            return False
        if now_ns < self._due_ns:
            return False
        try:
            again = self._live.active.opened_again(self._open_inspector)
        except BackendError as exc:
            self._failed(exc, now_ns)
            return True
        self._live.install(again)
        tries = self._failed_tries + 1
        self._events.tell(Event("session back", f"{again.label}: opened at try {tries} and proven"))
        return True

    def _failed(self, error: BackendError, now_ns: int) -> None:
        self._failed_tries += 1
        if self._config.tries and self._failed_tries >= self._config.tries:
            raise BackendError(
                f"the session was not opened again in {self._failed_tries} tries, at last because: {error}"
            ) from error
        doublings = min(self._failed_tries - 1, 30)
        wait_s = min(self._config.longest_wait_s, self._config.first_wait_s * 2.0**doublings)
        self._due_ns = now_ns + round(wait_s * 1e9)
