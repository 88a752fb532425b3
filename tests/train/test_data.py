from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.train.data import Part, read_data, read_frame, read_frames, read_mask, split_normals
from tests.train.made import SIZE_HW, write_mask, write_pictures


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "train" / "good", 20, 1)
    write_pictures(tmp_path / "test" / "good", 3, 2)
    for seed, kind in enumerate(("crack", "dent"), 3):
        for path in write_pictures(tmp_path / "test" / kind, 2, seed):
            write_mask(tmp_path / "ground_truth" / kind / f"{path.stem}_mask.png")
    return tmp_path


def _facts(parts: Sequence[Part]) -> list[tuple[str, str, bool, bool]]:
    return [(p.path.name, p.kind, p.is_defective, p.mask_paths != ()) for p in parts]


def test_mvtec_layout(mvtec: Path) -> None:
    data = read_data(mvtec)
    assert data.root == mvtec and data.frame_size_hw == SIZE_HW and data.warnings == ()
    assert len(data.train) == 20 and not any(part.is_defective for part in data.train)
    assert _facts(data.test) == [
        ("000.png", "crack", True, True),
        ("001.png", "crack", True, True),
        ("000.png", "dent", True, True),
        ("001.png", "dent", True, True),
        ("000.png", "good", False, False),
        ("001.png", "good", False, False),
        ("002.png", "good", False, False),
    ]
    assert data.test[2].mask_paths == (mvtec / "ground_truth" / "dent" / "000_mask.png",)


def test_masks_may_have_the_same_name_and_another_suffix(mvtec: Path) -> None:
    for path in sorted((mvtec / "ground_truth" / "crack").iterdir()):
        write_mask(path.with_name(path.name.replace("_mask.png", ".bmp")))
        path.unlink()
    assert [part.mask_paths != () for part in read_data(mvtec).test[:4]] == [True] * 4


def test_training_pictures_alone(mvtec: Path) -> None:
    data = read_data(mvtec / "train")
    assert len(data.train) == 20 and data.test == ()


def test_good_beside_defects(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 20, 1)
    write_pictures(tmp_path / "scratch", 2, 2)
    write_mask(tmp_path / "ground_truth" / "scratch" / "000.png")
    data = read_data(tmp_path)
    assert _facts(data.test) == [("000.png", "scratch", True, True), ("001.png", "scratch", True, False)]
    assert data.warnings == (
        "1 of 2 defective pictures have no mask: scratch/001.png; pixel metrics leave them out",
    )


def test_plain_folder_with_defects_and_masks_elsewhere(tmp_path: Path) -> None:
    write_pictures(tmp_path / "parts", 20, 1)
    write_pictures(tmp_path / "bad", 2, 2)
    write_mask(tmp_path / "drawn" / "000_mask.png")
    data = read_data(tmp_path / "parts")
    assert len(data.train) == 20 and data.test == ()
    data = read_data(tmp_path / "parts", defects=tmp_path / "bad", masks=tmp_path / "drawn")
    assert _facts(data.test) == [("000.png", "bad", True, True), ("001.png", "bad", True, False)]


def test_defects_in_kinds_with_good_ones_among_them(mvtec: Path, tmp_path: Path) -> None:
    data = read_data(mvtec / "train" / "good", defects=mvtec / "test", masks=mvtec / "ground_truth")
    assert data.test == read_data(mvtec).test
    assert read_data(mvtec, defects=mvtec / "test" / "dent").test == read_data(mvtec).test


def test_a_mask_beside_its_picture_is_no_part(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 20, 1)
    write_pictures(tmp_path / "scratch", 2, 2)
    write_mask(tmp_path / "scratch" / "000_mask.png")
    facts = _facts(read_data(tmp_path).test)
    assert facts == [("000.png", "scratch", True, True), ("001.png", "scratch", True, False)]


