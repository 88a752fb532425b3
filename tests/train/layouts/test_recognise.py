"""Which layout is taken, and what is said when none fits."""

from pathlib import Path

import pytest

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.data import read_data
from tests.train.made import write_mask, write_pictures


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    write_pictures(tmp_path, 20, 1)
    with pytest.raises(ConfigError, match=r"'vissa' is not known; expected one of .*; did you mean 'visa'\?"):
        read_data(tmp_path, layout="vissa")
    assert read_data(tmp_path, layout="folder").layout == "folder"


def test_a_named_layout_that_does_not_fit_says_what_does(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "ok", 20, 1)
    with pytest.raises(
        DataError, match="does not look like kolektorsdd2, but like btad; expected train/10000"
    ):
        read_data(tmp_path, layout="kolektorsdd2")
    with pytest.raises(DataError, match=r"holds the folders ok; expected Data/Images.*; name such a folder"):
        read_data(tmp_path / "train", layout="visa")
    with pytest.raises(DataError, match=r"nowhere is not a folder; expected train/ok"):
        read_data(tmp_path / "nowhere", layout="btad")


def test_a_folder_of_data_sets_names_all_of_them(tmp_path: Path) -> None:
    names = [f"category{index}" for index in range(7)]
    for name in names:
        write_pictures(tmp_path / name / "train" / "good", 1, 1)
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds 7 data sets (mvtec-ad): {', '.join(names)}; "
        f"expected one of them; name it, such as {tmp_path / 'category0'}"
    )


def test_own_pictures_are_not_taken_for_a_public_data_set(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 20, 1)
    write_pictures(tmp_path / "scratch", ("000.png", "000_label.png"), 2)
    data = read_data(tmp_path)
    assert data.layout == "folder" and [part.kind for part in data.test] == ["scratch", "scratch"]


def test_masks_of_an_own_folder_may_be_several_per_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 20, 1)
    write_pictures(tmp_path / "scratch", 1, 2)
    for name in ("a", "b"):
        write_mask(tmp_path / "masks" / "scratch" / "000" / f"{name}.png")
    (tmp_path / "masks" / "scratch" / "001").mkdir()
    data = read_data(tmp_path)
    assert data.layout == "folder" and len(data.test[0].mask_paths) == 2


def test_masks_among_good_pictures_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, 20, 1)
    write_mask(tmp_path / "003_mask.png")
    with pytest.raises(DataError, match=r"look like masks beside their pictures: 003_mask\.png; expected"):
        read_data(tmp_path)
