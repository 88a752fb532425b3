"""When frames come: one after the other, at the pace of a line, or after idle gaps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dtgd_edge.errors import ConfigError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.promise import bound_of_false_reject

# Long enough for a steady state, short enough that foreign load hits all subjects alike.
TURN_FRAMES = 10
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Turn:
    """Frames that one subject judges in a row, before the next subject judges the same ones.

    Attributes:
        frames: counted ones.
        lead_in: frames before them that are not counted: the subject before has had the caches.
        gap_ms: idle time before each frame; None where the pace has none.
    """

    frames: int
    lead_in: int = 0
    gap_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """When frames come. Without arguments the next one comes when the last is judged.

    Attributes:
        parts_per_minute: a part is due every 60 / parts_per_minute seconds, whether or not the one before
            has been judged, as on a line that nothing stops. None: no fixed pace.
        idle_gaps_ms: a frame is due when so many milliseconds have passed since the last verdict, as on a
            line where parts come now and then. Several gaps take turns.

    Raises:
        ConfigError: both at once, or numbers that no line has.
    """

    parts_per_minute: float | None = None
    idle_gaps_ms: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.parts_per_minute is not None and self.idle_gaps_ms:
            raise ConfigError(
                "a pace in parts per minute and idle gaps were both given; expected one of them, because the "
                "pace decides the gaps; leave one out"
            )
        if self.parts_per_minute is not None and not 0 < self.parts_per_minute <= 60_000:
            raise ConfigError(
                f"a pace of {self.parts_per_minute:g} parts a minute was given; expected more than 0 and at "
                "most 60000; correct it"
            )
        if any(not 0 <= gap <= 60_000 for gap in self.idle_gaps_ms):
            raise ConfigError(
                f"idle gaps of {_numbers(self.idle_gaps_ms)} ms were given; expected 0 to 60000 each; "
                "correct them"
            )

    @property
    def period_ms(self) -> float | None:
        """Time from part to part; None without a fixed pace."""
        return None if self.parts_per_minute is None else 60e3 / self.parts_per_minute

    @property
    def is_line(self) -> bool:
        """Whether frames come at times of their own."""
        return self.parts_per_minute is not None or bool(self.idle_gaps_ms)

    def turns(self, frames: int) -> Iterator[Turn]:
        """Cut so many counted frames into turns.

        Raises:
            ConfigError: fewer frames than gaps.
        """
        if not self.is_line:
            yield from [Turn(1)] * frames
            return
        gaps: Sequence[float | None] = self.idle_gaps_ms or (None,)
        if frames < len(gaps):
            raise ConfigError(
                f"{frames} frames were asked for, with {len(gaps)} idle gaps; expected at least one frame "
                "for each; raise --frames"
            )
        left = [frames // len(gaps) + (index < frames % len(gaps)) for index in range(len(gaps))]
        while any(left):
            for index, gap in enumerate(gaps):
                if count := min(TURN_FRAMES, left[index]):
                    left[index] -= count
                    yield Turn(count, lead_in=1, gap_ms=gap)

    def idle_s(self, frames: int) -> float:
        """What one subject takes at least, if it computes in no time."""
        return sum(
            (turn.frames + turn.lead_in) * (self.period_ms or turn.gap_ms or 0.0) / 1e3
            for turn in self.turns(frames)
        )

    def __str__(self) -> str:
        if self.parts_per_minute is not None:
            return f"{self.parts_per_minute:g} parts a minute"
        if self.idle_gaps_ms:
            return f"idle gaps of {_numbers(self.idle_gaps_ms)} ms"
        return "one after the other"


@dataclass(frozen=True, slots=True)
class Takt:
    """Whether verdicts come in time for a line.

    Attributes:
        deadline_ms: a verdict is late if it comes after the next part is due, so many milliseconds after its
            own was. The ejector may grant more or less; this is what keeps the line from falling behind.
        parts: counted.
        missed: with a late verdict.
        missed_rate: their share.
        missed_rate_at_most: with a confidence of 95 %, if one late verdict does not bring the next.
        margin_ms: from the 99th percentile of the total to the deadline; negative if that is late.
    """

    deadline_ms: float
    parts: int
    missed: int
    missed_rate: float
    missed_rate_at_most: float
    margin_ms: float

    @classmethod
    def of(cls, totals_ms: Sequence[float], deadline_ms: float) -> "Takt":
        """Compare times from the moment a part was due to its verdict with the deadline."""
        missed, parts = sum(total > deadline_ms for total in totals_ms), len(totals_ms)
        p99 = Percentiles.of(totals_ms).p99
        assert p99 is not None, "a part at least"
        return cls(
            deadline_ms=deadline_ms,
            parts=parts,
            missed=missed,
            missed_rate=missed / parts,
            missed_rate_at_most=bound_of_false_reject(parts, missed, CONFIDENCE),
            margin_ms=deadline_ms - p99,
        )


def gaps_from_text(text: str) -> tuple[float, ...]:
    """Read "0,50,200,1000": milliseconds.

    Raises:
        ConfigError: it is not of that form, or a gap is there twice.
    """
    try:
        gaps = tuple(float(part) for part in text.split(","))
    except ValueError:
        gaps = ()
    if not gaps or not all(map(math.isfinite, gaps)) or len(set(gaps)) < len(gaps):
        raise ConfigError(
            f"idle gaps {text!r} were given; expected different milliseconds with commas between, as "
            "0,50,200,1000; correct them"
        )
    return gaps


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
