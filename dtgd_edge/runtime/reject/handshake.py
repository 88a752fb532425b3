"""Hands results to a controller one at a time: READY, BUSY, RESULT, acknowledged or out of time."""

from collections import deque
from dataclasses import replace

from dtgd_edge.runtime.reject.signals import Result

# Results that wait for their turn. A controller so far behind gets the newest; the gap in the sequence
# tells it what it missed.
_WAITING_LIMIT = 64
_SEQUENCE_LIMIT = 1 << 31


class Handshake:
    """Which result is shown, and until when.

    Args:
        acknowledge_ns: a result waits so long to be acknowledged; 0: none is awaited.
    """

    def __init__(self, acknowledge_ns: int) -> None:
        self._acknowledge_ns = acknowledge_ns
        self._waiting: deque[Result] = deque()
        self._shown: Result | None = None
        self._until_ns: int | None = None
        self._sequence = 0
        self.unacknowledged = 0

    @property
    def result(self) -> Result | None:
        """The newest result that was shown."""
        return self._shown

    @property
    def is_waiting(self) -> bool:
        """Whether a result waits to be acknowledged."""
        return self._until_ns is not None

    @property
    def is_valid(self) -> bool:
        """Whether `result` may be read."""
        return self.is_waiting or (self._acknowledge_ns == 0 and self._shown is not None)

    @property
    def until_ns(self) -> int | None:
        """When the time to acknowledge is over; None when nothing waits."""
        return self._until_ns

    def offer(self, result: Result, now_ns: int) -> None:
        """Give the next result, which gets its sequence number here."""
        # Modbus and OPC UA carry it in 32 bits; 0 says "none yet".
        self._sequence = self._sequence % (_SEQUENCE_LIMIT - 1) + 1
        self._waiting.append(replace(result, sequence=self._sequence))
        if len(self._waiting) > _WAITING_LIMIT:
            self._waiting.popleft()
            self.unacknowledged += 1
        self.advance(now_ns)

    def acknowledge(self, sequence: int, now_ns: int) -> None:
        """Take a controller's word that it has a result; one for another result is ignored."""
        if self.is_waiting and self._shown is not None and self._shown.sequence == sequence:
            self._until_ns = None
            self._show_next(now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass."""
        if self._until_ns is not None and now_ns >= self._until_ns:
            self._until_ns = None
            self.unacknowledged += 1
        if self._until_ns is None:
            self._show_next(now_ns)

    def _show_next(self, now_ns: int) -> None:
        if self._acknowledge_ns == 0:
            while self._waiting:
                self._shown = self._waiting.popleft()
        elif self._waiting:
            self._shown = self._waiting.popleft()
            self._until_ns = now_ns + self._acknowledge_ns
