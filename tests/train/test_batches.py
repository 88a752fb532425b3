"""Training batches: reproducible, fair to every picture, and masks that say what was changed."""

import threading
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.geometry import Geometry
from dtgd_edge.train.batches import BatchMaker, augment, calibration_frames, judging_defects
from dtgd_edge.train.foreground import Picture, ground_of
from dtgd_edge.train.recipe import AugmentRecipe, OptimiserRecipe, Recipe, SynthRecipe
from dtgd_edge.train.synth import VISIBLE_LEVELS
from dtgd_edge.train.textures import texture

STILL = AugmentRecipe(shift=0, light=0)
RECIPE = Recipe(geometry=Geometry(size_hw=(64, 64)), optimiser=OptimiserRecipe(batch=4), augment=STILL)


@pytest.fixture(scope="module")
def frames() -> Picture:
    """Ten different pictures; each can be told by its own first pixel."""
    made = np.stack([texture(np.random.default_rng(seed), (64, 64)) for seed in range(10)])
    made[:, 0, 0] = np.arange(10)[:, None]
    return made


def test_arrays_are_what_the_network_takes(frames: Picture) -> None:
    batch = BatchMaker(frames, RECIPE).batch(0)
    assert batch.clean.shape == batch.corrupted.shape == (4, 64, 64, 3)
    assert batch.clean.dtype == batch.corrupted.dtype == np.uint8
    assert batch.mask.shape == (4, 1, 64, 64) and batch.mask.dtype == np.float32
    assert set(np.unique(batch.mask)) <= {0.0, 1.0}


def test_a_step_always_gives_the_same_batch(frames: Picture) -> None:
    first, again = BatchMaker(frames, RECIPE), BatchMaker(frames, RECIPE)
    again.batch(3)
    for step in (7, 0, 7):
        a, b = first.batch(step), again.batch(step)
        np.testing.assert_array_equal(a.clean, b.clean)
        np.testing.assert_array_equal(a.corrupted, b.corrupted)
        np.testing.assert_array_equal(a.mask, b.mask)
    other = BatchMaker(frames, replace(RECIPE, seed=1)).batch(0)
    assert (other.corrupted != first.batch(0).corrupted).any()


def test_made_ahead_they_are_the_same(frames: Picture) -> None:
    maker = BatchMaker(frames, RECIPE)
    ahead = list(maker.batches(2, 5))
    assert len(ahead) == 3
    for step, batch in enumerate(ahead, start=2):
        np.testing.assert_array_equal(batch.corrupted, maker.batch(step).corrupted)
    assert list(maker.batches(5, 5)) == []


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_more_threads_make_the_same_batches(frames: Picture, workers: int) -> None:
    maker = BatchMaker(frames, RECIPE)
    made = list(maker.batches(1, 6, workers=workers))
    assert len(made) == 5
    for step, batch in enumerate(made, start=1):
        np.testing.assert_array_equal(batch.corrupted, maker.batch(step).corrupted)
    threads = threading.active_count()
    stopped = maker.batches(0, 1000, workers=workers)
    next(stopped)
    assert threading.active_count() > threads
    stopped.close()
    assert threading.active_count() == threads


def test_places_of_a_batch_put_together_are_the_batch(frames: Picture) -> None:
    maker = BatchMaker(frames, RECIPE)
    whole = maker.batch(2)
    parts = [next(iter(maker.batches(2, 3, places))) for places in (range(1), range(1, 4))]
    assert [len(part.clean) for part in parts] == [1, 3]
    for name in ("clean", "corrupted", "mask"):
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(together, getattr(whole, name))


def test_every_picture_appears_once_per_lap_in_a_new_order(frames: Picture) -> None:
    maker = BatchMaker(frames, RECIPE)
    seen = np.concatenate([maker.batch(step).clean[:, 0, 0, 0] for step in range(10)])
    laps = seen.reshape(4, 10)
    assert (np.sort(laps, axis=1) == np.arange(10)).all()
    assert len({tuple(lap) for lap in laps}) == 4


def test_masks_are_where_pictures_were_changed(frames: Picture) -> None:
    maker = BatchMaker(frames, RECIPE)
    for step in range(12):
        batch = maker.batch(step)
        change = np.abs(batch.corrupted.astype(int) - batch.clean).max(axis=3)
        for changed, mask in zip(change, batch.mask[:, 0], strict=True):
            assert (mask[changed >= VISIBLE_LEVELS] == 1).all()
            assert mask.any() or not changed.any()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_of_clean_pictures(frames: Picture, share: float) -> None:
    maker = BatchMaker(frames, replace(RECIPE, synth=SynthRecipe(clean_share=share)))
    clean = np.concatenate([~maker.batch(step).mask.any(axis=(1, 2, 3)) for step in range(40)])
    assert clean.mean() == pytest.approx(share, abs=0.1)


