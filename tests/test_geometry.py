from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, ShapeError
from dtgd_edge.geometry import LETTERBOX_GREY, Geometry

GEOMETRIES = {
    "stretch": Geometry((96, 128)),
    "letterbox": Geometry((128, 128), fit="letterbox"),
    "region": Geometry((96, 96), region_xywh=(40, 20, 180, 150)),
    "region in a letterbox": Geometry((160, 128), region_xywh=(40, 20, 180, 150), fit="letterbox"),
}


def _noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _square(frame_hw: tuple[int, int], centre_yx: tuple[int, int], half: int = 12) -> NDArray[np.uint8]:
    frame = np.zeros((*frame_hw, 3), np.uint8)
    y, x = centre_yx
    frame[y - half : y + half + 1, x - half : x + half + 1] = 255
    return frame


def test_same_size_only_swaps_the_colour_order() -> None:
    frame = _noise(64, 96, 3)
    prepared = Geometry((64, 96)).apply(frame)
    np.testing.assert_array_equal(prepared, frame[..., ::-1])
    assert prepared.dtype == np.uint8 and prepared.flags.c_contiguous


def test_grey_equals_three_equal_channels_and_alpha_is_dropped() -> None:
    geometry = Geometry((64, 64))
    grey = _noise(50, 70)
    colour = np.repeat(grey[..., None], 3, axis=2)
    alpha = np.concatenate([colour, _noise(50, 70, 1)], axis=2)
    expected = geometry.apply(colour)
    for other in (grey, grey[..., None], alpha):
        np.testing.assert_array_equal(geometry.apply(other), expected)


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (10, 2), (12, 4), (16, 8)])
def test_sensor_bits_are_brought_to_eight(bits: int, shift: int) -> None:
    frame = _noise(64, 64)
    deep = frame.astype(np.uint16) << shift
    geometry = Geometry((64, 64), sensor_bits=bits)
    np.testing.assert_array_equal(geometry.apply(deep), geometry.apply(frame))
    saturated = np.full((64, 64), 65535, np.uint16)
    assert (geometry.apply(saturated) == 255).all()


def test_strided_and_read_only_frames_are_taken() -> None:
    frame = _noise(128, 128, 3)
    view = frame[::2, ::-2]
    view.flags.writeable = False
    np.testing.assert_array_equal(Geometry((64, 64)).apply(view), view[..., ::-1])


def test_region_is_what_is_seen() -> None:
    frame = _noise(100, 120, 3)
    geometry = Geometry((32, 64), region_xywh=(10, 20, 64, 32))
    np.testing.assert_array_equal(geometry.apply(frame), frame[20:52, 10:74, ::-1])


def test_letterbox_keeps_the_aspect_ratio() -> None:
    prepared = Geometry((64, 64), fit="letterbox").apply(np.zeros((50, 100), np.uint8))
    assert (prepared[16:48] == 0).all()
    assert (prepared[:16] == LETTERBOX_GREY).all() and (prepared[48:] == LETTERBOX_GREY).all()


def test_thin_defects_survive_when_only_one_side_shrinks() -> None:
    frame = np.zeros((100, 4096), np.uint8)
    frame[:, ::16] = 255
    prepared = Geometry((256, 256)).apply(frame)
    assert abs(float(prepared.mean()) - float(frame.mean())) < 0.5


def test_halving_gives_nearly_the_same_picture() -> None:
    small, frame = Geometry((64, 96)), _noise(5 * 64 - 3, 5 * 96, 3)
    halves = replace(small, shrink="halves")
    exact = small.apply(frame).astype(np.int16)
    # Noise from pixel to pixel is the worst case.
    assert 0 < np.abs(halves.apply(frame) - exact).mean() < exact.std()
    smooth = np.linspace(0, 255, 320 * 480).reshape(320, 480).astype(np.uint8)
    assert np.abs(halves.apply(smooth) - small.apply(smooth).astype(int)).max() <= 3
    even = _noise(4 * 64, 4 * 96, 3)  # only halves: rounding twice is the one difference
    assert np.abs(halves.apply(even) - small.apply(even).astype(int)).max() <= 1


