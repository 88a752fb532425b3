"""Masks that lie apart from their pictures, found by name. Opens no picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dtgd_edge.errors import DataError
from dtgd_edge.train.layouts.kinds import MASK_FOLDERS, MASK_TAIL, pictures, subfolders
from dtgd_edge.train.layouts.part import Part


def mask_folder(folder: Path) -> Path | None:
    """The folder of masks directly in a folder."""
    return next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)


def with_masks(parts: Sequence[Part], folder: Path) -> tuple[Part, ...]:
    """Give each defective part its masks: those in its kind's folder, else one directly in `folder`.

    A part's mask has the name of its picture, with or without `_mask`. In the folder of a kind it may
    also be a folder of that name, which holds one mask per defect.

    Raises:
        DataError: no such folder, or two parts share a mask.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of masks; check the path")
    found = _masks_in(folder)
    owners: dict[Path, Part] = {}
    result = []
    for part in parts:
        names = [(kind, part.path.stem + tail) for kind in (part.kind, "") for tail in (MASK_TAIL, "")]
        masks = next((found[name] for name in names if name in found), ()) if part.is_defective else ()
        for mask in masks:
            if owners.setdefault(mask, part) is not part:
                raise DataError(
                    f"{mask} is the mask of {owners[mask].path} and of {part.path}; expected a mask each; "
                    "put the masks into a folder per kind"
                )
        result.append(replace(part, mask_paths=masks or part.mask_paths))
    return tuple(result)


def _masks_in(folder: Path) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Masks by kind ("" for those directly in the folder) and name."""
    found: dict[tuple[str, str], tuple[Path, ...]] = {("", path.stem): (path,) for path in pictures(folder)}
    for kind in subfolders(folder):
        several = {(kind.name, p.name): tuple(pictures(p)) for p in subfolders(kind)}
        found |= {name: masks for name, masks in several.items() if masks}
        found |= {(kind.name, path.stem): (path,) for path in pictures(kind)}
    return found
