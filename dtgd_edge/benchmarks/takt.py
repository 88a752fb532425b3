"""Which graph sees the smallest defect and holds the takt: arithmetic on measured times, nothing else."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import STRIDE, Geometry, size_text
from dtgd_edge.manifest import Precision

# A rule of thumb. The finest map has a position every 4 pixels of the graph. A defect of 6 x 6 covers more
# than half of one position wherever it falls (of 4 x 4 perhaps only a quarter of each of four), so that one
# position shows more of the defect than of the good surroundings. Long scratches are seen when thinner,
# defects of little contrast only when larger.
PIXELS_PER_DEFECT = 6.0
# Share of the takt for what is not measured here: exposure, transfer, the ejector, a busy or hot machine.
RESERVE = 0.2

SHORTEST_LONG_SIDE = 256  # what the networks' deepest stage was made for: 8 positions
STEP = 1.6  # between two sizes, per side
UNCUT_LONG_SIDE = 512  # above it, tiles are looked at beside the whole frame
TILE_STEP = 256  # between tiles, about
PRECISION_ORDER: tuple[Precision, ...] = ("fp32", "fp16", "int8")  # the trained graph's verdicts first


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a line asks for.

    Attributes:
        parts_per_minute: one frame per part.
        frame_hw: height and width of the camera's frames, in pixels; pixels are square.
        smallest_defect_mm: side of the smallest defect to be seen.
        field_of_view_mm: what the frame's width shows.
        pixels_per_defect: pixels of the graph that a defect has to cover to be seen, along a side.
        reserve: share of the takt that is kept free, in [0, 1).
    """

    parts_per_minute: float
    frame_hw: tuple[int, int]
    smallest_defect_mm: float
    field_of_view_mm: float
    pixels_per_defect: float = PIXELS_PER_DEFECT
    reserve: float = RESERVE

    def __post_init__(self) -> None:
        if not 0 < self.parts_per_minute < math.inf:
            raise ConfigError(
                f"{self.parts_per_minute:g} parts a minute were asked for; expected more than 0; correct it"
            )
        if not 0 <= self.reserve < 1:
            raise ConfigError(
                f"a reserve of {self.reserve:g} was asked for; expected 0 to below 1, of the takt; "
                "write 20% or 0.2"
            )
        if not 0 < self.pixels_per_defect < math.inf:
            raise ConfigError(
                f"{self.pixels_per_defect:g} pixels per defect were asked for; expected more than 0; "
                f"leave it out for {PIXELS_PER_DEFECT:g}"
            )
        if not 0 < self.smallest_defect_mm < self.field_of_view_mm:
            raise ConfigError(
                f"a smallest defect of {self.smallest_defect_mm:g} mm and a field of view of "
                f"{self.field_of_view_mm:g} mm were given; expected the defect to be smaller; correct one"
            )

    @property
    def takt_ms(self) -> float:
        """From part to part."""
        return 60e3 / self.parts_per_minute

    @property
    def available_ms(self) -> float:
        """What a verdict may take, capture left out."""
        return self.takt_ms * (1 - self.reserve)

    @property
    def camera_mm_per_px(self) -> float:
        return self.field_of_view_mm / self.frame_hw[1]

    @property
    def camera_px(self) -> float:
        """Pixels of the camera that the smallest defect covers, along a side."""
        return self.smallest_defect_mm / self.camera_mm_per_px

    @property
    def camera_sees(self) -> bool:
        """Whether the camera has enough pixels on the defect; enlarging its frames would add none."""
        return _reaches(self.camera_px, self.pixels_per_defect)

    @property
    def needed_frame_width_px(self) -> int:
        """What a camera needs across, with this field of view."""
        return math.ceil(self.pixels_per_defect * self.field_of_view_mm / self.smallest_defect_mm - 1e-9)

    @property
    def widest_field_mm(self) -> float:
        """What this camera may look at, for enough pixels on the defect."""
        return self.frame_hw[1] * self.smallest_defect_mm / self.pixels_per_defect


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graph that may be run.

    Attributes:
        graph: its kind, "full", or a bundle's name: what is equal in two of them takes times that follow
            from their pixels.
        precision: of its arithmetic.
        geometry: how a frame becomes its input.
    """

    graph: str
    precision: Precision
    geometry: Geometry

    @property
    def work_px(self) -> int:
        """Pixels that its networks see of a frame: overlaps of tiles and margins count again."""
        grid = self.geometry.tile_grid
        height, width = self.geometry.size_hw if grid is None else grid.tile_hw
        count = 1 if grid is None else len(grid.areas)
        rim = 2 * self.geometry.margin
        return count * (height + rim) * (width + rim)


@dataclass(frozen=True, slots=True)
class Timing:
    """What a candidate takes on this machine.

    Attributes:
        candidate: which.
        p50_ms, p99_ms: from a frame's arrival to its verdict, without capture; the nearest rank, so that p99
            of less than 100 frames is the slowest.
        loop_ms: of p50_ms, what does not depend on the graph.
        frames: that were counted.
        device: where it ran, for people.
    """

    candidate: Candidate
    p50_ms: float
    p99_ms: float
    loop_ms: float
    frames: int
    device: str

    def scaled_to(self, candidate: Candidate) -> "Timing":
        """Guess the times of another size: all but the loop grows with the pixels that the networks see."""
        ratio = candidate.work_px / self.candidate.work_px
        p50, p99 = (self.loop_ms + (ms - self.loop_ms) * ratio for ms in (self.p50_ms, self.p99_ms))
        return replace(self, candidate=candidate, p50_ms=p50, p99_ms=p99, frames=0)

    @property
    def is_measured(self) -> bool:
        """False: guessed from another size."""
        return self.frames > 0


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate against the requirement.

    Attributes:
        timing: measured, or guessed from another size.
        mm_per_px: side of a graph's pixel on the part, the longer one.
        defect_px: pixels of the graph that the smallest defect covers; not more than the camera's.
        margin: share of the available time that the 99th percentile leaves free; below 0: it does not hold.
        sees: whether defect_px is enough.
    """

    timing: Timing
    mm_per_px: float
    defect_px: float
    margin: float
    sees: bool

    @property
    def holds(self) -> bool:
        return self.margin >= 0

    @property
    def fits(self) -> bool:
        return self.sees and self.holds

    @property
    def verdict(self) -> str:
        """In a word or three."""
        if self.fits:
            return "holds"
        return ", ".join(
            text for text, is_so in (("too coarse", not self.sees), ("too slow", not self.holds)) if is_so
        )

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **mapping_from_record(self),
            "is_measured": self.timing.is_measured,
            "holds": self.holds,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """What to run, or what would help.

    Attributes:
        recommended: sees the defect and holds the takt; None: nothing does.
        widest: of those that do, the one with the largest margin.
        quickest: of those that see the defect, the one with the smallest p99; None: none sees it.
        reachable_parts_per_minute: with that one, the reserve kept.
        speed_up: so many times quicker it would have to be; at most 1 where it holds.
        finest: holds the takt and has the most pixels on the defect; None: nothing holds.
        finest_defect_mm: the smallest defect that this one sees.
    """

    recommended: Row | None
    widest: Row | None
    quickest: Row | None
    reachable_parts_per_minute: float | None
    speed_up: float | None
    finest: Row | None
    finest_defect_mm: float | None

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = {name: getattr(self, name) for name in ("recommended", "widest", "quickest", "finest")}
        return {**mapping_from_record(self), **{name: row and row.record() for name, row in rows.items()}}


