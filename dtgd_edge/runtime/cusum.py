"""A cumulative sum over normalised ranks: finds a small lasting shift, with a stated rate of false alarms."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from statistics import NormalDist, median

# Siegmund's correction of a sum that is only looked at once per part.
_OVERSHOOT = 1.166
# The sum stops growing here, in units of the limit, so that the way back does not take for ever.
_CAP = 1.5
# Standard errors of the reference's own centre that are kept in reserve.
_RESERVE = 2.0

_NORMAL = NormalDist()


class Reference:
    """Numbers that say what is normal; at least two.

    Attributes:
        median: of them.
    """

    def __init__(self, numbers: Iterable[float]) -> None:
        self._sorted = sorted(numbers)
        assert len(self._sorted) >= 2, "a reference has two numbers at least"
        self.median = median(self._sorted)

    def normal_rank(self, value: float) -> float:
        """What a standard normal number of the same rank would be; 0 in the middle.

        Beyond the reference it stays finite: no single part, however odd, is an alarm.
        """
        count = len(self._sorted)
        rank = (bisect_left(self._sorted, value) + bisect_right(self._sorted, value)) / 2
        return _NORMAL.inv_cdf((rank + 0.5) / (count + 1))


class Cusum:
    """Two one-sided cumulative sums with hysteresis.

    Away from normal from the part at which a sum reaches the limit until the part at which both are back
    at 0.

    Args:
        allowance: what a part may lie off the middle and not count, in standard deviations; half of the
            smallest shift that is to be found.
        limit: in standard deviations.
    """

    def __init__(self, allowance: float, limit: float) -> None:
        self._allowance = allowance
        self._limit = limit
        self._up = self._down = 0.0
        self.is_away = False

    def add(self, normal: float) -> None:
        """Count one part."""
        cap = _CAP * self._limit
        self._up = min(cap, max(0.0, self._up + normal - self._allowance))
        self._down = min(cap, max(0.0, self._down - normal - self._allowance))
        if self.is_away:
            self.is_away = self._up > 0.0 or self._down > 0.0
        else:
            self.is_away = max(self._up, self._down) >= self._limit


def average_run_length(allowance: float, limit: float) -> float:
    """Parts between two false alarms of a two-sided sum, by Siegmund's approximation.

    For independent standard normal numbers; `allowance` above 0.
    """
    exponent = 2.0 * allowance * (limit + _OVERSHOOT)
    # Either side alone is twice as rare.
    return (math.exp(min(exponent, 700.0)) - 1.0 - exponent) / (2.0 * allowance**2) / 2.0


def alarm_limit(allowance: float, run_length: float, reference: int) -> float:
    """The limit that gives an average run length, with a reserve for the reference's own error.

    The middle of `reference` parts is off the true one by about 1 / sqrt(reference) standard deviations,
    which the allowance has to bear too: the limit is that of an allowance smaller by two such errors, so
    that about 39 references of 40 give the run length or a longer one.

    Args:
        allowance: as Cusum takes it.
        run_length: parts between two false alarms.
        reference: parts of the reference.
    """
    reserved = max(0.2 * allowance, allowance - _RESERVE / math.sqrt(reference))
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if average_run_length(reserved, middle) < run_length else (low, middle)
    return high
