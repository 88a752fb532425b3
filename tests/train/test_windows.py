"""Windows: the graph's own tiles when nothing moves, the frame's own pixels when something does."""

import cv2
import numpy as np
import pytest

from dtgd_edge.geometry import Geometry, TileGrid
from dtgd_edge.train.recipe import AugmentRecipe
from dtgd_edge.train.windows import Window, training_window, turning_margin

STILL = AugmentRecipe(shift=0, light=0)


@pytest.fixture
def grid() -> TileGrid:
    made = Geometry((96, 128), tiles=(2, 3)).tile_grid
    assert made is not None
    return made


def _picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def test_still_windows_are_the_graphs_tiles_and_all_of_them(grid: TileGrid) -> None:
    picture, rng = _picture(), np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        window = training_window(grid, (96, 128), STILL, rng)
        np.testing.assert_array_equal(
            window.tile(window.of(picture)), picture[window.top : window.top + 64, window.left :][:, :64]
        )
        seen.add((window.top, window.left))
    assert seen == {(rows.start, columns.start) for rows, columns in grid.areas}


def test_a_shift_is_a_share_of_the_frame_and_takes_in_its_pixels(grid: TileGrid) -> None:
    rng = np.random.default_rng(0)
    recipe = AugmentRecipe(shift=0.1, light=0)
    tops, lefts = zip(
        *((w.top, w.left) for w in (training_window(grid, (96, 128), recipe, rng) for _ in range(400))),
        strict=True,
    )
    assert min(tops) in (-10, -9) and max(tops) in (41, 42)
    assert min(lefts) in (-13, -12) and max(lefts) in (76, 77)
    assert len(set(tops)) > 30 and len(set(lefts)) > 50


def test_beyond_the_frame_lies_its_mirror_image() -> None:
    picture = _picture()
    found = Window(-20, 100, (64, 64), 0).of(picture)
    wanted = cv2.copyMakeBorder(picture, 20, 0, 0, 36, cv2.BORDER_REFLECT_101)[:64, 100:164]
    np.testing.assert_array_equal(found, wanted)
    mask = picture[..., 0] > 99
    np.testing.assert_array_equal(Window(-20, 100, (64, 64), 0).of(mask), found[..., 0] > 99)
    far = Window(-300, 500, (64, 64), 0).of(picture)  # many times thrown back
    assert far.shape == (64, 64, 3)


@pytest.mark.parametrize("degrees", [0, 5, 30, 90, 180])
@pytest.mark.parametrize("tile_hw", [(64, 64), (32, 96)])
def test_the_margin_is_what_turning_brings_in(tile_hw: tuple[int, int], degrees: int) -> None:
    margin = turning_margin(tile_hw, degrees)
    height, width = (side + 2 * margin for side in tile_hw)
    inside = np.full((height, width), 255, np.uint8)
    for angle in np.linspace(-degrees, degrees, 37):
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        turned = cv2.warpAffine(inside, turn, (width, height), flags=cv2.INTER_NEAREST)
        assert (Window(0, 0, tile_hw, margin).tile(turned) == 255).all()
    assert margin <= np.hypot(*tile_hw) / 2
    assert (margin == 0) == (degrees == 0)