def test_halving_leaves_nothing_out() -> None:
    """Wherever a thin bright line lies, the same light arrives."""
    halves = Geometry((64, 64), shrink="halves")
    light = []
    for column in range(200, 216):
        frame = np.zeros((270, 480), np.uint8)
        frame[:, column] = 255
        light.append(halves.apply(frame)[..., 0].astype(float).sum())
    assert min(light) > 0.9 * max(light)


def test_halving_of_a_line_scan_picture_averages_its_long_side() -> None:
    frame = np.zeros((100, 4096), np.uint8)
    frame[:, ::2] = 255
    prepared = Geometry((64, 64), shrink="halves").apply(frame)
    assert np.ptp(prepared) <= 1


def test_bars_in_the_edges_colour_are_the_ground() -> None:
    frame = np.full((50, 100, 3), (10, 60, 200), np.uint8)  # BGR
    frame[10:40, 20:80] = 0
    frame[0, :30] = 255  # a scratch on the edge does not count
    prepared = Geometry((64, 64), fit="letterbox", bars="edge").apply(frame)
    assert (prepared[:16] == (200, 60, 10)).all() and (prepared[48:] == (200, 60, 10)).all()
    grey = Geometry((64, 64), fit="letterbox").apply(frame)
    np.testing.assert_array_equal(prepared[16:48], grey[16:48])


@pytest.mark.parametrize(
    ("size", "tiles", "overlap", "tile", "starts"),
    [
        ((512, 512), (2, 2), 0.2, 288, (0, 224)),
        ((1024, 1024), (4, 4), 0.2, 320, (0, 224, 480, 704)),
        ((1024, 1024), (4, 4), 0.0, 256, (0, 256, 512, 768)),
        ((1024, 1024), (3, 3), 0.5, 512, (0, 256, 512)),
        ((768, 1024), (1, 2), 0.2, 576, (0, 448)),
    ],
)
def test_tiles_are_as_small_as_the_overlap_allows(
    size: tuple[int, int], tiles: tuple[int, int], overlap: float, tile: int, starts: tuple[int, ...]
) -> None:
    grid = Geometry(size, tiles=tiles, overlap=overlap).tile_grid
    assert grid is not None
    assert grid.tile_hw[1] == tile and grid.lefts == starts
    assert len(grid.areas) == tiles[0] * tiles[1]
    if tiles[0] == 1:
        assert grid.tops == (0,) and grid.tile_hw[0] == size[0]


@pytest.mark.parametrize("side", [96, 160, 256, 416, 1024])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_tiles_cover_the_frame_and_overlap_as_asked(side: int, count: int, overlap: float) -> None:
    try:
        grid = Geometry((side, side), tiles=(count, 1), overlap=overlap).tile_grid
    except ConfigError:
        assert side <= 32 * (count + 1)
        return
    assert grid is not None
    tile = grid.tile_hw[0]
    assert all(value % 32 == 0 for value in (tile, *grid.tops))
    assert grid.tops[0] == 0 and grid.tops[-1] + tile == side
    shared = [a + tile - b for a, b in pairwise(grid.tops)]
    assert min(shared) >= overlap * tile and min(b - a for a, b in pairwise(grid.tops)) > 0


def test_no_tiles_means_not_cut() -> None:
    assert Geometry((256, 256)).tile_grid is None


@pytest.mark.parametrize(
    ("geometry", "frame_hw", "size"),
    [
        (Geometry((256, 256)), (256, 1600), "608x96"),
        (Geometry((256, 256)), (640, 480), "224x288"),
        (Geometry((256, 256), region_xywh=(0, 0, 900, 300)), (1000, 1000), "480x160"),
        (Geometry((256, 512)), (600, 600), "352x352"),
        (Geometry((256, 256)), (75, 2000), "1696x64"),
    ],
)
def test_squeezed_pictures_are_told_which_size_keeps_them(
    geometry: Geometry, frame_hw: tuple[int, int], size: str
) -> None:
    advice = geometry.aspect_advice(frame_hw)
    assert advice is not None and f"a size of {size} keeps" in advice
    width, height = map(int, size.split("x"))
    assert replace(geometry, size_hw=(height, width)).aspect_advice(frame_hw) is None


