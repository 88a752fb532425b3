"""What a soak shows to the line, and what is true about it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.grey import grey_bundle, grey_score
from dtgd_edge.pretend import line_parts
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.verdict import Decision

PICTURES, SIDE_PX = 64, 128
# Frames that nobody can judge come in these rhythms, which are prime so that they meet.
BLACK_EVERY, LOST_EVERY, WRONG_LAYOUT_EVERY = 101, 211, 307


@dataclass(frozen=True, slots=True, eq=False)
class SoakPlan:
    """Frames that are drawn once and shown round and round, and what they are.

    Attributes:
        frames: how many are shown.
        pictures: uint8 BGR [SIDE_PX, SIDE_PX, 3] each.
        is_ng: of each picture.
        threshold: lies in the middle between two of their scores.
    """

    frames: int
    pictures: tuple[NDArray[np.uint8], ...]
    is_ng: tuple[bool, ...]
    threshold: float

    @classmethod
    def drawn(cls, frames: int, seed: int = 0) -> "SoakPlan":
        """Draw parts, and choose the threshold so that about every fifth is NG."""
        geometry = grey_bundle().manifest.geometry
        pictures = tuple(part.image for part in islice(line_parts(seed, 0.3, SIDE_PX), PICTURES))
        scores = np.array([grey_score(geometry.apply(picture)) for picture in pictures])
        ranked = np.unique(scores)
        place = int(0.8 * len(ranked))
        threshold = float(ranked[place - 1] + ranked[place]) / 2
        return cls(frames, pictures, tuple((scores > threshold).tolist()), threshold)

    def frame(self, index: int) -> Frame:
        """The frame of a number."""
        if index % LOST_EVERY == 0:
            return Frame(None, index, part=index, fault="lost frame: left out on purpose")
        picture = self.pictures[index % PICTURES]
        if index % BLACK_EVERY == 0:
            picture = np.zeros_like(picture)
        elif index % WRONG_LAYOUT_EVERY == 0:
            return Frame(picture.astype(np.float32), index, part=index)
        return Frame(picture, index, part=index)

    def truth(self, index: int) -> Decision:
        """What the verdict about it must be."""
        if any(index % every == 0 for every in (LOST_EVERY, BLACK_EVERY, WRONG_LAYOUT_EVERY)):
            return Decision.NO_DECISION
        return Decision.NG if self.is_ng[index % PICTURES] else Decision.OK

    def truths(self) -> dict[str, int]:
        """How many of each there must be."""
        counts = Counter(self.truth(index).value for index in range(self.frames))
        return {decision.value: counts[decision.value] for decision in Decision}


class PlannedSource(FrameSource):
    """The frames of a plan, one after the other."""

    is_live = False
    description = "frames drawn beforehand"

    def __init__(self, plan: SoakPlan) -> None:
        self._plan = plan
        self._is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._plan.frames):
            if self._is_closed:
                return
            yield self._plan.frame(index)

    def close(self) -> None:
        self._is_closed = True
