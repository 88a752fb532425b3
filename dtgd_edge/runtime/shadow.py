"""A candidate bundle on the same frames as the active one: what it would have decided."""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.percentiles import Percentiles, RecentSamples
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.runtime.live import Opened
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

# Pairs of scores that the rank correlation is computed from.
_PAIRS = 1000
# A skipped look makes the next one likelier: one slow look must not be the last.
_FORGET = 0.98


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """A frame that the two bundles decided differently.

    Attributes:
        active, candidate: `Verdict.record()` of the two.
        picture: JPEG, the active bundle's overlay beside the candidate's; None beyond the limit.
    """

    active: Mapping[str, Any]
    candidate: Mapping[str, Any]
    picture: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class ShadowReport:
    """What a candidate would have changed.

    Attributes:
        active, candidate: which bundles, for people.
        seconds: since the candidate was opened.
        compared: frames that both judged.
        skipped: frames that the candidate was not given because they would have broken the time budget.
        counts: frames by "active/candidate" decisions: "OK/NG".
        rank_correlation: Spearman's, of the newest scores that both gave; None below two.
        score_ms: the candidate's time for a frame, milliseconds.
        differences: the first that had room, oldest first; `counts` has them all.
    """

    active: str
    candidate: str
    seconds: float
    compared: int
    skipped: int
    counts: Mapping[str, int]
    rank_correlation: float | None
    score_ms: Percentiles
    differences: tuple[Difference, ...]

    @property
    def agreed(self) -> int:
        """Frames that both decided alike."""
        return sum(n for pair, n in self.counts.items() if pair.split("/")[0] == pair.split("/")[1])

    def record(self) -> dict[str, Any]:
        """Plain JSON values, without the pictures."""
        return {
            "active": self.active,
            "candidate": self.candidate,
            "seconds": round(self.seconds, 1),
            "compared": self.compared,
            "agreed": self.agreed,
            "skipped": self.skipped,
            "counts": dict(self.counts),
            "rank_correlation": self.rank_correlation,
            "score_ms": self.score_ms.record(),
            "differences": [{"active": d.active, "candidate": d.candidate} for d in self.differences],
        }


class Shadow:
    """Lets a candidate judge frames that the active bundle has judged.

    `look` belongs to the judging thread; any thread may ask for the report.

    Args:
        opened: the candidate; closed by `close`.
        active: label of the active bundle.
        every_nth_frame: the candidate is given every n-th frame.
        budget_ms: from a frame's arrival to the end of the candidate's look at it; a frame that would
            take longer is skipped.
        pictures: differing verdicts that are kept with a picture.
        expected_ms: what the first look will take.
    """

    def __init__(
        self,
        opened: Opened,
        active: str,
        *,
        every_nth_frame: int,
        budget_ms: float,
        pictures: int,
        expected_ms: float = 0.0,
    ) -> None:
        self.opened = opened
        self._active = active
        self._every_nth_frame = every_nth_frame
        self._budget_ms = budget_ms
        self._pictures = pictures
        self._expected_ms = expected_ms
        self._begun = time.monotonic()
        self._frames = 0
        self._lock = threading.Lock()
        self._skipped = 0
        self._counts: Counter[str] = Counter()
        self._scores: deque[tuple[float, float]] = deque(maxlen=_PAIRS)
        self._score_ms = RecentSamples()
        self._differences: list[Difference] = []

    def look(self, verdict: Verdict, frame: Frame) -> bool:
        """Give the candidate a frame, if it is its turn and there is time.

        Args:
            verdict: the active bundle's, about this frame alone.

        Returns:
            Whether the candidate judged it.

        Raises:
            BackendError: the candidate's session failed.
        """
        self._frames += 1
        if frame.image is None or (self._frames - 1) % self._every_nth_frame:
            return False
        begun_ns = time.monotonic_ns()
        if (begun_ns - frame.captured_ns) / 1e6 + self._expected_ms > self._budget_ms:
            self._expected_ms *= _FORGET
            with self._lock:
                self._skipped += 1
            return False
        other = self.opened.inspector.inspect(frame)
        took_ms = (time.monotonic_ns() - begun_ns) / 1e6
        self._expected_ms = max(took_ms, 0.9 * self._expected_ms)
        is_different = other.decision is not verdict.decision
        difference = self._difference(verdict, other, frame.image) if is_different else None
        with self._lock:
            self._counts[f"{verdict.decision.value}/{other.decision.value}"] += 1
            self._score_ms.add(took_ms)
            if verdict.score is not None and other.score is not None:
                self._scores.append((verdict.score, other.score))
            if difference is not None:
                self._differences.append(difference)
        return True

    def report(self) -> ShadowReport:
        """What was seen so far. Any thread may ask."""
        with self._lock:
            counts = dict(self._counts)
            pairs = np.array(self._scores, np.float32).reshape(-1, 2)
            return ShadowReport(
                active=self._active,
                candidate=self.opened.label,
                seconds=time.monotonic() - self._begun,
                compared=sum(counts.values()),
                skipped=self._skipped,
                counts=counts,
                rank_correlation=rank_correlation(pairs[:, 0], pairs[:, 1]) if len(pairs) > 1 else None,
                score_ms=self._score_ms.percentiles(),
                differences=tuple(self._differences),
            )

    def close(self) -> None:
        """Close the candidate."""
        self.opened.close()

    def _difference(self, verdict: Verdict, other: Verdict, image: NDArray[Any]) -> Difference | None:
        if len(self._differences) >= self._pictures:
            return None
        bits = self.opened.bundle.manifest.geometry.sensor_bits
        return Difference(verdict.record(), other.record(), _beside(image, verdict, other, bits))


def _beside(image: NDArray[Any], left: Verdict, right: Verdict, sensor_bits: int) -> bytes | None:
    """Both overlays as one JPEG; None where OpenCV is missing or refuses the picture."""
    try:
        import cv2

        from dtgd_edge.runtime.overlay import overlay
    except ImportError:
        return None
    pictures = [overlay(image, verdict, sensor_bits=sensor_bits) for verdict in (left, right)]
    height = max(len(picture) for picture in pictures)
    padded = [
        np.pad(picture, ((height - len(picture), 0), (0, 8), (0, 0)), constant_values=255)
        for picture in pictures
    ]
    encoded, buffer = cv2.imencode(".jpg", np.hstack(padded))
    return bytes(buffer.tobytes()) if encoded else None
