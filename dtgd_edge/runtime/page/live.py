"""The newest picture, drawn when somebody looks."""

import threading
import time
from dataclasses import dataclass

from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class LivePicture:
    """A drawn verdict.

    Attributes:
        sequence: of its verdict.
        decision, frame_index: the verdict's.
        captured_ns: time.monotonic_ns() of its frame.
        jpeg: with heat and regions.
    """

    sequence: int
    decision: Decision
    frame_index: int
    captured_ns: int
    jpeg: bytes


class LiveView:
    """Holds the newest frame; draws it once for all who look, so many times a second at most.

    Args:
        fps: drawings per second, at most.
        longest_px: longest side of the picture.
        sensor_bits: significant bits of a 16-bit frame.
    """

    def __init__(self, fps: float, longest_px: int, sensor_bits: int) -> None:
        self._pause_ns = round(1e9 / fps)
        self._longest_px = longest_px
        self._sensor_bits = sensor_bits
        self._newest: tuple[int, Verdict, Frame] | None = None
        self._drawing = threading.Lock()
        self._drawn: LivePicture | None = None
        self._drawn_ns = 0
        self.drawings = 0

    def add(self, sequence: int, verdict: Verdict, frame: Frame) -> None:
        """Take the newest verdict; one reference is replaced."""
        self._newest = (sequence, verdict, frame)

    def picture(self) -> LivePicture | None:
        """The newest picture that may be drawn now, or the one drawn last; None before the first verdict."""
        with self._drawing:
            newest, now_ns = self._newest, time.monotonic_ns()
            is_new = newest is not None and (self._drawn is None or newest[0] != self._drawn.sequence)
            if newest is not None and is_new and now_ns - self._drawn_ns >= self._pause_ns:
                from dtgd_edge.runtime.page.drawing import jpeg_from_verdict

                sequence, verdict, frame = newest
                jpeg = jpeg_from_verdict(frame.image, verdict, self._longest_px, self._sensor_bits)
                self._drawn = LivePicture(sequence, verdict.decision, frame.index, frame.captured_ns, jpeg)
                self._drawn_ns = now_ns
                self.drawings += 1
            return self._drawn

    def close(self) -> None:
        """Let go of the frame."""
        self._newest = None
