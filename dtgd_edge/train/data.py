"""The pictures of a training or test run, found and checked before anything starts.

Every file is decoded once here, so that a damaged picture stops a run in its first seconds and not
in its last hour. numpy only; files are found by `layout` and decoded by `dtgd_edge.pictures`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError, ShapeError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import Image, read_picture
from dtgd_edge.train.layout import GOOD, Part, parts_in, some

__all__ = ["GOOD", "DataSet", "Part", "read_data", "read_frame", "read_frames", "read_mask", "split_normals"]

FEWEST_GOOD = 8
FEW_GOOD = 20
_THREADS = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a folder holds, after every picture of it has been decoded once.

    Attributes:
        root: the folder.
        train: good parts, by file name.
        test: good and defective parts that training never sees; may be empty.
        frame_size_hw: height and width of the training pictures; None when they differ.
        warnings: what the user should know, a sentence each.
    """

    root: Path
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    frame_size_hw: tuple[int, int] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What is kept of a decoded file: its size, the digest and the largest of its pixels."""

    size_hw: tuple[int, int]
    digest: bytes
    peak: int


def read_data(
    folder: Path,
    *,
    defects: Path | None = None,
    masks: Path | None = None,
    progress: Progress | None = None,
) -> DataSet:
    """Find the pictures of a folder, whatever its layout, and decode each of them once.

    Args:
        folder: train/good, test/<kind> and ground_truth/<kind> (MVTec AD); or a folder good,
            possibly beside folders of defects; or pictures of good parts directly.
        defects: more pictures to test with, directly or in one folder per kind.
        masks: their masks, directly or in one folder per kind, matched by name (with or without
            `_mask`); instead of the layout's own.
        progress: called with the number of files decoded and of all files.

    Raises:
        DataError: another layout, fewer than 8 good pictures, damaged files (all are named), a mask
            of another size than its picture.
    """
    train, test = parts_in(folder, defects, masks)
    if len(train) < FEWEST_GOOD:
        raise DataError(
            f"{train[0].path.parent} holds {len(train)} good pictures; expected at least {FEWEST_GOOD}, "
            "better 50; take more"
        )
    decoded = _decode([*train, *test], progress)
    _refuse_wrong_masks(test, decoded)
    sizes = {decoded[part.path].size_hw for part in train}
    return DataSet(
        root=folder,
        train=tuple(train),
        test=tuple(test),
        frame_size_hw=sizes.pop() if len(sizes) == 1 else None,
        warnings=tuple(_warnings(train, test, decoded)),
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
        bool [*size_hw]: brightest channel above 127, or above 0 when no pixel is above 1; all False
        for a good part.

    Raises:
        DataError: no mask, a damaged one, or one of another size.
    """
    if not part.is_defective:
        return np.zeros(size_hw, np.bool_)
    if part.mask_path is None:
        raise DataError(f"{part.path} is defective and has no mask; expected one; draw it or leave it out")
    mask: Image = read_picture(part.mask_path).max(axis=2)
    if mask.shape != tuple(size_hw):
        raise DataError(
            f"{part.mask_path} has {_wxh(mask.shape)} px and its picture {_wxh(size_hw)}; "
            "expected the same size; draw the mask on the picture"
        )
    defective: NDArray[np.bool_] = mask > (127 if mask.max() > 1 else 0)
    return defective


def _decode(parts: Sequence[Part], progress: Progress | None) -> dict[Path, _Decoded]:
    """Decode pictures and masks; name all damaged ones in one error."""
    paths = [path for part in parts for path in (part.path, part.mask_path) if path is not None]
    decoded: dict[Path, _Decoded] = {}
    damaged: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, (path, found) in enumerate(zip(paths, pool.map(_decoded, paths), strict=True), 1):
            if isinstance(found, str):
                damaged.append(found)
            else:
                decoded[path] = found
            if progress is not None:
                progress(done, len(paths))
    if damaged:
        raise DataError(
            f"{len(damaged)} of {len(paths)} pictures cannot be used: {some(damaged)}; "
            "expected whole pictures; delete them or copy them again"
        )
    return decoded


def _decoded(path: Path) -> _Decoded | str:
    try:
        image = read_picture(path)
    except DataError as exc:
        return str(exc).partition(";")[0]
    digest = hashlib.blake2b(f"{image.dtype}{image.shape}".encode() + image.tobytes(), digest_size=16)
    return _Decoded((image.shape[0], image.shape[1]), digest.digest(), int(image.max()))


def _refuse_wrong_masks(parts: Sequence[Part], decoded: dict[Path, _Decoded]) -> None:
    wrong = [
        f"{part.mask_path} ({_wxh(decoded[part.mask_path].size_hw)}, "
        f"its picture {_wxh(decoded[part.path].size_hw)})"
        for part in parts
        if part.mask_path is not None and decoded[part.mask_path].size_hw != decoded[part.path].size_hw
    ]
    if wrong:
        raise DataError(
            f"{len(wrong)} masks have another size than their pictures: {some(wrong)}; "
            "expected the same size; draw them on the pictures"
        )


def _warnings(train: list[Part], test: list[Part], decoded: dict[Path, _Decoded]) -> Iterable[str]:
    if len(train) < FEW_GOOD:
        yield f"only {len(train)} good pictures; better 50 or more, of several shifts"
    sizes = {decoded[part.path].size_hw: _place(part.path) for part in [*test, *train]}
    if len(sizes) > 1:
        small, large = min(sizes), max(sizes)
        yield (
            f"the pictures have {len(sizes)} sizes, such as {_wxh(small)} ({sizes[small]}) and "
            f"{_wxh(large)} ({sizes[large]}); all are brought to one size"
        )
    yield from _warnings_about_copies(train, test, decoded)
    defective = [part for part in test if part.is_defective]
    bare = [_place(part.path) for part in defective if part.mask_path is None]
    if bare:
        yield (
            f"{len(bare)} of {len(defective)} defective pictures have no mask: {some(bare)}; "
            "pixel metrics leave them out"
        )
    marked = [part.mask_path for part in defective if part.mask_path is not None]
    blank = [_place(path) for path in marked if decoded[path].peak <= 127 and decoded[path].peak != 1]
    if blank:
        yield f"{len(blank)} masks mark nothing: {some(blank)}; pixel metrics count these parts as good"


def _warnings_about_copies(
    train: list[Part], test: list[Part], decoded: dict[Path, _Decoded]
) -> Iterable[str]:
    firsts: dict[bytes, Part] = {}
    for where, parts, effect in (
        ("good pictures are copies of others", train, "they count twice; delete them"),
        ("test pictures are copies of others", test, "metrics look better than they are; delete them"),
    ):
        copies = []
        for part in parts:
            first = firsts.setdefault(decoded[part.path].digest, part)
            if first is not part:
                copies.append(f"{_place(part.path)} = {_place(first.path)}")
        if copies:
            yield f"{len(copies)} {where}: {some(copies)}; {effect}"


def _groups_of_equal_files(parts: Sequence[Part]) -> list[list[int]]:
    """Indices of parts, those of equal files together; only files of equal length are read."""
    lengths = [part.path.stat().st_size for part in parts]
    count = Counter(lengths)
    groups: dict[object, list[int]] = defaultdict(list)
    for index, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        key = length if count[length] == 1 else hashlib.blake2b(part.path.read_bytes()).digest()
        groups[key].append(index)
    return list(groups.values())


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _wxh(size_hw: Sequence[int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
