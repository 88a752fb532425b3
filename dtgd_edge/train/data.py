"""The pictures of a training or test run, found and checked before anything starts.

Every file is decoded once here, so that a damaged picture stops a run in its first seconds and not
in its last hour. numpy only; files are found by `layouts` and checked by `decoded`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError, ShapeError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import Image, read_picture
from dtgd_edge.train.decoded import Progress, decode, warnings_about, wxh
from dtgd_edge.train.layouts import GOOD, Part, parts_in

__all__ = ["GOOD", "DataSet", "Part", "read_data", "read_frame", "read_frames", "read_mask", "split_normals"]

FEWEST_GOOD = 8
_THREADS = 4


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a folder holds, after every picture of it has been decoded once.

    Attributes:
        root: the folder.
        layout: the layout it was read as; see `layouts.LAYOUTS`.
        train: good parts, by file name.
        test: good and defective parts that training never sees; may be empty.
        frame_size_hw: height and width of the training pictures; None when they differ.
        warnings: what the user should know, a sentence each.
    """

    root: Path
    layout: str
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    frame_size_hw: tuple[int, int] | None
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Plain JSON values: how many pictures there are, and how many of each kind have masks."""
        pictures = Counter(part.kind for part in self.test)
        masked = Counter(part.kind for part in self.test if part.mask_paths)
        return {
            "folder": str(self.root),
            "layout": self.layout,
            "train": len(self.train),
            "test": {
                kind: {"pictures": count, "with_mask": masked[kind]} for kind, count in pictures.items()
            },
            "frame_size_hw": None if self.frame_size_hw is None else list(self.frame_size_hw),
            "warnings": list(self.warnings),
        }


def read_data(
    folder: Path,
    *,
    defects: Path | None = None,
    masks: Path | None = None,
    layout: str | None = None,
    progress: Progress | None = None,
) -> DataSet:
    """Find the pictures of a folder, whatever its layout, and decode each of them once.

    Args:
        folder: one data set, arranged in any of `layouts.LAYOUTS`.
        defects: more pictures to test with, directly or in one folder per kind.
        masks: their masks, directly or in one folder per kind, matched by name (with or without
            `_mask`); instead of the layout's own.
        layout: name of the layout; None: the one that the folder looks like.
        progress: called with the number of files decoded and of all files.

    Raises:
        ConfigError: no layout of this name.
        DataError: another layout, several data sets, fewer than 8 good pictures, damaged files (all are
            named), a mask of another size than its picture.
    """
    name, found = parts_in(folder, defects, masks, layout)
    if len(found.train) < FEWEST_GOOD:
        place = found.train[0].path.parent if found.train else folder
        raise DataError(
            f"{place} holds {len(found.train)} good pictures; expected at least {FEWEST_GOOD}, "
            "better 50; take more"
        )
    decoded = decode([*found.train, *found.test], progress)
    sizes = {decoded[part.path].size_hw for part in found.train}
    return DataSet(
        root=folder,
        layout=name,
        train=found.train,
        test=found.test,
        frame_size_hw=sizes.pop() if len(sizes) == 1 else None,
        warnings=(*found.notes, *warnings_about(found.train, found.test, decoded)),
    )


def split_normals(
    parts: Sequence[Part], holdout: float, seed: int
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Set good parts aside, by chance but repeatably; equal files stay on one side if possible.

    Args:
        parts: good parts.
        holdout: share to set aside, in [0, 1); at least 8 parts are (or a quarter of few parts).
        seed: of the choice.

    Returns:
        The parts to fit on (at least one) and those held out, both in the order given.
    """
    if not 0 <= holdout < 1:
        raise ConfigError(f"holdout {holdout} is impossible; expected at least 0 and below 1; use 0.2")
    count = max(round(holdout * len(parts)), min(8, len(parts) // 4))
    count = max(0, min(count, len(parts) - 1))
    groups = _groups_of_equal_files(parts)
    held: list[int] = []
    left: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        group = groups[index]
        (held if len(held) + len(group) <= count else left).extend(group)
    chosen = {*held, *left[: count - len(held)]}
    return (
        tuple(part for i, part in enumerate(parts) if i not in chosen),
        tuple(part for i, part in enumerate(parts) if i in chosen),
    )


def read_frame(part: Part, geometry: Geometry) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read one part as the graph will see it.

    Returns:
        uint8 [*size_hw, 3], RGB, as returned by `Geometry.apply`; height and width of the picture.

    Raises:
        DataError: the picture is damaged, or the geometry's region reaches outside of it.
    """
    image = read_picture(part.path)
    try:
        return geometry.apply(image), (image.shape[0], image.shape[1])
    except ShapeError as exc:
        raise DataError(f"{part.path}: {exc}") from exc


def read_frames(parts: Sequence[Part], geometry: Geometry) -> NDArray[np.uint8]:
    """Read parts as the graph will see them: uint8 [N, *size_hw, 3], RGB; errors as `read_frame`."""
    frames = np.empty((len(parts), *geometry.size_hw, 3), np.uint8)
    with ThreadPoolExecutor(_THREADS) as pool:
        for index, (frame, _) in enumerate(pool.map(lambda part: read_frame(part, geometry), parts)):
            frames[index] = frame
    return frames


def read_mask(part: Part, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read where a part is defective, on its picture's own pixel grid.

    Args:
        part: a good part, or a defective one with a mask.
        size_hw: height and width of its picture.

    Returns:
        bool [*size_hw]: what any of its masks marks; all False for a good part. A mask marks where its
        brightest channel is above 127; where no pixel of it is, it holds labels (1, 2, ...) and marks
        where it is above 0.

    Raises:
        DataError: no mask, a damaged one, or one of another size.
    """
    defective = np.zeros(size_hw, np.bool_)
    if not part.is_defective:
        return defective
    if not part.mask_paths:
        raise DataError(f"{part.path} is defective and has no mask; expected one; draw it or leave it out")
    for path in part.mask_paths:
        mask: Image = read_picture(path).max(axis=2)
        if mask.shape != tuple(size_hw):
            raise DataError(
                f"{path} has {wxh(mask.shape)} px and its picture {wxh(size_hw)}; "
                "expected the same size; draw the mask on the picture"
            )
        defective |= mask > (127 if mask.max() > 127 else 0)
    return defective


def _groups_of_equal_files(parts: Sequence[Part]) -> list[list[int]]:
    """Indices of parts, those of equal files together; only files of equal length are read."""
    lengths = [part.path.stat().st_size for part in parts]
    count = Counter(lengths)
    groups: dict[object, list[int]] = defaultdict(list)
    for index, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        key = length if count[length] == 1 else hashlib.blake2b(part.path.read_bytes()).digest()
        groups[key].append(index)
    return list(groups.values())
