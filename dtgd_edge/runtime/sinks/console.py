"""A line about the run, for whoever watches the terminal."""

import shutil
import time
from collections import Counter, deque
from typing import TextIO

from dtgd_edge.errors import SinkError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

LIVE_INTERVAL_S = 0.2
PLAIN_INTERVAL_S = 5.0
_WINDOW = 200


class ConsoleSink(Sink):
    """Counts, rate and latency; rewritten in place on a terminal, a plain line now and then elsewhere.

    Args:
        stream: where to write, sys.stderr as a rule.
        interval_s: least time between two lines; None: LIVE_INTERVAL_S on a terminal, else
            PLAIN_INTERVAL_S.
    """

    def __init__(self, stream: TextIO, interval_s: float | None = None) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        usual_s = LIVE_INTERVAL_S if self._is_terminal else PLAIN_INTERVAL_S
        self._interval_s = usual_s if interval_s is None else interval_s
        self._decisions: Counter[Decision] = Counter()
        self._dropped = 0
        self._next_index = 0
        self._newest_ms: deque[float] = deque(maxlen=_WINDOW)
        self._newest_s: deque[float] = deque(maxlen=_WINDOW)
        # Not on the first frame: one frame has no rate.
        self._due = time.monotonic() + self._interval_s
        self._is_stale = False

    def write(self, verdict: Verdict, frame: Frame) -> None:
        now = time.monotonic()
        self._decisions[verdict.decision] += 1
        # A source counts its frames, so a gap is what was dropped on the way here.
        self._dropped += max(0, frame.index - self._next_index)
        self._next_index = frame.index + 1
        self._newest_s.append(now)
        if verdict.score is not None:
            self._newest_ms.append(sum(verdict.stages_ms.values()))
        self._is_stale = True
        if now >= self._due:
            self._due = now + self._interval_s
            self._print()

    def close(self) -> None:
        """Print the last state, and leave the terminal on a new line."""
        if self._is_stale:
            self._print()
        if self._is_terminal and self._decisions:
            self._send("\n")
            self._decisions.clear()

    def _print(self) -> None:
        self._is_stale = False
        if not self._is_terminal:
            self._send(f"{self._line()}\n")
            return
        columns = shutil.get_terminal_size().columns
        self._send(f"\r{self._line()[: columns - 1]}\x1b[K")

    def _line(self) -> str:
        counts = self._decisions
        parts = [
            f"{counts.total()} frames",
            f"OK {counts[Decision.OK]}",
            f"NG {counts[Decision.NG]}",
            f"no decision {counts[Decision.NO_DECISION]}",
        ]
        if self._dropped:
            parts.append(f"dropped {self._dropped}")
        # n times stand at the ends of n - 1 intervals.
        span_s = self._newest_s[-1] - self._newest_s[0]
        if span_s > 0:
            parts.append(f"{(len(self._newest_s) - 1) / span_s:.1f}/s")
        newest = Percentiles.of(self._newest_ms)
        if newest.p50 is not None:
            parts.append(f"p50 {newest.p50:.1f} ms  p95 {newest.p95:.1f} ms")
        return "  ".join(parts)

    def _send(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as exc:
            raise SinkError(
                f"the terminal does not take the run's state ({exc}); expected an open one; "
                "run with its output sent to a file"
            ) from exc
