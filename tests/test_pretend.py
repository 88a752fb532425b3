"""The pretend line: the same seed gives the same parts, and the masks tell the truth."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.pictures import picture_paths, read_picture
from dtgd_edge.pretend import DEFECTS, draw_part, line_parts, write_dataset, write_line_video


def test_six_kinds_of_defect() -> None:
    assert len(set(DEFECTS)) == 6
    assert "good" not in DEFECTS


@pytest.mark.parametrize("defect", ["good", *DEFECTS])
def test_the_same_seed_gives_the_same_part_whatever_numpy_drew_before(defect: str) -> None:
    first = draw_part(np.random.default_rng([3, 1]), defect, 64)
    np.random.seed(5)
    again = draw_part(np.random.default_rng([3, 1]), defect, 64)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)


@pytest.mark.parametrize("size", [64, 97, 640])
@pytest.mark.parametrize("defect", ["good", "missing_hole", "pit"])
def test_parts_can_be_drawn_small_and_large(size: int, defect: str) -> None:
    part = draw_part(np.random.default_rng(2), defect, size)
    assert part.image.shape == (size, size, 3)
    assert part.image.dtype == np.uint8
    assert part.mask.shape == (size, size)
    assert part.mask.dtype == np.bool_
    assert part.defect == defect


def test_good_parts_have_an_empty_mask_and_differ_mildly() -> None:
    parts = [draw_part(np.random.default_rng([0, i]), size=96) for i in range(6)]
    assert not any(part.mask.any() for part in parts)
    levels = [float(part.image.mean()) for part in parts]
    assert max(levels) - min(levels) < 30
    assert all(not np.array_equal(a.image, b.image) for a, b in itertools.combinations(parts, 2))


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_covers_the_visible_difference_and_nothing_else(defect: str, seed: int) -> None:
    good = draw_part(np.random.default_rng(seed), size=96).image.astype(int)
    bad = draw_part(np.random.default_rng(seed), defect, 96)
    change = np.abs(bad.image - good).max(axis=2)
    assert 5 <= bad.mask.sum() < bad.mask.size / 4
    assert change[bad.mask].mean() > 12
    assert change[~bad.mask].max() <= 12


def test_defects_reach_from_a_few_pixels_to_large_areas() -> None:
    def areas(defect: str) -> list[int]:
        return [int(draw_part(np.random.default_rng(i), defect).mask.sum()) for i in range(4)]

    assert min(areas("pit")) < 60
    assert max(areas("stain")) > 2000


def test_unusable_arguments_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scratch"):
        draw_part(np.random.default_rng(0), "scrach")
    with pytest.raises(ConfigError, match="64 to"):
        draw_part(np.random.default_rng(0), size=20)
    with pytest.raises(ConfigError, match="defect rate"):
        line_parts(defect_rate=1.5)
    with pytest.raises(ConfigError, match="seed"):
        line_parts(seed=-1)
    with pytest.raises(ConfigError, match="parts"):
        write_dataset(tmp_path / "new", parts=0)
    with pytest.raises(ConfigError, match=r"\.avi"):
        write_line_video(tmp_path / "line.mp4")
    assert list(tmp_path.iterdir()) == []


def test_dataset_has_the_mvtec_layout(tmp_path: Path) -> None:
    counts = write_dataset(tmp_path / "set", parts=6, size=64)
    expected = {"train/good": 6, "test/good": 2}
    expected |= {f"{half}/{defect}": 2 for half in ("test", "ground_truth") for defect in DEFECTS}
    assert counts == expected
    assert {name: len(picture_paths(tmp_path / "set" / name)) for name in counts} == counts
    for defect in DEFECTS:
        picture = read_picture(tmp_path / "set/test" / defect / "001.png")
        mask = read_picture(tmp_path / "set/ground_truth" / defect / "001_mask.png")
        assert mask.shape == picture.shape == (64, 64, 3)
        assert set(np.unique(mask)) == {0, 255}


def test_a_dataset_grows_without_changing_its_parts(tmp_path: Path) -> None:
    write_dataset(tmp_path / "small", parts=3, seed=4, size=64)
    write_dataset(tmp_path / "large", parts=9, seed=4, size=64)
    for path in (tmp_path / "small").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "large" / path.relative_to(tmp_path / "small")).read_bytes()


def test_dataset_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="empty"):
        write_dataset(tmp_path, parts=3, size=64)
    with pytest.raises(DataError, match="empty"):
        write_dataset(tmp_path / "mine.txt", parts=3, size=64)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_line_mixes_defects_at_the_rate() -> None:
    assert all(p.defect == "good" for p in itertools.islice(line_parts(0, 0.0, 64), 8))
    kinds = {p.defect for p in itertools.islice(line_parts(0, 1.0, 64), 40)}
    assert kinds == set(DEFECTS)
    mixed = [p.defect != "good" for p in itertools.islice(line_parts(0, 0.5, 64), 40)]
    assert 10 < sum(mixed) < 30


def test_video_holds_the_line_and_its_truth(tmp_path: Path) -> None:
    import cv2

    path = write_line_video(tmp_path / "new" / "line.avi", parts=8, seed=1, defect_rate=0.5, size=96)
    assert path == tmp_path / "new" / "line.avi"
    assert sorted(p.name for p in path.parent.iterdir()) == ["line.avi", "line.truth.json"]
    frames = json.loads((path.parent / "line.truth.json").read_text())["frames"]
    drawn = list(itertools.islice(line_parts(1, 0.5, 96), 8))
    assert frames == [{"frame": i, "defect": part.defect} for i, part in enumerate(drawn)]

    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    for part in drawn:
        there, frame = capture.read()
        assert there
        assert np.abs(frame.astype(int) - part.image).mean() < 2
    assert not capture.read()[0]


def test_a_video_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    (tmp_path / "line.avi").write_bytes(b"old")

    class Refusing:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: object) -> None: ...

        def isOpened(self) -> bool:
            return False

    class Losing(Refusing):
        def isOpened(self) -> bool:
            return True

        def set(self, *_: object) -> None: ...

        def write(self, _: object) -> None: ...

        def release(self) -> None: ...

    for writer in (Refusing, Losing):
        monkeypatch.setattr(cv2, "VideoWriter", writer)
        with pytest.raises(DataError):
            write_line_video(tmp_path / "line.avi", parts=2, size=64)
    assert [p.name for p in tmp_path.iterdir()] == ["line.avi"]
    assert (tmp_path / "line.avi").read_bytes() == b"old"
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="could not be written"):
        write_line_video(tmp_path / "file" / "line.avi", parts=1, size=64)
