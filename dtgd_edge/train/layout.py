"""Find the good and the defective pictures of a folder, whatever its layout. Opens no picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dtgd_edge.errors import DataError
from dtgd_edge.pictures import picture_paths

GOOD = "good"
MASK_FOLDERS = ("ground_truth", "masks")
LAYOUTS = (
    "expected train/good with test/<kind> and ground_truth/<kind> (MVTec AD), or a folder good beside "
    "folders of defects, or pictures of good parts directly"
)
_MASK_TAIL = "_mask"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a part, and what is known about it.

    Attributes:
        path: the picture.
        is_defective: whether the part has a defect.
        kind: "good", or the kind of the defect.
        mask_path: picture of the defect's place, as large as the picture; None: not marked.
    """

    path: Path
    is_defective: bool
    kind: str
    mask_path: Path | None = None


def parts_in(folder: Path, defects: Path | None, masks: Path | None) -> tuple[list[Part], list[Part]]:
    """Find the good parts to train on and the parts to test with, as `read_data` says.

    Raises:
        DataError: another layout, or `defects` or `masks` fit nothing.
    """
    train, test, mask_folder = _layout(folder)
    if defects is not None:
        known = {part.path.resolve() for part in test}
        test += [part for part in _test_parts(defects) if part.path.resolve() not in known]
    if masks is not None or mask_folder is not None:
        test = _with_masks(test, masks or mask_folder or folder)
    if masks is not None and test and not any(part.mask_path for part in test):
        raise DataError(
            f"{masks} holds no mask for any test picture; expected the same names, with or without "
            f"{_MASK_TAIL}; check the path"
        )
    return train, test


def some(names: Sequence[str]) -> str:
    """Join the first few names, and say how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _layout(folder: Path) -> tuple[list[Part], list[Part], Path | None]:
    """Good parts to train on, parts to test with, and the folder of masks."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; {LAYOUTS}; check the path")
    mask_folder = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "train" / GOOD).is_dir():
        test = _test_parts(folder / "test") if (folder / "test").is_dir() else []
        return _good_parts(folder / "train" / GOOD), test, mask_folder
    if (folder / GOOD).is_dir():
        kinds = [p for p in _subfolders(folder) if p.name not in (GOOD, "train", "test", *MASK_FOLDERS)]
        return _good_parts(folder / GOOD), [part for p in kinds for part in _kind_parts(p)], mask_folder
    if _pictures(folder):
        return _good_parts(folder), [], None
    names = [p.name for p in _subfolders(folder)]
    found = f"the folders {some(names)}" if names else "neither pictures nor folders"
    raise DataError(f"{folder} holds {found}; {LAYOUTS}; name such a folder")


def _good_parts(folder: Path) -> list[Part]:
    return [Part(path, False, GOOD) for path in picture_paths(folder)]


def _test_parts(folder: Path) -> list[Part]:
    """Pictures directly in a folder and in its folders, which are named after kinds."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected pictures of defective parts; check the path")
    kinds = [p for p in _subfolders(folder) if p.name not in MASK_FOLDERS]
    parts = [part for p in (folder, *kinds) for part in _kind_parts(p)]
    if not parts:
        raise DataError(f"{folder} holds no pictures; expected pictures of defective parts; check the path")
    return parts


def _kind_parts(folder: Path) -> list[Part]:
    """Pictures of one kind; `x_mask.png` beside `x.png` is its mask and no part."""
    paths = _pictures(folder)
    by_stem = {path.stem: path for path in paths}
    is_defective = folder.name != GOOD
    return [
        Part(path, is_defective, folder.name, by_stem.get(path.stem + _MASK_TAIL) if is_defective else None)
        for path in paths
        if not (path.stem.endswith(_MASK_TAIL) and path.stem.removesuffix(_MASK_TAIL) in by_stem)
    ]


def _pictures(folder: Path) -> list[Path]:
    try:
        return picture_paths(folder)
    except DataError:  # none here: the folder of a kind may be empty
        return []


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _with_masks(parts: list[Part], folder: Path) -> list[Part]:
    """Give each defective part its mask: that of its kind's folder, else one directly in `folder`."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of masks; check the path")
    places = {p.name: p for p in _subfolders(folder)} | {"": folder}
    found = {(kind, path.stem): path for kind, place in places.items() for path in _pictures(place)}
    owners: dict[Path, Part] = {}
    result = []
    for part in parts:
        names = [(kind, part.path.stem + tail) for kind in (part.kind, "") for tail in (_MASK_TAIL, "")]
        mask = next((found[name] for name in names if name in found), None) if part.is_defective else None
        if mask is not None and owners.setdefault(mask, part) is not part:
            raise DataError(
                f"{mask} is the mask of {owners[mask].path} and of {part.path}; expected a mask each; "
                "put the masks into a folder per kind"
            )
        result.append(replace(part, mask_path=mask or part.mask_path))
    return result
