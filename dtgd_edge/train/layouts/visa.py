"""VisA as it is unpacked: pictures by category, the split in a table of its own. Opens no picture."""

import csv
import os
from pathlib import Path, PurePosixPath

from dtgd_edge.errors import DataError
from dtgd_edge.train.layouts.part import GOOD, Found, Part, some
from dtgd_edge.train.layouts.split import is_mvtec, read_mvtec

_SPLIT = Path("split_csv", "1cls.csv")
_KINDS = "image_anno.csv"
_ANOMALY = "anomaly"


def is_visa(folder: Path) -> bool:
    """Whether it is a category as it is unpacked, or one re-arranged like MVTec AD."""
    return _is_unpacked(folder) or is_mvtec(folder)


def read_visa(folder: Path) -> Found:
    """Read one category by the official one-class split, ../split_csv/1cls.csv.

    A category that was re-arranged like MVTec AD is read like MVTec AD. The kinds of defects come from
    image_anno.csv; without it, all are "anomaly".

    Raises:
        DataError: no split, or one that is no table of VisA's or does not list this category.
    """
    if not _is_unpacked(folder):
        return read_mvtec(folder)
    here = Path(os.path.abspath(folder))  # the category's name, even where the folder is given as "."
    root, category = here.parent, here.name
    table = _rows(root / _SPLIT, ("object", "split", "label", "image", "mask"))
    rows = [row for row in table if row["object"] == category]
    if not rows:
        others = sorted({row["object"] for row in table})
        raise DataError(
            f"{root / _SPLIT} lists no picture of {category!r}; expected one of {', '.join(others)}; "
            "give the folder its own name again"
        )
    kinds = {}
    if (folder / _KINDS).is_file():
        kinds = {row["image"]: row["label"] for row in _rows(folder / _KINDS, ("image", "label"))}
    parts = [(row["split"], _part(row, folder, kinds)) for row in rows]
    train = tuple(part for split, part in parts if split == "train" and not part.is_defective)
    return Found(train, tuple(part for split, part in parts if split == "test"))


def _part(row: dict[str, str], folder: Path, kinds: dict[str, str]) -> Part:
    path = _inside(folder, row["image"])
    if row["label"] == "normal":
        return Part(path, False, GOOD)
    masks = (_inside(folder, row["mask"]),) if row["mask"] else ()
    return Part(path, True, kinds.get(row["image"], _ANOMALY), masks)


def _is_unpacked(folder: Path) -> bool:
    return (folder / "Data" / "Images" / "Normal").is_dir()


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table with a heading; each has all columns, empty ones as ""."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path} has no column {some(missing)}; expected {', '.join(columns)}; "
                    "copy it from VisA's archive again"
                )
            return list(reader)
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; expected VisA's official split beside its categories; "
            "copy it from VisA's archive"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} cannot be read ({exc}); expected a table; copy it again") from exc


def _inside(folder: Path, listed: str) -> Path:
    """A path that is listed with its category in front, as one in the category's folder."""
    return folder.joinpath(*PurePosixPath(listed).parts[1:])
