"""MVTec AD, LOCO and AD 2, MPDD and BTAD, in folders as those data sets have them."""

from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import DataError
from dtgd_edge.train.data import DataSet, read_data, read_mask
from tests.train.made import SIZE_HW, write_mask, write_pictures


def _names(data: DataSet) -> list[tuple[str, str, tuple[str, ...]]]:
    """Kind, name and mask names of the test parts, paths relative to the data set."""
    return [
        (p.kind, p.path.name, tuple(m.relative_to(data.root).as_posix() for m in p.mask_paths))
        for p in data.test
    ]


@pytest.mark.parametrize("layout", [None, "mvtec-ad", "mpdd", "visa"])
def test_mvtec_ad_and_what_is_arranged_like_it(tmp_path: Path, layout: str | None) -> None:
    write_pictures(tmp_path / "train" / "good", 20, 1)
    write_pictures(tmp_path / "test" / "good", 1, 2)
    write_pictures(tmp_path / "test" / "parts_mismatch", 2, 3)
    for name in ("000", "001"):
        write_mask(tmp_path / "ground_truth" / "parts_mismatch" / f"{name}_mask.png")
    data = read_data(tmp_path, layout=layout)
    assert data.layout == layout or (layout is None and data.layout == "mvtec-ad")
    assert len(data.train) == 20 and data.warnings == ()
    assert _names(data) == [
        ("good", "000.png", ()),
        ("parts_mismatch", "000.png", ("ground_truth/parts_mismatch/000_mask.png",)),
        ("parts_mismatch", "001.png", ("ground_truth/parts_mismatch/001_mask.png",)),
    ]


@pytest.fixture
def loco(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "train" / "good", 15, 1)
    write_pictures(tmp_path / "validation" / "good", 5, 2)
    write_pictures(tmp_path / "test" / "good", 1, 3)
    for seed, kind in enumerate(("logical_anomalies", "structural_anomalies"), 4):
        write_pictures(tmp_path / "test" / kind, 2, seed)
        for picture in ("000", "001"):
            write_mask(tmp_path / "ground_truth" / kind / picture / "000.png", value=255)
    masks = tmp_path / "ground_truth" / "logical_anomalies" / "001"
    write_mask(masks / "001.png", value=237, left=18, width=6)
    (tmp_path / "defects_config.json").write_text('[{"defect_name": "missing", "pixel_value": 255}]')
    return tmp_path


def test_mvtec_loco_has_several_masks_per_picture(loco: Path) -> None:
    data = read_data(loco)
    assert data.layout == "mvtec-loco" and len(data.train) == 20
    assert data.warnings == ("5 pictures of validation/good join the 15 of train/good",)
    assert _names(data)[2] == (
        "logical_anomalies",
        "001.png",
        ("ground_truth/logical_anomalies/001/000.png", "ground_truth/logical_anomalies/001/001.png"),
    )
    mask = read_mask(data.test[2], SIZE_HW)
    assert mask.sum() == 5 * 14 and mask[4, 10] and mask[8, 23]  # columns 10 to 19 and 18 to 23


def test_every_one_of_several_masks_is_checked(loco: Path) -> None:
    second = loco / "ground_truth" / "logical_anomalies" / "001" / "001.png"
    write_mask(second, value=0)
    assert len(read_data(loco).warnings) == 1
    write_mask(second.with_name("000.png"), value=0)
    assert read_data(loco).warnings[1].startswith("1 masks mark nothing: 001/000.png")
    write_mask(second, (40, 24))
    with pytest.raises(DataError, match=r"001\.png \(24x40, its picture 40x24\)"):
        read_data(loco)


def test_mvtec_ad_2_leaves_the_private_pictures_out(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "good", ("000_regular.png", *_numbered(15)), 1)
    write_pictures(tmp_path / "validation" / "good", 4, 2)
    public = tmp_path / "test_public"
    write_pictures(public / "good", ("000_regular.png",), 3)
    write_pictures(public / "bad", ("000_regular.png", "000_shift_1.png"), 4)
    for name in ("000_regular", "000_shift_1"):
        write_mask(public / "ground_truth" / "bad" / f"{name}_mask.png")
    write_pictures(tmp_path / "test_private", 2, 5)
    write_pictures(tmp_path / "test_private_mixed", 2, 6)
    data = read_data(tmp_path)
    assert data.layout == "mvtec-ad-2" and len(data.train) == 20
    assert _names(data) == [
        ("bad", "000_regular.png", ("test_public/ground_truth/bad/000_regular_mask.png",)),
        ("bad", "000_shift_1.png", ("test_public/ground_truth/bad/000_shift_1_mask.png",)),
        ("good", "000_regular.png", ()),
    ]
    assert data.warnings == (
        "4 pictures of validation/good join the 16 of train/good",
        "test_private and test_private_mixed left out: which pictures are good is not published",
    )


def test_btad_calls_good_ok_and_mixes_suffixes(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "ok", tuple(f"{i:04}.bmp" for i in range(20)), 1)
    write_pictures(tmp_path / "test" / "ok", ("0000.bmp",), 2)
    write_pictures(tmp_path / "test" / "ko", ("0000.bmp", "0001.png"), 3)
    write_mask(tmp_path / "ground_truth" / "ko" / "0000.png")
    write_mask(tmp_path / "ground_truth" / "ko" / "0001.bmp")
    data = read_data(tmp_path)
    assert data.layout == "btad" and len(data.train) == 20 and data.warnings == ()
    assert _names(data) == [
        ("ko", "0000.bmp", ("ground_truth/ko/0000.png",)),
        ("ko", "0001.png", ("ground_truth/ko/0001.bmp",)),
        ("good", "0000.bmp", ()),
    ]
    assert [part.is_defective for part in data.test] == [True, True, False]
    assert not np.any(read_mask(data.test[2], SIZE_HW))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{index:03}.png" for index in range(count))
