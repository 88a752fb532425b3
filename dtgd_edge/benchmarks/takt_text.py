"""A plan in words: what to run and how to make it, or why nothing holds and what would."""

import json
import math
from collections.abc import Sequence

from dtgd_edge.benchmarks.length import length_text
from dtgd_edge.benchmarks.takt import Advice, Requirement, Row
from dtgd_edge.config import mapping_from_record
from dtgd_edge.geometry import Geometry, size_text

COLUMNS = (
    "size", "tiles", "graph", "precision", "per px", "px on defect", "p50 ms", "p99 ms", "margin", "verdict",
)  # fmt: skip
# Measured: 124 MiB more of memory for each picture of 256 x 256 that a ResNet-18 DTGD trains on at once.
TRAINING_MIB_PER_PX = 124 / 256**2
MUCH_MIB = 8 * 1024
BATCH = 8  # of the default recipe


def table_row(row: Row) -> list[str]:
    """The cells of COLUMNS; times that were guessed have a ~."""
    candidate, sign = row.timing.candidate, _sign(row)
    return [
        size_text(candidate.geometry.size_hw),
        tiles_text(candidate.geometry),
        candidate.graph,
        candidate.precision,
        length_text(row.mm_per_px),
        f"{row.defect_px:.1f}",
        f"{sign}{row.timing.p50_ms:.1f}",
        f"{sign}{row.timing.p99_ms:.1f}",
        margin_text(row),
        row.verdict,
    ]


def tiles_text(geometry: Geometry) -> str:
    """Rows and columns of tiles; "-" if the frame is not cut."""
    return "-" if geometry.tiles == (1, 1) else f"{geometry.tiles[0]}x{geometry.tiles[1]}"


def margin_text(row: Row) -> str:
    """In per cent of the available time; far below 0, how many times that time it takes."""
    sign = _sign(row)
    return f"{sign}{row.margin:.0%}" if row.margin >= -1 else f"takes {sign}{1 - row.margin:.1f}x"


def shown(judged: Sequence[Row]) -> list[Row]:
    """The rows for people: without guesses about what is too coarse and too slow."""
    return [row for row in judged if row.sees or row.holds or row.timing.is_measured]


def footnotes(judged: Sequence[Row]) -> list[str]:
    """How the times came about, and what `shown` left out."""
    counts = sorted(row.timing.frames for row in judged if row.timing.is_measured)
    devices = ", ".join(dict.fromkeys(row.timing.device for row in judged))
    number = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    lines = [f"times of {number} frames on {devices}; p99 of fewer than 100 is the slowest"]
    if len(counts) < len(judged):
        lines.append("~ guessed from a measured size, by the pixels that the networks see")
    if hidden := len(judged) - len(shown(judged)):
        lines.append(f"left to --json: {hidden} of what is too coarse and guessed to be too slow as well")
    return lines


def title(requirement: Requirement) -> str:
    """What the table is measured against."""
    return (
        f"{requirement.parts_per_minute:g} parts a minute: {requirement.takt_ms:.1f} ms each, "
        f"{requirement.available_ms:.1f} ms without the reserve of {requirement.reserve:.0%}"
    )


def rule(requirement: Requirement) -> str:
    """What counts as seen."""
    return (
        f"{length_text(requirement.smallest_defect_mm)} are {requirement.camera_px:.1f} camera pixels; "
        f"a defect is seen if it covers {requirement.pixels_per_defect:g} pixels of the graph "
        "(a rule of thumb, --pixels-per-defect)"
    )


def camera_warning(requirement: Requirement) -> str | None:
    """What camera or field of view would do; None: this camera has pixels enough."""
    if requirement.camera_sees:
        return None
    frame_h, frame_w = requirement.frame_hw
    width = requirement.needed_frame_width_px
    height = math.ceil(width * frame_h / frame_w)
    return (
        f"no graph helps: the camera puts only {requirement.camera_px:.1f} pixels on a defect of "
        f"{length_text(requirement.smallest_defect_mm)}, of {requirement.pixels_per_defect:g} that it needs; "
        f"take a camera of at least {width}x{height} px, or a field of view of at most "
        f"{length_text(requirement.widest_field_mm)}"
    )


