"""The Modbus register map: signals as 16-bit words, and commands from them.

Numbers of 32 bits take two registers, the high word first; scores are IEEE 754 floats of 32 bits.
"""

import math
import struct

from dtgd_edge.runtime.outputs.codes import DECISION_CODES, reason_code
from dtgd_edge.runtime.reject.signals import Signals
from dtgd_edge.verdict import Decision

STATUS_BITS = (
    "ready",
    "busy",
    "valid",
    "reject",
    "stop",
    "heartbeat",
    "ok",
    "ng",
    "no_decision",
    "result_reject",
)
# Offset of each value in the map.
MAP = {
    "status": 0,
    "beats": 1,
    "sequence": 2,
    "part": 4,
    "decision": 6,
    "reason": 7,
    "score": 8,
    "threshold": 10,
    "count_ok": 12,
    "count_ng": 14,
    "count_no_decision": 16,
    "count_rejected": 18,
    "count_late": 20,
    "count_missing": 22,
    "count_unacknowledged": 24,
}
MAP_SIZE = 26

# Holding registers of a server: commands first, then the map once more for controllers that read no
# input registers.
ACKNOWLEDGE = 0
COMMAND = 2
ENCODER = 3
COMMANDS_SIZE = 5
MIRROR = 100

RESUME = 1


def words_from_signals(signals: Signals) -> list[int]:
    """The map as MAP_SIZE words."""
    result, counts = signals.result, signals.counts
    words = [status_word(signals), signals.beats & 0xFFFF]
    words += split(result.sequence if result else 0)
    words += split(result.part if result else 0)
    words += [
        DECISION_CODES[result.decision if result else None],
        reason_code(result.reason if result else None),
    ]
    words += _float_words(result.score if result else None)
    words += _float_words(result.threshold if result else None)
    for count in (
        counts.ok,
        counts.ng,
        counts.no_decision,
        counts.rejected,
        counts.late,
        counts.missing,
        counts.unacknowledged,
    ):
        words += split(count)
    return words


def status_word(signals: Signals) -> int:
    """STATUS_BITS, the first in the lowest bit."""
    decision = signals.result.decision if signals.result else None
    bits = (
        signals.is_ready,
        signals.is_busy,
        signals.is_result_valid,
        signals.is_rejecting,
        signals.is_stopped,
        signals.heartbeat,
        decision is Decision.OK,
        decision is Decision.NG,
        decision is Decision.NO_DECISION,
        signals.result is not None and signals.result.is_reject,
    )
    return sum(bit << place for place, bit in enumerate(bits))


def split(number: int) -> list[int]:
    """High and low word of a number's last 32 bits."""
    return [number >> 16 & 0xFFFF, number & 0xFFFF]


def join(high: int, low: int) -> int:
    """The number of two words."""
    return high << 16 | low


def _float_words(value: float | None) -> list[int]:
    try:
        packed = struct.pack(">f", math.nan if value is None else value)
    except OverflowError:
        packed = struct.pack(">f", math.nan)
    return list(struct.unpack(">HH", packed))


class WideCounter:
    """Makes a count that never wraps from one of 32 bits."""

    def __init__(self) -> None:
        self._last = 0
        self._turns = 0

    def widen(self, count: int) -> int:
        """Take the next reading."""
        # From the last quarter to the first it went over the top; any other fall is a restart.
        if self._last >= 3 << 30 and count < 1 << 30:
            self._turns += 1
        self._last = count
        return (self._turns << 32) + count