def test_one_mask_for_two_pictures_is_refused(mvtec: Path) -> None:
    write_mask(mvtec / "flat" / "000.png")
    with pytest.raises(DataError, match="a folder per kind"):
        read_data(mvtec, masks=mvtec / "flat")


def test_masks_that_fit_nothing_are_refused(mvtec: Path) -> None:
    write_mask(mvtec / "other" / "part-1.png")
    with pytest.raises(DataError, match="no mask for any"):
        read_data(mvtec, masks=mvtec / "other")


@pytest.mark.parametrize("wrong", ["", "test", "ground_truth", "none", "train/good/000.png"])
def test_other_layouts_are_refused(mvtec: Path, wrong: str) -> None:
    folder = mvtec / wrong if wrong else mvtec.parent / "parent"
    if wrong == "test":
        (folder / "good").rename(folder / "fine")
    if not wrong:
        folder.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=r"expected train/good .* or a folder good .* directly"):
        read_data(folder)


def test_found_folders_are_named(tmp_path: Path) -> None:
    for name in "abcdefgh":
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="holds the folders a, b, c, d, e and 3 more"):
        read_data(tmp_path)


def test_missing_folders_are_named(mvtec: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        read_data(mvtec, defects=mvtec / "nowhere")
    with pytest.raises(DataError, match="nowhere is not a folder"):
        read_data(mvtec, masks=mvtec / "nowhere")
    (mvtec / "hollow").mkdir()
    with pytest.raises(DataError, match="hollow holds no pictures"):
        read_data(mvtec, defects=mvtec / "hollow")


def test_all_damaged_files_are_named_at_once(mvtec: Path) -> None:
    good = mvtec / "train" / "good"
    (good / "001.png").write_bytes(b"")
    (good / "004.png").write_bytes((good / "004.png").read_bytes()[:-30])
    (good / "notes.png").write_text("no picture")
    mask = mvtec / "ground_truth" / "dent" / "001_mask.png"
    mask.write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        read_data(mvtec)
    text = str(caught.value)
    assert text.startswith("4 of 32 pictures cannot be used")
    for part in ("001.png is empty", "004.png is a", "notes.png cannot be decoded", "001_mask.png"):
        assert part in text


def test_many_damaged_files_are_counted(mvtec: Path) -> None:
    for index in range(9):
        (mvtec / "train" / "good" / f"{index:03}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"9 of .*and 4 more"):
        read_data(mvtec)


def test_too_few_goodwrite_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, 7, 1)
    with pytest.raises(DataError, match="holds 7 good pictures; expected at least 8"):
        read_data(tmp_path)
    write_pictures(tmp_path, 8, 1)
    assert read_data(tmp_path).warnings == ("only 8 good pictures; better 50 or more, of several shifts",)


def test_sizes_that_differ_are_told(mvtec: Path) -> None:
    write_pictures(mvtec / "train" / "good", 1, 9, (30, 20))
    data = read_data(mvtec)
    assert data.frame_size_hw is None
    assert len(data.warnings) == 1
    assert "2 sizes" in data.warnings[0] and "20x30 (good/000.png)" in data.warnings[0]


def test_copies_are_told(mvtec: Path) -> None:
    good = mvtec / "train" / "good"
    (good / "copy.png").write_bytes((good / "003.png").read_bytes())
    (mvtec / "test" / "dent" / "000.png").write_bytes((good / "005.png").read_bytes())
    first, second = read_data(mvtec).warnings
    assert "good/copy.png = good/003.png" in first and "count twice" in first
    assert "dent/000.png = good/005.png" in second and "better than they are" in second


def test_masks_of_another_size_are_refused(mvtec: Path) -> None:
    write_mask(mvtec / "ground_truth" / "dent" / "001_mask.png", (40, 24))
    with pytest.raises(DataError, match=r"001_mask\.png \(24x40, its picture 40x24\)"):
        read_data(mvtec)


def test_masks_that_mark_nothing_are_told(mvtec: Path) -> None:
    write_mask(mvtec / "ground_truth" / "dent" / "001_mask.png", value=0)
    write_mask(mvtec / "ground_truth" / "crack" / "001_mask.png", value=1)
    assert read_data(mvtec).warnings == (
        "1 masks mark nothing: dent/001_mask.png; pixel metrics count these parts as good",
    )


def test_progress_counts_every_file(mvtec: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_data(mvtec, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 31) for done in range(1, 32)]


@pytest.mark.parametrize(
    ("count", "holdout", "held"), [(40, 0.2, 8), (100, 0.2, 20), (31, 0.2, 7), (8, 0.1, 2), (8, 0.99, 7)]
)
def test_split_sizes(tmp_path: Path, count: int, holdout: float, held: int) -> None:
    parts = [Part(path, False, "good") for path in write_pictures(tmp_path, count, 0, (4, 4))]
    fit, held_out = split_normals(parts, holdout, seed=0)
    assert len(held_out) == held
    assert sorted([*fit, *held_out], key=lambda part: part.path) == parts
    assert (fit, held_out) == split_normals(parts, holdout, seed=0)
    assert count < 31 or held_out != split_normals(parts, holdout, seed=1)[1]


def test_split_keeps_copies_together(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 20, 0)
    for path in paths[10:]:
        path.write_bytes(paths[int(path.stem) - 10].read_bytes())
    parts = [Part(path, False, "good") for path in paths]
    for seed in range(5):
        held = {int(part.path.stem) % 10 for part in split_normals(parts, 0.4, seed)[1]}
        fit = {int(part.path.stem) % 10 for part in split_normals(parts, 0.4, seed)[0]}
        assert len(held) == 4 and not held & fit
    for path in paths:
        path.write_bytes(paths[0].read_bytes())
    fit_parts, held_parts = split_normals(parts, 0.4, 0)
    assert len(fit_parts) == 12 and len(held_parts) == 8


def test_split_refuses_impossible_shares() -> None:
    assert split_normals([], 0.2, 0) == ((), ())
    for holdout in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="holdout"):
            split_normals([], holdout, 0)