def sentence(requirement: Requirement, advice: Advice) -> str:
    """One sentence: what is recommended, or why nothing is and what would help."""
    row = advice.recommended
    if row is not None:
        return _recommended(requirement, advice, row)
    if advice.quickest is None:
        return (
            f"{camera_warning(requirement) or 'no size that was looked at sees the defect'}{_finest(advice)}"
        )
    assert advice.reachable_parts_per_minute is not None and advice.speed_up is not None
    return (
        f"nothing that sees the defect holds the takt here: the quickest, {_named(advice.quickest)}, takes "
        f"{_ms(advice.quickest)} of {requirement.available_ms:.1f} ms; it would hold "
        f"{_rounded_down(advice.reachable_parts_per_minute)} parts a minute, or needs a machine or a graph "
        f"{advice.speed_up:.1f} times as fast{_finest(advice)}"
    )


def recipe_lines(row: Row) -> list[str]:
    """The recipe that makes this graph, plan.toml: the keys that differ from the default."""
    geometry, usual = mapping_from_record(row.timing.candidate.geometry), mapping_from_record(Geometry())
    # Strings, numbers and lists of numbers are spelt alike in JSON and TOML.
    keys = [
        f"{key} = {json.dumps(value)}"
        for key, value in geometry.items()
        if key == "size_hw" or value != usual[key]
    ]
    return ["# plan.toml", "[geometry]", *keys]


def training_note(row: Row) -> str | None:
    """What a large uncut frame takes to train; None: little."""
    geometry = row.timing.candidate.geometry
    mib = TRAINING_MIB_PER_PX * BATCH * math.prod(geometry.size_hw)
    if geometry.tiles != (1, 1) or mib < MUCH_MIB:
        return None
    return (
        f"training on {BATCH} uncut frames of {size_text(geometry.size_hw)} at a time takes about "
        f"{mib / 1024:.0f} GiB; lower optimiser.batch, or take the row with tiles, which train one by one"
    )


def _sign(row: Row) -> str:
    return "" if row.timing.is_measured else "~"


def _recommended(requirement: Requirement, advice: Advice, row: Row) -> str:
    guess = (
        "" if row.timing.is_measured else ", guessed from another size, to be measured before you rely on it"
    )
    text = (
        f"run {_named(row)}: 99 of 100 verdicts within {_ms(row)} of {requirement.available_ms:.1f} ms, "
        f"a margin of {row.margin:.0%}{guess}"
    )
    widest = advice.widest
    if widest is not None and widest != row:
        text += f"; {_named(widest)} would leave {widest.margin:.0%}"
    return text


def _finest(advice: Advice) -> str:
    if advice.finest is None or advice.finest_defect_mm is None:
        return "; not even the smallest graph holds the takt"
    return (
        f"; {_named(advice.finest)} holds the takt and sees defects from "
        f"{length_text(advice.finest_defect_mm)}"
    )


def _named(row: Row) -> str:
    candidate = row.timing.candidate
    tiles = tiles_text(candidate.geometry)
    cut = "" if tiles == "-" else f" in {tiles} tiles"
    size = size_text(candidate.geometry.size_hw)
    return f"the {candidate.graph} graph at {size}{cut} in {candidate.precision}"


def _ms(row: Row) -> str:
    return f"{'' if row.timing.is_measured else 'about '}{row.timing.p99_ms:.1f} ms"


def _rounded_down(rate: float) -> str:
    """A rate that is really reached, two digits."""
    unit = 10 ** (math.floor(math.log10(rate)) - 1)
    return f"{math.floor(rate / unit) * unit:g}"
