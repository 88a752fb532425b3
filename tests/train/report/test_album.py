"""Small pictures: small enough, clean where the part is good, and no defect lost by shrinking."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.train.evaluate import PartScore
from dtgd_edge.train.report import Album

Picture = NDArray[np.uint8]


def drawn(
    folder: Path,
    anomaly_map: NDArray[np.float32],
    mask: NDArray[np.bool_] | None = None,
    geometry: Geometry | None = None,
    dtype: type = np.uint8,
) -> tuple[Picture, Picture]:
    """A grey part's two small pictures, decoded; the threshold is 1."""
    path = folder / "part.png"
    write_picture(path, np.full((*anomaly_map.shape, 3), np.iinfo(dtype).max // 2, dtype))
    album = Album(geometry or Geometry((64, 64)), 1.0)
    album.add(PartScore(path, "pit", True, 1.0), anomaly_map, mask)
    thumbs = album[path]
    picture, heat = (
        np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        for jpeg in (thumbs.picture, thumbs.heat)
    )
    assert picture.shape == heat.shape == (*thumbs.size_hw, 3)
    return picture, heat


@pytest.mark.parametrize(
    ("size_hw", "thumb_hw"),
    [((896, 896), (224, 224)), ((448, 1792), (112, 448)), ((100, 4000), (11, 448)), ((50, 60), (50, 60))],
)
def test_sizes(tmp_path: Path, size_hw: tuple[int, int], thumb_hw: tuple[int, int]) -> None:
    picture, _ = drawn(tmp_path, np.zeros(size_hw, np.float32))
    assert picture.shape[:2] == thumb_hw


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_cold_map_leaves_the_picture_clean(tmp_path: Path, dtype: type) -> None:
    picture, heat = drawn(tmp_path, np.full((300, 300), 0.5, np.float32), dtype=dtype)
    assert np.array_equal(picture, heat) and abs(int(heat.mean()) - 127) <= 1


def test_one_hot_pixel_of_a_large_picture_can_be_seen(tmp_path: Path) -> None:
    anomaly_map = np.zeros((2000, 2000), np.float32)
    anomaly_map[1003, 407] = 2
    _, heat = drawn(tmp_path, anomaly_map)
    red = heat[..., 2].astype(int) - heat[..., 0]
    y, x = np.unravel_index(red.argmax(), red.shape)
    assert red.max() > 40 and abs(y - 112) <= 3 and abs(x - 45) <= 3


def test_the_outline_goes_around_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((224, 224), np.bool_)
    mask[100:140, 60:120] = True
    picture, heat = drawn(tmp_path, np.zeros((224, 224), np.float32), mask)
    changed = np.argwhere(np.abs(heat.astype(int) - picture).max(axis=2) > 40)
    assert changed.min(axis=0) == pytest.approx([95, 55], abs=2)
    assert changed.max(axis=0) == pytest.approx([143, 123], abs=2)
    assert np.abs(heat[105:135, 65:115].astype(int) - 127).max() < 30


def test_a_region_is_shown_alone_but_for_defects_outside_of_it(tmp_path: Path) -> None:
    geometry = Geometry((64, 64), region_xywh=(100, 50, 80, 60))
    cold, mask = np.zeros((300, 400), np.float32), np.zeros((300, 400), np.bool_)
    inside, _ = drawn(tmp_path, cold, mask, geometry)
    assert inside.shape[:2] == (60, 80)
    mask[40:45, 190:200] = True
    both, _ = drawn(tmp_path, cold, mask, geometry)
    assert both.shape[:2] == (70, 100)


def test_the_scale_goes_from_grey_to_red() -> None:
    content = np.frombuffer(Album(Geometry((64, 64)), 0.7).colour_scale(), np.uint8)
    scale = cv2.imdecode(content, cv2.IMREAD_COLOR)
    first, last = scale[0, 0].astype(int), scale[0, -1].astype(int)
    assert np.ptp(first) < 5 and last[2] > last[0] + 80
