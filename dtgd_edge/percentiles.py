"""The one arithmetic of percentiles, for the camera loop and the benchmarks; uses numpy only."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Percentiles:
    """What a set of samples looks like, in the samples' own unit.

    Each percentile is a sample that occurred (nearest rank): the smallest one that at least so many
    per cent of the samples do not exceed. Nothing is interpolated.

    Attributes:
        count: number of samples seen.
        p50, p95, p99, max: None without samples.
    """

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Percentiles":
        """Summarise samples; an infinite or NaN one is a mistake of the caller."""
        values = np.sort(np.fromiter(samples, np.float64))
        assert bool(np.isfinite(values).all()), "samples are finite"
        count = len(values)
        if not count:
            return cls(0)
        # Integer arithmetic: 0.95 * 100 is not 95 in floating point.
        p50, p95, p99 = (float(values[-(-percent * count // 100) - 1]) for percent in (50, 95, 99))
        return cls(count, p50, p95, p99, float(values[-1]))

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"count": self.count, "p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.max}


class RecentSamples:
    """Samples of a run that may last for weeks: exact count and maximum, percentiles of the newest."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._newest: deque[float] = deque(maxlen=capacity)
        self._count = 0
        self._max = float("-inf")

    def add(self, sample: float) -> None:
        self._newest.append(sample)
        self._count += 1
        self._max = max(self._max, sample)

    def percentiles(self) -> Percentiles:
        """Summarise: `count` and `max` of all samples, the percentiles of the newest `capacity`."""
        newest = Percentiles.of(self._newest)
        return replace(newest, count=self._count, max=self._max) if self._count else newest
