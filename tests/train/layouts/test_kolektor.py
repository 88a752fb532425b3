"""KolektorSDD and KolektorSDD2."""

from pathlib import Path

import pytest

from dtgd_edge.errors import DataError
from dtgd_edge.train.data import read_data, read_mask
from tests.train.made import SIZE_HW, write_mask, write_pictures


@pytest.fixture
def sdd(tmp_path: Path) -> Path:
    """Ten items of three surfaces; the second of kos02 and the third of kos05 are defective."""
    for item in range(1, 11):
        folder = tmp_path / f"kos{item:02}"
        for path in write_pictures(folder, tuple(f"Part{i}.jpg" for i in range(3)), item):
            marked = f"{folder.name}/{path.stem}" in ("kos02/Part1", "kos05/Part2")
            write_mask(folder / f"{path.stem}_label.bmp", value=255 if marked else 0)
    return tmp_path


def test_sdd_is_split_by_items(sdd: Path) -> None:
    data = read_data(sdd)
    assert data.layout == "kolektorsdd" and len(data.train) == 8 * 3 - 1
    assert {p.path.parent.name for p in data.train}.isdisjoint({"kos05", "kos10"})
    assert [(f"{p.path.parent.name}/{p.path.stem}", p.kind) for p in data.test] == [
        ("kos02/Part1", "defect"),
        ("kos05/Part0", "good"),
        ("kos05/Part1", "good"),
        ("kos05/Part2", "defect"),
        ("kos10/Part0", "good"),
        ("kos10/Part1", "good"),
        ("kos10/Part2", "good"),
    ]
    assert data.test[3].mask_paths == (sdd / "kos05" / "Part2_label.bmp",)
    assert read_mask(data.test[3], SIZE_HW).sum() == 50
    assert data.warnings == (
        "the data set has no split: every 5th item is for testing (kos05, kos10), and all defective pictures",
    )
    assert read_data(sdd) == data


def test_one_item_alone_is_refused_for_the_masks_in_it(sdd: Path) -> None:
    with pytest.raises(DataError, match=r"masks beside their pictures: Part0_label\.bmp, "):
        read_data(sdd / "kos01")


def test_a_damaged_mask_cannot_say_whether_its_picture_is_good(sdd: Path) -> None:
    (sdd / "kos03" / "Part1_label.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"kos03/Part1_label\.bmp"):
        read_data(sdd)


@pytest.fixture
def sdd2(tmp_path: Path) -> Path:
    """22 to train on, of which 2 are defective; 3 to test with, of which 1 is."""
    for folder, first, count, bad in (("train", 10000, 22, (10001, 10021)), ("test", 20000, 3, (20002,))):
        names = tuple(f"{first + index}.png" for index in range(count))
        for path in write_pictures(tmp_path / folder, names, first):
            write_mask(path.with_name(f"{path.stem}_GT.png"), value=255 if int(path.stem) in bad else 0)
    return tmp_path


def test_sdd2_leaves_the_defective_ones_of_train_out(sdd2: Path) -> None:
    data = read_data(sdd2)
    assert data.layout == "kolektorsdd2" and len(data.train) == 20
    assert not {"10001", "10021"} & {p.path.stem for p in data.train}
    assert [(p.path.name, p.kind, p.is_defective, len(p.mask_paths)) for p in data.test] == [
        ("20000.png", "good", False, 0),
        ("20001.png", "good", False, 0),
        ("20002.png", "defect", True, 1),
    ]
    assert data.warnings == ("2 defective pictures of train are left out",)


def test_sdd2_has_files_that_belong_to_nothing(sdd2: Path) -> None:
    """The published archive holds a picture and its mask a second time, named so that they do not pair."""
    for name in ("10005.png", "10005_GT.png"):
        source = sdd2 / "train" / name
        source.with_name(f"{source.stem} (copy).png").write_bytes(source.read_bytes())
    data = read_data(sdd2)
    assert len(data.train) == 20
    assert data.warnings[1] == (
        "2 files without a mask (<name>_GT) are left out: train/10005 (copy).png, train/10005_GT (copy).png"
    )


def test_sdd2_train_alone_is_refused_for_the_masks_in_it(sdd2: Path) -> None:
    with pytest.raises(DataError, match="masks beside their pictures: 10000_GT"):
        read_data(sdd2 / "train")


def test_a_data_set_without_good_pictures_is_refused(sdd2: Path) -> None:
    for path in (sdd2 / "train").glob("*_GT.png"):
        write_mask(path)
    with pytest.raises(DataError, match=f"{sdd2} holds 0 good pictures"):
        read_data(sdd2)