def test_frames_are_what_geometry_makes_of_them(mvtec: Path) -> None:
    parts = read_data(mvtec).test
    frames = read_frames(parts, Geometry((32, 64)))
    assert frames.shape == (7, 32, 64, 3) and frames.dtype == np.uint8
    for frame, part in zip(frames, parts, strict=True):
        alone, size_hw = read_frame(part, Geometry((32, 64)))
        np.testing.assert_array_equal(frame, alone)
        assert size_hw == SIZE_HW
    with pytest.raises(DataError, match=r"000\.png: .*region"):
        read_frames(parts, Geometry((32, 64), region_xywh=(0, 0, 50, 20)))


@pytest.mark.parametrize("value", [1, 255])
def test_masks_are_read_on_their_own_grid(mvtec: Path, value: int) -> None:
    write_mask(mvtec / "ground_truth" / "crack" / "000_mask.png", value=value)
    parts = read_data(mvtec).test
    mask = read_mask(parts[0], SIZE_HW)
    assert mask.dtype == np.bool_ and mask.shape == SIZE_HW and mask.sum() == 50 and mask[4, 10]
    assert not read_mask(parts[-1], SIZE_HW).any()
    with pytest.raises(DataError, match="same size"):
        read_mask(parts[0], (40, 24))
    with pytest.raises(DataError, match="no mask"):
        read_mask(Part(parts[0].path, True, "crack"), SIZE_HW)


def test_soft_edges_of_a_mask_are_cut_in_the_middle(tmp_path: Path) -> None:
    write_picture(tmp_path / "mask.png", np.array([[0, 1, 127, 128, 255]], np.uint8))
    mask = read_mask(Part(tmp_path / "x.png", True, "dent", (tmp_path / "mask.png",)), (1, 5))
    assert mask.tolist() == [[False, False, False, True, True]]
