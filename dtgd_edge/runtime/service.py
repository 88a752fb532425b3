"""What the line tells the service manager (systemd): that it is ready, that it turns, how it goes."""

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping

from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

# Told so often at least, so that `systemctl status` is not older than that.
_STATUS_S = 10.0

_log = logging.getLogger(__name__)


class Service(Sink):
    """The datagrams of sd_notify; without a service manager it does nothing.

    It is a sink because the counts that people read come from the verdicts, and it is the loop's watchdog
    because only a loop that turns may call itself alive: no thread of its own could go on saying so.

    Args:
        address: of the manager's socket, "@" first in the abstract namespace; "": there is none.
        watchdog_s: silence after which the manager restarts the line; None: it does not watch.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        self._is_watched = watchdog_s is not None
        # Three signs of life within the limit: one may be late.
        self._period_s = min(_STATUS_S, watchdog_s / 3) if watchdog_s is not None else _STATUS_S
        self._due = time.monotonic()
        self._counts: Counter[Decision] = Counter()
        self._is_heard = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Service":
        """The manager that started this process, as it says in NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID."""
        environment = os.environ if environment is None else environment
        limit_us = environment.get("WATCHDOG_USEC", "")
        is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        is_watched = limit_us.isdecimal() and int(limit_us) > 0 and is_for_us
        return cls(environment.get("NOTIFY_SOCKET", ""), int(limit_us) / 1e6 if is_watched else None)

    def ready(self, status: str) -> None:
        """Say that everything is open and the first frame can come."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def turned(self) -> None:
        """Say that the loop turns; call it at every turn, it speaks only as often as needed."""
        now = time.monotonic()
        if self._socket is None or now < self._due:
            return
        self._due = now + self._period_s
        counts = ", ".join(f"{self._counts[decision]} {decision.value}" for decision in Decision)
        self._tell(("WATCHDOG=1\n" if self._is_watched else "") + f"STATUS={counts}")

    def stopping(self, status: str) -> None:
        """Say that the line ends, and why."""
        self._tell(f"STOPPING=1\nSTATUS={_line(status)}")

    def write(self, verdict: Verdict, frame: Frame) -> None:
        """Count a verdict."""
        self._counts[verdict.decision] += 1

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            # Never wait: a manager that does not read must not stop the line.
            self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
            self._is_heard = True
        except OSError as exc:
            if self._is_heard:
                _log.warning("the service manager does not listen (%s); the line goes on", exc.strerror)
            self._is_heard = False


def _line(text: str) -> str:
    return " ".join(text.split())
