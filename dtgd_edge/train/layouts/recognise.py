"""The layouts that are known, by name and by what a folder of each looks like."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.layouts import kolektor, plain, split, visa
from dtgd_edge.train.layouts.kinds import MASK_TAIL, parts_by_kind, subfolders
from dtgd_edge.train.layouts.masks import with_masks
from dtgd_edge.train.layouts.part import Found, some


@dataclass(frozen=True, slots=True)
class Layout:
    """A way of arranging pictures in folders.

    Attributes:
        name: as given by `--layout`.
        expects: what such a folder holds.
        fits: whether a folder looks like it.
        read: finds the parts of a folder that fits.
    """

    name: str
    expects: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Found]


_MVTEC = "train/good, test/<kind> and ground_truth/<kind>/<name>_mask.png"

# The first that fits is taken, so the more particular ones come first; mpdd and a re-arranged visa are
# taken for mvtec-ad, which is read the same way.
LAYOUTS = (
    Layout(
        "mvtec-loco",
        "train/good, validation/good, test/<kind> and ground_truth/<kind>/<name>/000.png",
        split.is_loco,
        split.read_mvtec,
    ),
    Layout(
        "mvtec-ad-2",
        "train/good, validation/good and test_public/{good,bad,ground_truth/bad}",
        split.is_mvtec_ad_2,
        split.read_mvtec_ad_2,
    ),
    Layout("mvtec-ad", _MVTEC, split.is_mvtec, split.read_mvtec),
    Layout("mpdd", _MVTEC, split.is_mvtec, split.read_mvtec),
    Layout("visa", "Data/Images/{Normal,Anomaly} and ../split_csv/1cls.csv", visa.is_visa, visa.read_visa),
    Layout("btad", "train/ok, test/{ok,ko} and ground_truth/ko", split.is_btad, split.read_btad),
    Layout(
        "kolektorsdd",
        "kos01/Part0.jpg with kos01/Part0_label.bmp, and so on",
        kolektor.is_kolektor_sdd,
        kolektor.read_kolektor_sdd,
    ),
    Layout(
        "kolektorsdd2",
        "train/10000.png with train/10000_GT.png, and test likewise",
        kolektor.is_kolektor_sdd2,
        kolektor.read_kolektor_sdd2,
    ),
    Layout(
        "folder",
        "a folder good beside folders of defects, or pictures of good parts directly",
        plain.is_plain,
        plain.read_plain,
    ),
)
_BY_NAME = {layout.name: layout for layout in LAYOUTS}
_EXPECTED = (
    "train/good with test/<kind> and ground_truth/<kind> (MVTec AD), or a folder good beside folders of "
    f"defects, or pictures of good parts directly, or another known layout ({', '.join(_BY_NAME)})"
)


def parts_in(folder: Path, defects: Path | None, masks: Path | None, name: str | None) -> tuple[str, Found]:
    """Find the good parts to train on and the parts to test with, as `read_data` says.

    Returns:
        The layout's name, and the parts with their masks.

    Raises:
        ConfigError: no layout of this name.
        DataError: another layout, a folder of several data sets, or `defects` or `masks` fit nothing.
    """
    layout = _layout(folder, name)
    found = layout.read(folder)
    test = found.test
    if defects is not None:
        known = {part.path.resolve() for part in test}
        test += tuple(part for part in parts_by_kind(defects) if part.path.resolve() not in known)
    if (mask_folder := masks or found.mask_folder) is not None:
        test = with_masks(test, mask_folder)
    if masks is not None and test and not any(part.mask_paths for part in test):
        raise DataError(
            f"{masks} holds no mask for any test picture; expected the same names, with or without "
            f"{MASK_TAIL}; check the path"
        )
    return layout.name, replace(found, test=test)


def _layout(folder: Path, name: str | None) -> Layout:
    if name is not None and name not in _BY_NAME:
        nearest = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"layout {name!r} is not known; expected one of {', '.join(_BY_NAME)}; did you mean {nearest!r}?"
        )
    expected = _EXPECTED if name is None else _BY_NAME[name].expects
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected {expected}; check the path")
    fitting = [layout for layout in LAYOUTS if layout.fits(folder)]
    wanted = [layout for layout in fitting if name in (None, layout.name)]
    if wanted:
        return wanted[0]
    if fitting:
        raise DataError(
            f"{folder} does not look like {name}, but like {fitting[0].name}; expected {expected}; "
            "leave the layout out, or name another folder"
        )
    raise DataError(
        _several(folder) or f"{folder} holds {_content(folder)}; expected {expected}; name such a folder"
    )


def _several(folder: Path) -> str | None:
    """The text for a folder of data sets where one is needed; None: it is no such folder."""
    inside = [
        (place, layout.name)
        for place in subfolders(folder)
        for layout in LAYOUTS
        if layout.name != "folder" and layout.fits(place)
    ]
    names = list(dict.fromkeys(place.name for place, _ in inside))
    if not names:
        return None
    return (
        f"{folder} holds {len(names)} data sets ({inside[0][1]}): {', '.join(names)}; "
        f"expected one of them; name it, such as {inside[0][0]}"
    )


def _content(folder: Path) -> str:
    names = [p.name for p in subfolders(folder)]
    return f"the folders {some(names)}" if names else "neither pictures nor folders"
