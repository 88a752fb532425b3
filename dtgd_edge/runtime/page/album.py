"""Pictures of the last rejected parts."""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

THUMBNAIL_PX = 240

# Frames that wait to be drawn: what the album may hold of the camera's memory.
_WAITING = 4
_DRAWINGS_PER_S = 4.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Reject:
    """One part that was not OK.

    Attributes:
        sequence: the verdict's, as the state counts.
        at_ns: time.time_ns() of the verdict.
        verdict: without its map.
        jpeg: the picture with heat and regions; None until it is drawn, or if too many came at once.
        thumbnail: the same, small.
    """

    sequence: int
    at_ns: int
    verdict: Verdict
    jpeg: bytes | None = None
    thumbnail: bytes | None = None


class Album:
    """Keeps the newest rejects, drawn by a thread of its own at a pace that does not burden the line.

    Of NO_DECISION verdicts in a row the first is kept: a black camera must not drive the bad parts out.

    Args:
        limit: rejects that are kept.
        longest_px: longest side of a picture.
        sensor_bits: significant bits of a 16-bit frame.
    """

    def __init__(self, limit: int, longest_px: int, sensor_bits: int) -> None:
        self._limit = limit
        self._longest_px = longest_px
        self._sensor_bits = sensor_bits
        self._rejects: dict[int, Reject] = {}
        self._waiting: deque[tuple[int, Verdict, Frame]] = deque(maxlen=_WAITING)
        self._was_undecided = False
        self._changed = threading.Condition()
        self._is_closed = threading.Event()
        self._artist = threading.Thread(target=self._draw_all, name="dtgd-page-album", daemon=True)
        self._artist.start()

    def add(self, sequence: int, verdict: Verdict, frame: Frame) -> None:
        """Take a verdict; only references are kept, and of those that are OK nothing."""
        is_undecided = verdict.decision is Decision.NO_DECISION
        is_wanted = verdict.decision is Decision.NG or (is_undecided and not self._was_undecided)
        self._was_undecided = is_undecided
        if not is_wanted:
            return
        with self._changed:
            self._rejects[sequence] = Reject(sequence, time.time_ns(), replace(verdict, map=None))
            while len(self._rejects) > self._limit:
                del self._rejects[next(iter(self._rejects))]
            self._waiting.append((sequence, verdict, frame))
            self._changed.notify()

    def rejects(self) -> tuple[Reject, ...]:
        """All that are kept, the newest first."""
        with self._changed:
            return tuple(reversed(self._rejects.values()))

    def reject(self, sequence: int) -> Reject | None:
        """One of them; None when it is not kept any more."""
        with self._changed:
            return self._rejects.get(sequence)

    def close(self) -> None:
        """End the drawing thread."""
        self._is_closed.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify()
        self._artist.join(2.0)

    def _draw_all(self) -> None:
        while not self._is_closed.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed.is_set())
                if not self._waiting:
                    continue
                sequence, verdict, frame = self._waiting.pop()
            try:
                self._draw(sequence, verdict, frame)
            except Exception:
                # A picture that cannot be drawn leaves a gap in the album, and nothing else.
                _log.exception("the picture of verdict %d cannot be drawn", sequence)
            del verdict, frame
            self._is_closed.wait(1 / _DRAWINGS_PER_S)

    def _draw(self, sequence: int, verdict: Verdict, frame: Frame) -> None:
        from dtgd_edge.runtime.page.drawing import jpeg_from_verdict, smaller_jpeg

        jpeg = jpeg_from_verdict(frame.image, verdict, self._longest_px, self._sensor_bits)
        thumbnail = smaller_jpeg(jpeg, THUMBNAIL_PX)
        with self._changed:
            if (kept := self._rejects.get(sequence)) is not None:
                self._rejects[sequence] = replace(kept, jpeg=jpeg, thumbnail=thumbnail)
