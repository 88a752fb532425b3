"""Layouts that come split into train and test: MVTec AD, LOCO and AD 2, MPDD, BTAD. Opens no picture."""

from dataclasses import replace
from pathlib import Path

from dtgd_edge.train.layouts.kinds import good_parts, parts_by_kind, pictures
from dtgd_edge.train.layouts.masks import mask_folder
from dtgd_edge.train.layouts.part import GOOD, Found

_OK = "ok"
_PRIVATE = ("test_private", "test_private_mixed")


def is_mvtec(folder: Path) -> bool:
    """Whether train/good is there."""
    return (folder / "train" / GOOD).is_dir()


def read_mvtec(folder: Path) -> Found:
    """Read train/good, validation/good, test/<kind> and ground_truth/<kind>."""
    return _read(folder, GOOD, folder / "test", mask_folder(folder))


def is_loco(folder: Path) -> bool:
    """Whether train/good is there, and masks in a folder per picture."""
    return is_mvtec(folder) and any(p.is_dir() for p in (folder / "ground_truth").glob("*/*"))


def is_mvtec_ad_2(folder: Path) -> bool:
    """Whether train/good and test_public are there."""
    return is_mvtec(folder) and (folder / "test_public").is_dir()


def read_mvtec_ad_2(folder: Path) -> Found:
    """Read train/good, validation/good and test_public/{good,bad,ground_truth}.

    The private test pictures are left out: their labels are not published.
    """
    public = folder / "test_public"
    found = _read(folder, GOOD, public, mask_folder(public))
    private = [name for name in _PRIVATE if (folder / name).is_dir()]
    note = f"{' and '.join(private)} left out: which pictures are good is not published"
    return replace(found, notes=(*found.notes, note)) if private else found


def is_btad(folder: Path) -> bool:
    """Whether train/ok is there."""
    return (folder / "train" / _OK).is_dir()


def read_btad(folder: Path) -> Found:
    """Read train/ok, test/{ok,ko} and ground_truth/ko."""
    return _read(folder, _OK, folder / "test", mask_folder(folder))


def _read(folder: Path, good: str, test: Path, masks: Path | None) -> Found:
    """Read what is split; good pictures for validation join those to train on.

    A training run sets a share of its good pictures aside itself, the same way for every layout; with
    these it has more to choose from.
    """
    train = good_parts(folder / "train" / good)
    extra = good_parts(validation) if pictures(validation := folder / "validation" / good) else ()
    note = f"{len(extra)} pictures of validation/{good} join the {len(train)} of train/{good}"
    return Found(
        train + extra,
        parts_by_kind(test, good) if test.is_dir() else (),
        masks,
        (note,) if extra else (),
    )
