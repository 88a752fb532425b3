"""Which changes of a good part leave it a good part: found in the pictures themselves.

A change is allowed when nobody could tell which pictures went through it. Three measures must agree,
each on the colours and on the edges of a coarse grid:

- agreement: what the change does to one picture, it does to the others as well. 1 when every picture
  changes in the same way (parts in one pose, light from one side), 0 when the changes cancel out;
- the same in the worst place: a keyway, a print, a bright strip are small;
- distance: how much farther a changed picture lies from its neighbours than an unchanged one does.

numpy and cv2 only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.train.foreground import Mask, Picture, foregrounds_of
from dtgd_edge.train.recipe import DECIDED, AugmentRecipe, Recipe

Field = NDArray[np.float32]
Change = Literal["flip_horizontal", "flip_vertical", "half_turn", "quarter_turn", "transpose", "any_angle"]

# Pictures looked at, their longest side and the grid on which they are described.
_MOST_PICTURES = 96
_SIDE_PX = 256
_GRID = 16
_DIRECTIONS = 8
# Below this many pictures nothing is concluded.
_FEWEST = 8
# Differences below these are no argument: in CIELAB units; in grey levels a pixel of gradient, and as a share
# of the gradient that is there, because rotation on a pixel grid does not keep edges exactly.
_COLOUR_FLOOR, _EDGE_FLOOR, _EDGE_SHARE = 4.0, 0.5, 0.2
# What is allowed among many pictures; few agree and differ more by chance.
_MOST_AGREEMENT, _MOST_LOCAL, _MOST_DISTANCE = 0.10, 0.30, 1.15
# Outlines of parts in one pose overlap by this much (intersection over union).
_ONE_POSE = 0.8
# Fewest degrees and most degrees and shares of the side that count as how parts lie scattered.
_LEAST_DEGREES, _MOST_DEGREES, _LEAST_SHIFT, _MOST_SHIFT = 0.5, 15.0, 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well a change hides among unchanged pictures.

    Attributes:
        change: which one.
        agreement: of what it does to different pictures, 0 (by chance) to 1.
        local: the same in the worst place.
        distance: to the neighbours after the change, as a multiple of that before.
        pictures: number of pictures looked at.
    """

    change: Change
    agreement: float
    local: float
    distance: float
    pictures: int

    @property
    def is_allowed(self) -> bool:
        """Say whether the change cannot be noticed."""
        return (
            self.pictures >= _FEWEST
            and self.agreement <= _MOST_AGREEMENT + 1 / self.pictures
            and self.local <= _MOST_LOCAL + 3 / self.pictures
            and self.distance <= _MOST_DISTANCE + 2 / self.pictures
        )


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Changes that leave a good part good.

    Attributes:
        flip_horizontal, flip_vertical: mirroring.
        turns: in how many equal turns of a circle parts lie: 1, 2 or 4.
        rotate_degrees: by how much they lie turned each way; 180: at any angle.
        shift: by which share of the side they lie moved each way; 0: not known.
        evidence: what it was concluded from.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    turns: Literal[1, 2, 4] = 1
    rotate_degrees: float = 0.0
    shift: float = 0.0
    evidence: tuple[Evidence, ...] = ()

    def __str__(self) -> str:
        """One sentence for people."""
        mirrors = [("left to right", self.flip_horizontal), ("top to bottom", self.flip_vertical)]
        sides = " and ".join(side for side, is_allowed in mirrors if is_allowed)
        findings = [
            ("lie at any angle", "rotation by any angle", self.rotate_degrees == 180),
            ("look the same after half a turn", "half turns", self.turns == 2),
            ("look the same after a quarter turn", "quarter turns", self.turns == 4),
            (
                f"lie turned by up to {self.rotate_degrees:g}°",
                f"rotation by up to {self.rotate_degrees:g}°",
                0 < self.rotate_degrees < 180,
            ),
            (f"look the same mirrored {sides}", f"mirroring {sides}", bool(sides)),
        ]
        found = [(reason, use) for reason, use, is_so in findings if is_so]
        if not found:
            return "good parts look different when turned or mirrored; used in training: neither"
        reasons, uses = (" and ".join(column) for column in zip(*found, strict=True))
        return f"good parts {reasons}; used in training: {uses}"


