"""Decode every picture and mask of a data set once, and say what is wrong with them. numpy only."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dtgd_edge.errors import DataError
from dtgd_edge.pictures import read_picture
from dtgd_edge.train.layouts import Part, some

_FEW_GOOD = 20
_THREADS = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is kept of a decoded file.

    Attributes:
        size_hw: its height and width in pixels.
        digest: of its pixels.
        peak: the largest of its pixels.
    """

    size_hw: tuple[int, int]
    digest: bytes
    peak: int


def decode(parts: Sequence[Part], progress: Progress | None) -> dict[Path, Decoded]:
    """Decode the pictures and masks of parts.

    Args:
        parts: whose files are decoded.
        progress: called with the number of files decoded and of all files.

    Raises:
        DataError: damaged files (all are named), or masks of another size than their pictures.
    """
    paths = [path for part in parts for path in (part.path, *part.mask_paths)]
    decoded: dict[Path, Decoded] = {}
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
    _refuse_wrong_masks(parts, decoded)
    return decoded


def _decoded(path: Path) -> Decoded | str:
    try:
        image = read_picture(path)
    except DataError as exc:
        return str(exc).partition(";")[0]
    digest = hashlib.blake2b(f"{image.dtype}{image.shape}".encode() + image.tobytes(), digest_size=16)
    return Decoded((image.shape[0], image.shape[1]), digest.digest(), int(image.max()))


def warnings_about(
    train: Sequence[Part], test: Sequence[Part], decoded: dict[Path, Decoded]
) -> Iterable[str]:
    """Say what a user should know before training or testing, a sentence each."""
    if len(train) < _FEW_GOOD:
        yield f"only {len(train)} good pictures; better 50 or more, of several shifts"
    sizes = {decoded[part.path].size_hw: _place(part.path) for part in [*test, *train]}
    if len(sizes) > 1:
        small, large = min(sizes), max(sizes)
        yield (
            f"the pictures have {len(sizes)} sizes, such as {wxh(small)} ({sizes[small]}) and "
            f"{wxh(large)} ({sizes[large]}); all are brought to one size"
        )
    yield from _warnings_about_copies(train, test, decoded)
    defective = [part for part in test if part.is_defective]
    bare = [_place(part.path) for part in defective if not part.mask_paths]
    if bare:
        yield (
            f"{len(bare)} of {len(defective)} defective pictures have no mask: {some(bare)}; "
            "pixel metrics leave them out"
        )
    marked = [part.mask_paths for part in defective if part.mask_paths]
    blank = [_place(masks[0]) for masks in marked if not any(decoded[mask].peak for mask in masks)]
    if blank:
        yield f"{len(blank)} masks mark nothing: {some(blank)}; pixel metrics count these parts as good"


def _refuse_wrong_masks(parts: Sequence[Part], decoded: dict[Path, Decoded]) -> None:
    wrong = [
        f"{mask} ({wxh(decoded[mask].size_hw)}, its picture {wxh(decoded[part.path].size_hw)})"
        for part in parts
        for mask in part.mask_paths
        if decoded[mask].size_hw != decoded[part.path].size_hw
    ]
    if wrong:
        raise DataError(
            f"{len(wrong)} masks have another size than their pictures: {some(wrong)}; "
            "expected the same size; draw them on the pictures"
        )


def _warnings_about_copies(
    train: Sequence[Part], test: Sequence[Part], decoded: dict[Path, Decoded]
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


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def wxh(size_hw: Sequence[int]) -> str:
    """A size as people write it: width x height."""
    return f"{size_hw[1]}x{size_hw[0]}"
