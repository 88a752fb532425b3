"""Folders as people make them: good parts, perhaps beside folders of defects. Opens no picture."""

from pathlib import Path

from dtgd_edge.train.layouts.kinds import MASK_FOLDERS, good_parts, kind_parts, pictures, subfolders
from dtgd_edge.train.layouts.masks import mask_folder
from dtgd_edge.train.layouts.part import GOOD, Found


def is_plain(folder: Path) -> bool:
    """Whether a folder good, or pictures, are there."""
    return (folder / GOOD).is_dir() or bool(pictures(folder))


def read_plain(folder: Path) -> Found:
    """Read good/ beside <kind>/ and masks in ground_truth/<kind>; or pictures of good parts directly."""
    if not (folder / GOOD).is_dir():
        return Found(good_parts(folder))
    kinds = [p for p in subfolders(folder) if p.name not in (GOOD, "train", "test", *MASK_FOLDERS)]
    test = tuple(part for kind in kinds for part in kind_parts(kind))
    return Found(good_parts(folder / GOOD), test, mask_folder(folder))
