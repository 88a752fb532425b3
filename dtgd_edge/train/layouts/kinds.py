"""Pictures sorted into folders that are named after kinds of parts. Opens no picture."""

from collections.abc import Container
from pathlib import Path

from dtgd_edge.errors import DataError
from dtgd_edge.pictures import picture_paths
from dtgd_edge.train.layouts.part import GOOD, Part, some

MASK_FOLDERS = ("ground_truth", "masks")
MASK_TAIL = "_mask"
_MASK_TAILS = (MASK_TAIL, "_label", "_GT")


def good_parts(folder: Path) -> tuple[Part, ...]:
    """Pictures of good parts directly in a folder.

    Raises:
        DataError: none there, or masks among them, which nobody wants to train on.
    """
    paths = picture_paths(folder)
    stems = {path.stem for path in paths}
    masks = [p.name for p in paths for tail in _MASK_TAILS if _is_mask(p.stem, stems, tail)]
    if masks:
        raise DataError(
            f"{folder} holds what look like masks beside their pictures: {some(masks)}; expected pictures of "
            "good parts only; name the data set's own folder, or rename them if they are pictures of parts"
        )
    return tuple(Part(path, False, GOOD) for path in paths)


def parts_by_kind(folder: Path, good: str = GOOD) -> tuple[Part, ...]:
    """Pictures directly in a folder and in its folders of kinds; those in folder `good` are good.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected pictures of defective parts; check the path")
    kinds = [p for p in subfolders(folder) if p.name not in MASK_FOLDERS]
    parts = tuple(part for p in (folder, *kinds) for part in kind_parts(p, good))
    if not parts:
        raise DataError(f"{folder} holds no pictures; expected pictures of defective parts; check the path")
    return parts


def kind_parts(folder: Path, good: str = GOOD) -> list[Part]:
    """Pictures of one kind; `x_mask.png` beside `x.png` is its mask and no part."""
    paths = pictures(folder)
    by_stem = {path.stem: (path,) for path in paths}
    is_defective = folder.name != good
    kind = folder.name if is_defective else GOOD
    return [
        Part(path, is_defective, kind, by_stem.get(path.stem + MASK_TAIL, ()) if is_defective else ())
        for path in paths
        if not _is_mask(path.stem, by_stem, MASK_TAIL)
    ]


def pictures(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name; none are fine."""
    try:
        return picture_paths(folder)
    except DataError:  # none here: the folder of a kind may be empty
        return []


def subfolders(folder: Path) -> list[Path]:
    """Folders directly in a folder, by name, without hidden and archivers' own ones."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _is_mask(stem: str, stems: Container[str], tail: str) -> bool:
    return stem.endswith(tail) and stem.removesuffix(tail) in stems
