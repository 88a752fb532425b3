"""KolektorSDD and KolektorSDD2: every picture has a mask, and only the masks tell which are good."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dtgd_edge.pictures import read_picture
from dtgd_edge.train.layouts.kinds import pictures, subfolders
from dtgd_edge.train.layouts.part import GOOD, Found, Part, some

_LABEL = "_label"
_GT = "_GT"
_DEFECT = "defect"
_EVERY = 5
_THREADS = 4


def is_kolektor_sdd(folder: Path) -> bool:
    """Whether a folder in it holds masks called *_label, and none is called good."""
    return not (folder / GOOD).is_dir() and any(_has_masks(item, _LABEL) for item in subfolders(folder))


def read_kolektor_sdd(folder: Path) -> Found:
    """Read kos01/Part0.jpg with kos01/Part0_label.bmp, and so on.

    The data set has no split of its own. Whole items are kept for testing, every fifth by name, so that
    the surfaces of one item do not lie on both sides; defective pictures are for testing wherever they are.

    Raises:
        DataError: a mask that cannot be decoded.
    """
    items = [item for item in subfolders(folder) if _has_masks(item, _LABEL)]
    train: list[Part] = []
    test: list[Part] = []
    strays: list[Path] = []
    for index, item in enumerate(items, 1):
        parts, bare = _parts(item, _LABEL)
        train += [part for part in parts if not part.is_defective and index % _EVERY]
        test += [part for part in parts if part.is_defective or not index % _EVERY]
        strays += bare
    kept = [item.name for item in items[_EVERY - 1 :: _EVERY]]
    note = (
        f"the data set has no split: every {_EVERY}th item is for testing ({some(kept) or 'none'}), "
        "and all defective pictures"
    )
    return Found(tuple(train), tuple(test), notes=(note, *_left_out(strays, _LABEL)))


def is_kolektor_sdd2(folder: Path) -> bool:
    """Whether train and test hold masks called *_GT."""
    return _has_masks(folder / "train", _GT) and _has_masks(folder / "test", _GT)


def read_kolektor_sdd2(folder: Path) -> Found:
    """Read train/10000.png with train/10000_GT.png, and test likewise.

    Raises:
        DataError: a mask that cannot be decoded.
    """
    train, strays = _parts(folder / "train", _GT)
    test, more = _parts(folder / "test", _GT)
    good = tuple(part for part in train if not part.is_defective)
    note = f"{len(train) - len(good)} defective pictures of train are left out"
    return Found(good, tuple(test), notes=(note, *_left_out([*strays, *more], _GT)))


def _has_masks(folder: Path, tail: str) -> bool:
    return any(path.stem.endswith(tail) for path in pictures(folder))


def _parts(folder: Path, tail: str) -> tuple[list[Part], list[Path]]:
    """Parts whose picture has a mask beside it, and pictures that neither have nor are a mask."""
    paths = pictures(folder)
    by_stem = {path.stem: path for path in paths}
    pairs = [(path, by_stem[path.stem + tail]) for path in paths if path.stem + tail in by_stem]
    paired = {path for pair in pairs for path in pair}
    with ThreadPoolExecutor(_THREADS) as pool:
        marked = list(pool.map(lambda pair: bool(read_picture(pair[1]).any()), pairs))
    parts = [
        Part(path, True, _DEFECT, (mask,)) if is_marked else Part(path, False, GOOD)
        for (path, mask), is_marked in zip(pairs, marked, strict=True)
    ]
    return parts, [path for path in paths if path not in paired]


def _left_out(strays: Sequence[Path], tail: str) -> tuple[str, ...]:
    if not strays:
        return ()
    names = some([f"{path.parent.name}/{path.name}" for path in strays])
    return (f"{len(strays)} files without a mask (<name>{tail}) are left out: {names}",)
