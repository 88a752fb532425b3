"""VisA as it is unpacked."""

from pathlib import Path

import pytest

from dtgd_edge.errors import DataError
from dtgd_edge.train.data import read_data, read_mask
from tests.train.made import SIZE_HW, write_mask, write_pictures


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    """The root: two categories of 18 good parts to train on, 2 good and 3 defective ones to test with."""
    rows = ["object,split,label,image,mask"]
    for seed, name in enumerate(("candle", "pcb1")):
        images = tmp_path / name / "Data" / "Images"
        good = write_pictures(images / "Normal", tuple(f"{i:04}.JPG" for i in range(20)), seed)
        bad = write_pictures(images / "Anomaly", tuple(f"{i:03}.JPG" for i in range(3)), seed + 5)
        for index, path in enumerate(good):
            listed = path.relative_to(tmp_path).as_posix()
            rows.append(f"{name},{'test' if index in (3, 7) else 'train'},normal,{listed},")
        for path in bad:
            mask = write_mask(tmp_path / name / "Data" / "Masks" / "Anomaly" / f"{path.stem}.png", value=3)
            listed = path.relative_to(tmp_path).as_posix()
            rows.append(f"{name},test,anomaly,{listed},{mask.relative_to(tmp_path).as_posix()}")
    split = tmp_path / "split_csv" / "1cls.csv"
    split.parent.mkdir()
    split.write_text("\n".join(rows) + "\n")
    return tmp_path


def test_the_official_split_is_taken(visa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_data(visa / "candle")
    assert data.layout == "visa" and len(data.train) == 18 and data.warnings[1:] == ()
    assert [(p.path.name, p.kind, p.is_defective) for p in data.test] == [
        ("0003.JPG", "good", False),
        ("0007.JPG", "good", False),
        ("000.JPG", "anomaly", True),
        ("001.JPG", "anomaly", True),
        ("002.JPG", "anomaly", True),
    ]
    assert all(part.path.is_relative_to(visa / "candle") for part in (*data.train, *data.test))
    monkeypatch.chdir(visa / "candle")
    assert len(read_data(Path(".")).train) == 18


def test_masks_hold_labels_not_white(visa: Path) -> None:
    mask = read_mask(read_data(visa / "candle").test[-1], SIZE_HW)
    assert mask.sum() == 50 and mask[4, 10]


def test_kinds_of_defects_come_from_the_annotations(visa: Path) -> None:
    (visa / "pcb1" / "image_anno.csv").write_text(
        "image,label,mask\n"
        "pcb1/Data/Images/Normal/0003.JPG,normal,\n"
        "pcb1/Data/Images/Anomaly/000.JPG,bent,pcb1/Data/Masks/Anomaly/000.png\n"
        'pcb1/Data/Images/Anomaly/002.JPG,"melt,scratch",pcb1/Data/Masks/Anomaly/002.png\n'
    )
    kinds = [part.kind for part in read_data(visa / "pcb1").test]
    assert kinds == ["good", "good", "bent", "anomaly", "melt,scratch"]


def test_a_missing_broken_or_foreign_split_is_told(visa: Path) -> None:
    split = visa / "split_csv" / "1cls.csv"
    (visa / "pcb1").rename(visa / "board")
    with pytest.raises(DataError, match=r"lists no picture of 'board'; expected one of candle, pcb1;"):
        read_data(visa / "board")
    split.write_text("object,split,image\ncandle,train,candle/Data/Images/Normal/0000.JPG\n")
    with pytest.raises(DataError, match="no column label, mask; expected object, split"):
        read_data(visa / "candle")
    split.write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(DataError, match="cannot be read"):
        read_data(visa / "candle")
    split.unlink()
    with pytest.raises(DataError, match=r"1cls\.csv does not exist; expected VisA's official split"):
        read_data(visa / "candle")


def test_listed_pictures_that_are_not_there_are_named(visa: Path) -> None:
    (visa / "candle" / "Data" / "Images" / "Normal" / "0005.JPG").unlink()
    with pytest.raises(DataError, match=r"1 of 26 pictures cannot be used: .*0005\.JPG cannot be read"):
        read_data(visa / "candle")


def test_the_root_of_all_categories_names_them(visa: Path) -> None:
    for layout in (None, "visa"):
        with pytest.raises(DataError, match=r"holds 2 data sets \(visa\): candle, pcb1; .*candle$"):
            read_data(visa, layout=layout)
