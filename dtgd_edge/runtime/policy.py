"""What a line makes of scores: masks, zones, votes and hysteresis, as an engineer writes them down."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dtgd_edge.errors import ConfigError

Rectangle = tuple[int, int, int, int]
MOST_VOTES = 64


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    """A named part of the frame with a threshold of its own.

    Attributes:
        name: for people and records.
        rectangle: x, y, width, height in frame pixels.
        threshold_factor: times the bundle's threshold; a factor stays right when the bundle is swapped or
            the threshold is moved. Above 1 the zone is more lenient, below 1 stricter.
    """

    name: str
    rectangle: Rectangle
    threshold_factor: float = 1.0

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("a zone has no name; expected one for the records; name it")
        check_rectangle(f"zone {self.name!r}", self.rectangle)
        if not 0 < self.threshold_factor < math.inf:
            raise ConfigError(
                f"zone {self.name!r} has threshold_factor {self.threshold_factor}; expected a number "
                "above 0; use 1.0 for the bundle's own threshold"
            )


@dataclass(frozen=True, slots=True)
class VoteConfig:
    """How the frames of one part become one verdict.

    Attributes:
        frames: frames that show one part.
        ng_frames: so many NG frames make the part NG, whatever the others say.
        fewest_judged: with fewer judged frames the part is not OK but NO_DECISION; None: all must be judged.
        wait_ms: a part whose frames do not all come within this time of its first is decided without them.
    """

    frames: int
    ng_frames: int = 1
    fewest_judged: int | None = None
    wait_ms: float = 2000.0

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MOST_VOTES:
            raise ConfigError(f"vote frames {self.frames} is impossible; expected 1 to {MOST_VOTES}")
        if not 1 <= self.ng_frames <= self.frames:
            raise ConfigError(
                f"vote ng_frames {self.ng_frames} of {self.frames} is impossible; expected 1 to {self.frames}"
            )
        # Fewer judged frames than NG frames needed could never be NG: nothing would have been inspected.
        if not self.ng_frames <= self.judged <= self.frames:
            raise ConfigError(
                f"vote fewest_judged {self.fewest_judged} is impossible; expected ng_frames to frames, "
                f"{self.ng_frames} to {self.frames}"
            )
        if not 0 < self.wait_ms < math.inf:
            raise ConfigError(f"vote wait_ms {self.wait_ms} is impossible; expected more than 0")

    @property
    def judged(self) -> int:
        """Judged frames that an OK needs."""
        return self.frames if self.fewest_judged is None else self.fewest_judged


@dataclass(frozen=True, slots=True)
class HysteresisConfig:
    """For streams without parts: a faint score must stay, a high one need not.

    Attributes:
        at_once_factor: a score above so many times the threshold is NG at once.
        frames: a lower one that is above the threshold is NG with the so many-th frame in a row.
    """

    at_once_factor: float = 1.3
    frames: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.at_once_factor < math.inf:
            raise ConfigError(
                f"hysteresis at_once_factor {self.at_once_factor} is impossible; expected 1 or more; use 1.3"
            )
        if self.frames < 1:
            raise ConfigError(f"hysteresis frames {self.frames} is impossible; expected at least 1")


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """The table [policy] of a line; the defaults judge the whole frame with the bundle's threshold.

    Attributes:
        ignore: rectangles x, y, width, height in frame pixels that are not inspected.
        ignore_mask: a picture of the frame's size; what is not black in it is not inspected.
        zones: where other thresholds hold; they may overlap, and each is judged on its own.
        outside_zones: "judge" the rest of the frame with the bundle's threshold, or "ignore" it.
        smallest_area_px: NG needs an area above the threshold of at least so many frame pixels.
        vote: one verdict per part; None: one per frame.
        hysteresis: for streams without parts; None: every frame by itself.
    """

    ignore: tuple[Rectangle, ...] = ()
    ignore_mask: Path | None = None
    zones: tuple[ZoneConfig, ...] = ()
    outside_zones: Literal["judge", "ignore"] = "judge"
    smallest_area_px: int = 0
    vote: VoteConfig | None = None
    hysteresis: HysteresisConfig | None = None

    def __post_init__(self) -> None:
        for rectangle in self.ignore:
            check_rectangle("policy ignore", rectangle)
        names = [zone.name for zone in self.zones]
        if len(set(names)) < len(names):
            raise ConfigError(f"zones {', '.join(names)} share a name; expected different ones; rename one")
        if self.outside_zones == "ignore" and not self.zones:
            raise ConfigError(
                'policy outside_zones = "ignore" leaves nothing to inspect; expected zones; add a zone'
            )
        if self.smallest_area_px < 0:
            raise ConfigError(
                f"policy smallest_area_px {self.smallest_area_px} is impossible; expected 0 or more"
            )
        if self.vote is not None and self.hysteresis is not None:
            raise ConfigError(
                "policy has a vote and hysteresis; expected one of them, because hysteresis would carry a "
                "part's score to the next part; remove one"
            )

    @property
    def has_zones(self) -> bool:
        """Whether anything but the whole frame with one threshold is judged."""
        return bool(self.ignore or self.ignore_mask or self.zones)


WHOLE_FRAME = PolicyConfig()


def check_rectangle(what: str, rectangle: Rectangle) -> None:
    """Refuse a rectangle that cannot lie in a frame.

    Raises:
        ConfigError: with `what` in it.
    """
    if min(rectangle[:2]) < 0 or min(rectangle[2:]) < 1:
        raise ConfigError(
            f"{what} has the rectangle {list(rectangle)}; expected x, y >= 0 and width, height >= 1"
        )