@pytest.mark.parametrize(
    ("geometry", "frame_hw"),
    [
        (Geometry((256, 256)), (480, 512)),
        (Geometry((256, 256), fit="letterbox"), (256, 1600)),
        (Geometry((96, 640)), (256, 1600)),
        (Geometry((256, 256), region_xywh=(0, 0, 200, 200)), (256, 1600)),
    ],
)
def test_there_is_no_advice_where_none_is_needed(geometry: Geometry, frame_hw: tuple[int, int]) -> None:
    assert geometry.aspect_advice(frame_hw) is None


@pytest.mark.parametrize("name", GEOMETRIES)
def test_map_on_frame_undoes_apply(name: str) -> None:
    geometry, centre = GEOMETRIES[name], (90, 140)
    prepared = geometry.apply(_square((200, 260), centre))
    anomaly_map = (prepared[..., 0] == 255).astype(np.float32)
    laid = geometry.map_on_frame(anomaly_map, (200, 260))
    assert laid.shape == (200, 260) and laid.dtype == np.float32
    ys, xs = np.nonzero(laid > 0.5)
    assert abs(ys.mean() - centre[0]) <= 1 and abs(xs.mean() - centre[1]) <= 1


def test_outside_of_the_region_lies_the_smallest_value() -> None:
    geometry = Geometry((32, 32), region_xywh=(10, 20, 30, 40))
    laid = geometry.map_on_frame(np.linspace(3, 5, 1024, dtype=np.float32).reshape(32, 32), (80, 70))
    inside = np.zeros((80, 70), bool)
    inside[20:60, 10:40] = True
    assert (laid[~inside] == 3).all() and laid[inside].max() == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_mask_lies_where_the_picture_does(name: str) -> None:
    geometry = GEOMETRIES[name]
    frame = _square((200, 260), (90, 140))
    mask = geometry.mask_on_graph(frame[..., 0] > 0)
    assert mask.dtype == np.bool_ and mask.shape == geometry.size_hw
    bright = geometry.apply(frame)[..., 0] >= 128
    assert mask.sum() > 0
    assert np.count_nonzero(mask ^ (bright & (geometry.apply(frame)[..., 0] != LETTERBOX_GREY))) <= 4


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (np.zeros((64, 64), np.float32), "dtype float32"),
        (np.zeros((64, 64), np.int16), "dtype int16"),
        (np.zeros((64,), np.uint8), "shape"),
        (np.zeros((64, 64, 2), np.uint8), "shape"),
        (np.zeros((1, 64, 64, 3), np.uint8), "shape"),
        (np.zeros((0, 64, 3), np.uint8), "shape"),
        (np.zeros((40, 64, 3), np.uint8), "outside"),
        (np.zeros((64, 40, 3), np.uint8), "outside"),
    ],
)
def test_refuses_frames_it_cannot_know(frame: NDArray[Any], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Geometry((64, 64), region_xywh=(10, 10, 40, 40)).apply(frame)


@pytest.mark.parametrize(
    "values",
    [
        {"size_hw": (100, 128)},
        {"size_hw": (0, 128)},
        {"size_hw": (-32, 32)},
        {"sensor_bits": 7},
        {"sensor_bits": 17},
        {"region_xywh": (-1, 0, 10, 10)},
        {"region_xywh": (0, 0, 0, 10)},
        {"tiles": (0, 2)},
        {"tiles": (2, 2), "overlap": -0.1},
        {"tiles": (2, 2), "overlap": 0.6},
        {"size_hw": (64, 64), "tiles": (3, 1)},
        {"size_hw": (64, 64), "tiles": (1, 2), "overlap": 0.1},
        {"size_hw": (256, 256), "tiles": (8, 8), "overlap": 0.2},
    ],
)
def test_refuses_impossible_settings(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Geometry(**values)
