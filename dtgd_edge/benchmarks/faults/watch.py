"""Looks at every verdict of a line under test, and knows by itself which frames could be judged."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

# JPEG and another decoder move pixels by a few grey levels on average, never by so many.
_NEAR = 6.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One verdict, and what the watch thinks of its frame.

    Attributes:
        at_ns: time.monotonic_ns() of its delivery.
        decision, reason: of the verdict; the reason's kind only.
        index: of the frame.
        could_be_judged: whether an OK or NG was right to give.
    """

    at_ns: int
    decision: Decision
    reason: str
    index: int
    could_be_judged: bool


class Watch(Sink):
    """Remembers verdicts, and which frames could be judged: whole pictures of the kind that was trained.

    It decides by comparing the frame with the pictures that the camera was given, which the line cannot do.

    Args:
        pictures: uint8 BGR [H, W, 3]; any other frame cannot be judged.
        repeats: so many equal frames in a row are a frozen camera; 0: repetition is no fault.
        oldest_ms: a frame older than this at its verdict is a picture of the past.
    """

    def __init__(
        self, pictures: Sequence[NDArray[np.uint8]], repeats: int = 0, oldest_ms: float = 3000.0
    ) -> None:
        self._pictures = pictures
        self._repeats = repeats
        self._oldest_ms = oldest_ms
        self._same = 0
        self._last: NDArray[Any] | None = None
        self._seen: list[Seen] = []
        self._changed = threading.Condition()

    def write(self, verdict: Verdict, frame: Frame) -> None:
        kind = (verdict.reason or "").partition(":")[0]
        could = self._could_be_judged(frame)
        with self._changed:
            self._seen.append(Seen(time.monotonic_ns(), verdict.decision, kind, frame.index, could))
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def seen(self) -> list[Seen]:
        """All of it so far."""
        with self._changed:
            return list(self._seen)

    @property
    def wrong_ok(self) -> int:
        """OK verdicts about frames that could not be judged."""
        return sum(seen.decision is Decision.OK and not seen.could_be_judged for seen in self.seen)

    @property
    def judged(self) -> int:
        """Verdicts that are OK or NG."""
        return sum(seen.decision is not Decision.NO_DECISION for seen in self.seen)

    def reasons(self, since_ns: int = 0) -> Counter[str]:
        """NO_DECISION verdicts by the kind of their reason."""
        return Counter(seen.reason for seen in self.seen if seen.reason and seen.at_ns >= since_ns)

    def wait(self, wanted: Callable[[Seen], bool], since_ns: int, timeout_s: float) -> Seen | None:
        """Wait for a verdict after a moment; None when none came in time."""
        deadline = time.monotonic() + timeout_s
        looked = 0
        with self._changed:
            while True:
                for seen in self._seen[looked:]:
                    if seen.at_ns >= since_ns and wanted(seen):
                        return seen
                looked = len(self._seen)
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0 or not self._changed.wait(remaining_s):
                    return None

    def wait_judged(self, since_ns: int, timeout_s: float) -> Seen | None:
        """Wait for the next OK or NG."""
        return self.wait(lambda seen: seen.decision is not Decision.NO_DECISION, since_ns, timeout_s)

    def _could_be_judged(self, frame: Frame) -> bool:
        image = frame.image
        if image is None:
            self._last = None
            return False
        is_same = self._last is not None and np.array_equal(image, self._last)
        self._same = self._same + 1 if is_same else 1
        self._last = image
        if self._repeats and self._same >= self._repeats:
            return False
        age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
        return age_ms <= self._oldest_ms and any(_is_near(image, picture) for picture in self._pictures)


def _is_near(image: NDArray[Any], picture: NDArray[np.uint8]) -> bool:
    if image.shape != picture.shape or image.dtype != picture.dtype:
        return False
    difference = np.abs(image.astype(np.int16) - picture)
    # A broken picture may be right but for a strip: every part of it counts.
    return all(float(strip.mean()) <= _NEAR for strip in np.array_split(difference, 8))