# Sets of changes that are complete (two of a set after one another are in it too), the largest first.
_GROUPS: tuple[tuple[Change, ...], ...] = (
    ("flip_horizontal", "flip_vertical", "half_turn", "quarter_turn", "transpose"),
    ("half_turn", "quarter_turn"),
    ("flip_horizontal", "flip_vertical", "half_turn"),
    ("half_turn",),
    ("flip_horizontal",),
    ("flip_vertical",),
)
_MIRRORS = ("flip_horizontal", "flip_vertical", "transpose")


def symmetry_of(frames: Picture) -> Symmetry:
    """Find the changes that good pictures themselves show to be harmless; in doubt there are none.

    An object that lies at many angles is never mirrored: whether it differs from its mirror image, as a
    screw does, cannot be told from pictures of which no two show the same pose.

    Args:
        frames: uint8 [N, H, W, 3] of good parts only, RGB.
    """
    chosen = frames[
        np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST_PICTURES)).round().astype(int))
    ]
    if len(chosen) < _FEWEST:
        return Symmetry()
    chosen = np.stack([_within(frame, _SIDE_PX) for frame in chosen])
    foregrounds = foregrounds_of(chosen)
    masks = [mask for mask in foregrounds if mask is not None]
    evidence = (*_evidence_of_poses(chosen), _evidence_of_any_angle(chosen))
    allowed = {item.change for item in evidence if item.is_allowed}
    if not {"half_turn", "quarter_turn"}.isdisjoint({item.change for item in evidence} - allowed):
        allowed.discard("any_angle")
    if masks and ("any_angle" in allowed or not _in_one_pose(masks)):
        allowed -= set(_MIRRORS)
    group = next((group for group in _GROUPS if allowed.issuperset(group)), ())
    flips = "flip_horizontal" in group, "flip_vertical" in group
    if "any_angle" in allowed:
        return Symmetry(*flips, 1, 180.0, 0.0, evidence)
    turns: Literal[1, 2, 4] = 4 if "quarter_turn" in group else 2 if "half_turn" in group else 1
    # Parts that lie in several ways cannot be registered to one of them.
    degrees, shift = _scatter(chosen, foregrounds) if turns == 1 else (0.0, 0.0)
    return Symmetry(*flips, turns, degrees, shift, evidence)


def with_symmetry(recipe: Recipe, frames: Picture, report: Callable[[str], None]) -> Recipe:
    """Settle what a recipe's augment table leaves to the pictures.

    Args:
        recipe: any.
        frames: uint8 [N, H, W, 3], the good pictures to train on, RGB.
        report: is told in a sentence what was found, if anything was asked.
    """
    augment = recipe.augment
    if all(getattr(augment, name) != "auto" for name in DECIDED):
        return recipe
    found = Symmetry()
    if augment.symmetry == "auto":
        found = symmetry_of(frames)
        report(str(found))
    decided = AugmentRecipe(
        found.flip_horizontal,
        found.flip_vertical,
        found.turns,
        found.rotate_degrees,
        # No holder is more exact than this.
        max(_LEAST_SHIFT, found.shift),
    )
    return replace(recipe, augment=augment.settled(decided))


def _within(frame: Picture, side: int) -> Picture:
    """Shrink a picture until its longest side is at most `side`."""
    height, width = frame.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Description:
    """Colours [..., G, G, 3] and edges [..., G, G, directions x scales] of pictures on a coarse grid."""

    colours: Field
    edges: Field

    def changed(self, colours: Callable[[Field], Field], bins: Callable[[Field], Field]) -> "_Description":
        """Move the cells of the grid and the directions of the edges."""
        edges = colours(self.edges)
        directions = edges.reshape(*edges.shape[:-1], -1, _DIRECTIONS)
        return _Description(colours(self.colours), bins(directions).reshape(edges.shape))


def _described(frames: Picture) -> _Description:
    colours, edges = zip(*(_colours_and_edges(frame) for frame in frames), strict=True)
    return _Description(np.stack(colours), np.stack(edges))