@dataclass(frozen=True, slots=True)
class TaktPlan:
    """The answer: every candidate against the requirement, and what follows."""

    requirement: Requirement
    rows: tuple[Row, ...]
    advice: Advice

    @classmethod
    def of(
        cls, requirement: Requirement, candidates: Sequence[Candidate], timings: Sequence[Timing]
    ) -> "TaktPlan":
        """Judge candidates by what was measured; their graphs are in the order of preference."""
        judged = rows(requirement, candidates, timings)
        graphs = tuple(dict.fromkeys(candidate.graph for candidate in candidates))
        return cls(requirement, tuple(judged), advice(requirement, judged, graphs))

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        derived = ("takt_ms", "available_ms", "camera_px", "camera_sees", "needed_frame_width_px")
        return {
            "requirement": {
                **mapping_from_record(self.requirement),
                **{name: getattr(self.requirement, name) for name in derived},
            },
            "rows": [row.record() for row in self.rows],
            "advice": self.advice.record(),
        }


def geometries(requirement: Requirement, base: Geometry) -> list[Geometry]:
    """Sizes to look at, the smallest first, with the frame's shape: whole, and large ones in tiles as well.

    The coarsest size that sees the defect is one of them; there is one finer step, and coarser ones down to
    SHORTEST_LONG_SIDE. None is finer than the camera.

    Args:
        requirement: frame, defect and rule.
        base: region, fit, overlap, margin and shrink.

    Raises:
        ConfigError: the region reaches outside of the frame.
    """
    require_inside(base, requirement.frame_hw)
    frame = base.inspected_hw(requirement.frame_hw)
    long = max(frame)
    smallest = min(1.0, SHORTEST_LONG_SIDE / long)
    sees = min(1.0, max(smallest, requirement.pixels_per_defect / requirement.camera_px))
    scales = [sees, min(1.0, sees * STEP)]
    while scales[0] > smallest:
        scales.insert(0, max(smallest, scales[0] / STEP))
    made = []
    for size in dict.fromkeys((_whole(frame[0] * s), _whole(frame[1] * s)) for s in scales):
        tilings = [(1, 1)]
        if max(size) > UNCUT_LONG_SIDE:
            tilings.append((_tiles(size[0]), _tiles(size[1])))
        made += [replace(base, size_hw=size, tiles=tiles) for tiles in tilings]
    return made