def test_only_the_families_asked_for_are_used(frames: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    from dtgd_edge.train import synth

    used: set[str] = set()
    for name, family in synth.FAMILIES.items():
        monkeypatch.setitem(synth.FAMILIES, name, lambda *a, n=name, f=family: (used.add(n), f(*a))[1])
    maker = BatchMaker(frames, replace(RECIPE, synth=SynthRecipe(families=("spots", "blur"))))
    for step in range(8):
        maker.batch(step)
    assert used == {"spots", "blur"}
    used.clear()
    judging_defects(frames, RECIPE, 3)
    assert used == {RECIPE.synth.held_out}


def test_judging_defects_are_reproducible_and_all_marked(frames: Picture) -> None:
    pictures, masks = judging_defects(frames[:3], RECIPE, 7)
    again, same = judging_defects(frames[:3], RECIPE, 7)
    np.testing.assert_array_equal(pictures, again)
    np.testing.assert_array_equal(masks, same)
    assert pictures.shape == (7, 64, 64, 3) and masks.shape == (7, 64, 64) and masks.dtype == np.bool_
    changed = (pictures != frames[np.arange(7) % 3]).any(axis=(1, 2, 3))
    assert (masks.any(axis=(1, 2)) == changed).all() and changed.sum() >= 6


def test_calibration_frames_are_half_good_half_corrupted(frames: Picture) -> None:
    chosen = calibration_frames(frames, RECIPE, 6)
    assert chosen.shape == (6, 64, 64, 3)
    np.testing.assert_array_equal(chosen[:3], frames[:3])
    assert (chosen[3:] != frames[:3]).any(axis=(1, 2, 3)).sum() >= 2


def test_no_augmentation_changes_nothing(frames: Picture) -> None:
    picture, foreground = augment(frames[0], None, STILL, np.random.default_rng(0))
    np.testing.assert_array_equal(picture, frames[0])
    assert foreground is None


TILED = replace(RECIPE, geometry=Geometry((96, 128), tiles=(2, 3)))  # 64 px each


@pytest.fixture(scope="module")
def large() -> Picture:
    return np.stack([texture(np.random.default_rng(seed), (96, 128)) for seed in range(3)])


def test_tiles_are_batched_where_the_graph_cuts_its_frames(large: Picture) -> None:
    maker = BatchMaker(large, TILED)
    cuts = {frame[rows, columns].tobytes() for frame in large for rows, columns in _areas()}
    seen = set()
    for step in range(50):
        batch = maker.batch(step)
        assert batch.clean.shape == (4, 64, 64, 3) and batch.mask.shape == (4, 1, 64, 64)
        seen |= {tile.tobytes() for tile in batch.clean}
    assert seen <= cuts and len(seen) == 18  # every tile of every picture, and nothing else
    np.testing.assert_array_equal(BatchMaker(large, TILED).batch(49).corrupted, batch.corrupted)


def test_turned_tiles_take_in_the_frames_own_pixels() -> None:
    """The dark tile in the middle has light neighbours; mirrored, its corners would stay dark."""
    frame = np.full((192, 192, 3), 90, np.uint8)
    frame[64:128, 64:128] = 30
    recipe = replace(
        TILED,
        geometry=Geometry((192, 192), tiles=(3, 3), overlap=0.0),
        augment=AugmentRecipe(rotate_degrees=180, shift=0, light=0),
        synth=SynthRecipe(clean_share=1.0),
    )
    maker = BatchMaker(frame[None], recipe)
    tiles = np.concatenate([maker.batch(step).clean[..., 0] for step in range(60)])
    middle = tiles[tiles[:, 32, 32] == 30]
    turned = middle[np.ptp(middle, axis=(1, 2)) > 0]
    assert len(turned) > 5
    assert (turned[:, [0, 0, -1, -1], [0, -1, 0, -1]] > 60).mean() > 0.9


def test_judging_frames_are_whole_and_their_defects_within_a_tile(large: Picture) -> None:
    pictures, masks = judging_defects(large, TILED, 8)
    assert pictures.shape == (8, 96, 128, 3) and masks.shape == (8, 96, 128)
    assert masks.any(axis=(1, 2)).sum() >= 6
    for picture, mask, source in zip(pictures, masks, large[np.arange(8) % 3], strict=True):
        changed = (picture != source).any(axis=2) | mask
        assert any(changed.sum() == changed[area].sum() for area in _areas())


def _areas() -> tuple[tuple[slice, slice], ...]:
    grid = TILED.geometry.tile_grid
    assert grid is not None
    return grid.areas


def test_the_foreground_moves_with_the_picture() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[10:30, 20:50] = 255
    foreground = picture[..., 0] > 0
    recipe = AugmentRecipe(True, True, 4, rotate_degrees=180, shift=0.05, light=0)
    for seed in range(20):
        moved, area = augment(picture, foreground, recipe, np.random.default_rng(seed))
        assert area is not None and area.dtype == np.bool_ and moved.flags.c_contiguous
        assert ((moved[..., 0] > 127) != area).mean() < 0.03


def test_flips_and_light_do_what_they_say(frames: Picture) -> None:
    flips = {
        augment(frames[0], None, AugmentRecipe(True, True, 1, 0, 0, 0), np.random.default_rng(s))[0].tobytes()
        for s in range(20)
    }
    assert flips == {frames[0][::y, ::x].tobytes() for y in (1, -1) for x in (1, -1)}
    lit = np.stack(
        [
            augment(frames[0], None, AugmentRecipe(shift=0, light=0.2), np.random.default_rng(s))[0]
            for s in range(20)
        ]
    )
    means = lit.mean(axis=(1, 2, 3)) - frames[0].mean()
    assert means.min() < -5 and means.max() > 5 and np.abs(means).max() < 0.2 * 256


@pytest.mark.parametrize(("turns", "expected"), [(1, {0}), (2, {0, 2}), (4, {0, 1, 2, 3})])
def test_turns_are_equal_parts_of_a_circle(
    frames: Picture, turns: Literal[1, 2, 4], expected: set[int]
) -> None:
    recipe = AugmentRecipe(turns=turns, shift=0, light=0)
    seen = {augment(frames[0], None, recipe, np.random.default_rng(s))[0].tobytes() for s in range(30)}
    assert seen == {np.rot90(frames[0], quarters).tobytes() for quarters in expected}


def _bar(length: int) -> tuple[Picture, NDArray[np.bool_]]:
    """A bright bar on a dark ground, ending 3 pixels from the left border."""
    picture = np.full((64, 64, 3), 40, np.uint8)
    picture[28:36, 3 : 3 + length] = 200
    return picture, picture[..., 0] > 100


def test_a_rotated_object_stays_in_the_picture_and_is_not_mirrored_into_its_corners() -> None:
    picture, foreground = _bar(48)
    recipe = AugmentRecipe(rotate_degrees=180, shift=0.1, light=0)
    ground = ground_of(picture, foreground)
    for seed in range(20):
        moved, area = augment(picture, foreground, recipe, np.random.default_rng(seed), ground)
        assert area is not None
        assert area.sum() > 0.93 * foreground.sum()  # a pixel lost by rounding, but no end cut off
        # As far as Lanczos's kernel reaches.
        near = cv2.dilate(area.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.bool_)
        assert abs(moved[~near].astype(int) - 40).max() <= 8


def test_about_half_of_the_pictures_are_as_sharp_as_the_camera_made_them() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    recipe = AugmentRecipe(rotate_degrees=180, shift=0.2, light=0)

    def is_sharp(seed: int) -> bool:
        moved, _ = augment(noise, None, recipe, np.random.default_rng(seed))
        centre = moved[28:36, 28:36]
        windows = np.lib.stride_tricks.sliding_window_view(noise, centre.shape)
        return bool((windows == centre).all(axis=(3, 4, 5)).any())

    assert 40 < sum(is_sharp(seed) for seed in range(120)) < 80


def test_an_object_cut_off_by_the_border_is_not_rotated_freely() -> None:
    picture, _ = _bar(48)
    picture[28:36, :3] = 200
    moved, _ = augment(
        picture,
        picture[..., 0] > 100,
        AugmentRecipe(rotate_degrees=180, shift=0, light=0),
        np.random.default_rng(0),
        picture,
    )
    np.testing.assert_array_equal(moved, picture)


def test_batches_of_rotated_objects_have_even_corners() -> None:
    frames = np.stack([_bar(40 + i)[0] for i in range(8)])
    recipe = replace(
        RECIPE,
        augment=AugmentRecipe(rotate_degrees=180, shift=0, light=0),
        synth=SynthRecipe(clean_share=1.0),
    )
    maker = BatchMaker(frames, recipe)
    for step in range(4):
        bright = (maker.batch(step).clean[..., 0] > 120).sum(axis=(1, 2))
        assert bright.max() <= 47 * 8 * 1.05


def test_what_is_undecided_changes_nothing(frames: Picture) -> None:
    moved, _ = augment(frames[0], None, AugmentRecipe(light=0), np.random.default_rng(0))
    np.testing.assert_array_equal(moved, frames[0])