def _colours_and_edges(frame: Picture) -> tuple[Field, Field]:
    grid = (_GRID, _GRID)
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = []
    for sigma in (1.0, 2.5):
        blurred = cv2.GaussianBlur(grey, (0, 0), sigma)
        x, y = (
            cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=1 / 8),
            cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=1 / 8),
        )
        strength = cv2.magnitude(x, y)
        direction = np.mod(cv2.phase(x, y) / np.float32(np.pi) * _DIRECTIONS, _DIRECTIONS)
        for k in range(_DIRECTIONS):
            # Each gradient is shared between the two nearest of the directions, which have no sign.
            apart = np.abs(direction - k)
            share = np.maximum(0, 1 - np.minimum(apart, _DIRECTIONS - apart))
            edges.append(cv2.resize(strength * share, grid, interpolation=cv2.INTER_AREA))
    return cv2.resize(lab, grid, interpolation=cv2.INTER_AREA), np.stack(edges, -1)


def _mirrored_bins(edges: Field) -> Field:
    return np.roll(edges[..., ::-1], 1, -1)


def _turned_bins(edges: Field) -> Field:
    return np.roll(edges, _DIRECTIONS // 2, -1)


def _quarter_turned(description: _Description) -> _Description:
    return description.changed(lambda cells: np.rot90(cells, axes=(1, 2)), _turned_bins)


_POSES: dict[Change, Callable[[_Description], _Description]] = {
    "flip_horizontal": lambda d: d.changed(lambda cells: cells[:, :, ::-1], _mirrored_bins),
    "flip_vertical": lambda d: d.changed(lambda cells: cells[:, ::-1], _mirrored_bins),
    "half_turn": lambda d: d.changed(lambda cells: cells[:, ::-1, ::-1], lambda edges: edges),
    "quarter_turn": _quarter_turned,
    "transpose": lambda d: d.changed(
        lambda cells: cells.swapaxes(1, 2), lambda edges: _turned_bins(_mirrored_bins(edges))
    ),
}


def _evidence_of_poses(frames: Picture) -> list[Evidence]:
    """Judge mirroring and turning, which move the cells of the description without computing it again."""
    is_square = frames.shape[1] == frames.shape[2]
    described = _described(frames)
    everywhere = np.ones((_GRID, _GRID), np.float32)
    return [
        _evidence(change, described, apply(described), everywhere)
        for change, apply in _POSES.items()
        if is_square or change not in ("quarter_turn", "transpose")
    ]


def _evidence_of_any_angle(frames: Picture) -> Evidence:
    """Judge rotation every 30 degrees, inside of the circle that stays in the picture.

    The worst angle's agreement counts, and the median of the distances.
    """
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    centre = (side - 1) / 2
    y, x = np.mgrid[:side, :side] - centre
    disc = cv2.resize(
        (np.hypot(x, y) < centre - 3).astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA
    )
    inside = (disc > 0.95).astype(np.float32)
    described, found = _described(square), []
    for angle in (0, 30, 60):
        turn = cv2.getRotationMatrix2D((centre, centre), angle, 1.0)
        turned = (
            described
            if angle == 0
            else _described(
                np.stack(
                    [cv2.warpAffine(f, turn, (side, side), borderMode=cv2.BORDER_REFLECT_101) for f in square]
                )
            )
        )
        for quarter in range(4):
            if angle or quarter:
                found.append(_evidence("any_angle", described, turned, inside))
            turned = _quarter_turned(turned)
    return Evidence(
        "any_angle",
        max(item.agreement for item in found),
        max(item.local for item in found),
        float(np.median([item.distance for item in found])),
        len(frames),
    )


def _evidence(change: Change, before: _Description, after: _Description, weight: Field) -> Evidence:
    """Compare pictures before and after a change; weight [G, G] is 1 where to look."""
    found = []
    for x, y, least, share in (
        (before.colours, after.colours, _COLOUR_FLOOR, 0.0),
        (before.edges, after.edges, _EDGE_FLOOR, _EDGE_SHARE),
    ):
        floor = least**2 + share**2 * (x**2).sum(-1).mean(0)
        found.append((*_agreement(x - y, floor, weight), _distance(x, y, floor, weight)))
    agreement, local, distance = (float(max(column)) for column in zip(*found, strict=True))
    return Evidence(change, agreement, local, distance, len(before.colours))


def _agreement(differences: Field, floor: Field, weight: Field) -> tuple[float, float]:
    """Agreement of differences [N, G, G, C] between pictures: everywhere, and in the worst 3 x 3 cells.

    Squared differences below the floor [G, G] hardly count.
    """
    count = len(differences)
    own = (differences**2).sum(0)
    # Products of different pictures only, so that chance gives 0 on average.
    shared = (differences.sum(0) ** 2 - own).sum(-1) / (count * (count - 1)) * weight
    own = (own.sum(-1) / count + floor) * weight
    near_shared, near_own, near = (cv2.blur(field, (3, 3)) for field in (shared, own, weight))
    # A neighbourhood of which most is out of sight says little.
    local = np.where(near > 0.5, near_shared / np.maximum(near_own, 1e-6), 0)
    return float(shared.sum() / own.sum()), float(local.max())


def _distance(before: Field, after: Field, floor: Field, weight: Field) -> float:
    """How much farther changed pictures are from their neighbours than unchanged ones, as a median.

    The neighbourhood is an eighth of the pictures, at least three: some may show the same part again.
    """
    count = len(before)
    x, y = ((field * weight[..., None]).reshape(count, -1) for field in (before, after))
    rank = max(3, count // 8) - 1
    sizes = (x**2).sum(1)
    own, changed = (np.sqrt(np.maximum((z**2).sum(1)[:, None] + sizes - 2 * z @ x.T, 0)) for z in (x, y))
    for distances in (own, changed):
        np.fill_diagonal(distances, np.inf)  # a picture is no neighbour of itself, changed or not
        distances.sort(axis=1)
    slack = 0.25 * np.sqrt((floor * weight).sum())
    return float(np.median((changed[:, rank] + slack) / (own[:, rank] + slack)))


def _in_one_pose(masks: list[Mask]) -> bool:
    """Say whether objects cover the same area."""
    share = np.mean(masks, axis=0)
    typical = share >= 0.5
    overlaps = [(mask & typical).sum() / (mask | typical).sum() for mask in masks]
    return bool(np.median(overlaps) >= _ONE_POSE)


def _scatter(frames: Picture, foregrounds: list[Mask | None]) -> tuple[float, float]:
    """Measure how far parts lie turned, in degrees, and moved, as a share of the side; 0 where unknown.

    Each picture is registered to the most typical one by the enhanced correlation coefficient (Evangelidis
    and Psarakis 2008); what cannot be registered well is not one part in about one pose.
    """
    small = np.stack([cv2.cvtColor(_within(frame, 128), cv2.COLOR_RGB2GRAY) for frame in frames])
    blurred = np.stack([cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.5) for frame in small])
    typical = int(np.abs(blurred - np.median(blurred, axis=0)).mean((1, 2)).argmin())
    area, reference = foregrounds[typical], blurred[typical]
    height, width = reference.shape
    look = np.ones(reference.shape, np.uint8)
    if area is not None:  # with its surroundings: the outline says the most
        look = cv2.resize(area.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        look = cv2.dilate(look, np.ones((2 * (min(height, width) // 12) + 1,) * 2, np.uint8))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    angles, moves = [], []
    for frame in blurred:
        warp = np.eye(2, 3, dtype=np.float32)
        try:
            match, warp = cv2.findTransformECC(reference, frame, warp, cv2.MOTION_EUCLIDEAN, stop, look, 3)
        except cv2.error:  # it did not converge
            continue
        if match > 0.9:
            angles.append(np.degrees(np.arctan2(warp[1, 0], warp[0, 0])))
            moves.append((warp @ (width / 2, height / 2, 1) - (width / 2, height / 2)) / (width, height))
    if len(angles) < 0.75 * len(frames):
        return 0.0, 0.0
    degrees = float(np.quantile(np.abs(angles - np.median(angles)), 0.9))
    shift = float(np.quantile(np.abs(moves - np.median(moves, axis=0)).max(1), 0.9))
    is_scattered = _LEAST_DEGREES <= degrees <= _MOST_DEGREES
    return round(degrees, 1) if is_scattered else 0.0, round(min(shift, _MOST_SHIFT), 3)