def require_inside(geometry: Geometry, frame_hw: tuple[int, int]) -> None:
    """Refuse a region that such frames do not have.

    Raises:
        ConfigError: it reaches outside.
    """
    x, y, width, height = geometry.region_xywh or (0, 0, 0, 0)
    if y + height > frame_hw[0] or x + width > frame_hw[1]:
        raise ConfigError(
            f"the region {list(geometry.region_xywh or ())} (x, y, width, height) reaches outside of frames "
            f"of {size_text(frame_hw)} px; expected one inside; correct the region or --frame"
        )


def rows(requirement: Requirement, candidates: Iterable[Candidate], timings: Sequence[Timing]) -> list[Row]:
    """Judge candidates; one that was not measured gets times from the nearest size of its kind that was.

    Candidates of whose graph and precision nothing was measured are left out.
    """
    found = (timing_of(candidate, timings) for candidate in candidates)
    return [_row(requirement, timing) for timing in found if timing is not None]


def timing_of(candidate: Candidate, timings: Sequence[Timing]) -> Timing | None:
    """The measured times of a candidate, or a guess from the nearest size of the same graph and precision."""
    kind = (candidate.graph, candidate.precision)
    related = [t for t in timings if (t.candidate.graph, t.candidate.precision) == kind]
    if not related:
        return None
    work = candidate.work_px
    nearest = min(
        related, key=lambda t: (t.candidate != candidate, abs(math.log(t.candidate.work_px / work)))
    )
    return nearest if nearest.candidate == candidate else nearest.scaled_to(candidate)


def advice(requirement: Requirement, judged: Sequence[Row], graphs: Sequence[str] = ()) -> Advice:
    """Choose among rows.

    Of those that see the defect and hold the takt, measured ones go before guessed ones, then `graphs` in
    their order, then the precision nearest to the trained graph, then the largest margin: the reserve
    has been taken off already, and what is coarser or lighter than necessary costs verdicts.
    """
    fitting = [row for row in judged if row.fits]
    seeing = [row for row in judged if row.sees]
    holding = [row for row in judged if row.holds]
    order = list(graphs)

    def preference(row: Row) -> tuple[bool, int, int, float]:
        candidate = row.timing.candidate
        rank = order.index(candidate.graph) if candidate.graph in order else len(order)
        precision = PRECISION_ORDER.index(candidate.precision)
        return (not row.timing.is_measured, rank, precision, -row.margin)

    quickest = min(seeing, key=lambda row: row.timing.p99_ms, default=None)
    finest = max(holding, key=lambda row: (row.defect_px, row.margin), default=None)
    return Advice(
        recommended=min(fitting, key=preference, default=None),
        widest=max(fitting, key=lambda row: row.margin, default=None),
        quickest=quickest,
        reachable_parts_per_minute=(
            None if quickest is None else 60e3 * (1 - requirement.reserve) / quickest.timing.p99_ms
        ),
        speed_up=None if quickest is None else quickest.timing.p99_ms / requirement.available_ms,
        finest=finest,
        finest_defect_mm=(
            None
            if finest is None
            else requirement.smallest_defect_mm * requirement.pixels_per_defect / finest.defect_px
        ),
    )


def _row(requirement: Requirement, timing: Timing) -> Row:
    # Enlarging a frame adds no detail to it.
    scale = min(1.0, *timing.candidate.geometry.scale_yx(requirement.frame_hw))
    defect_px = requirement.camera_px * scale
    return Row(
        timing=timing,
        mm_per_px=requirement.camera_mm_per_px / scale,
        defect_px=defect_px,
        margin=1 - timing.p99_ms / requirement.available_ms,
        sees=_reaches(defect_px, requirement.pixels_per_defect),
    )


def _reaches(pixels: float, wanted: float) -> bool:
    """Whether there are enough, give or take what sizes in whole pixels do."""
    return pixels >= 0.99 * wanted


def _whole(side: float) -> int:
    return max(STRIDE, STRIDE * math.ceil(side / STRIDE - 1e-9))


def _tiles(side: int) -> int:
    return max(1, round(side / TILE_STEP))
