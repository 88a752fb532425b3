"""Symmetry: what good pictures themselves show to be harmless, and nothing more."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dtgd_edge.train.foreground import Picture
from dtgd_edge.train.recipe import AugmentRecipe, Recipe
from dtgd_edge.train.symmetry import Symmetry, symmetry_of, with_symmetry

SIDE = 64
Draw = Callable[[np.random.Generator], Picture]


def _set(draw: Draw, count: int = 24, seed: int = 0) -> Picture:
    return np.stack([draw(np.random.default_rng([seed, index])) for index in range(count)])


def _grainy(values: np.ndarray, rng: np.random.Generator) -> Picture:
    return np.clip(values + rng.normal(0, 2, values.shape), 0, 255).astype(np.uint8)


def _nail(rng: np.random.Generator, degrees: float, mirrored: bool = False) -> Picture:
    """A dark nail with a head on one side of its end, lying at an angle on a light ground."""
    large = np.full((4 * SIDE, 4 * SIDE, 3), 200, np.float32)
    cv2.rectangle(large, (70, 120), (190, 136), (70, 80, 90), -1)
    cv2.rectangle(large, (182, 120), (198, 176), (70, 80, 90), -1)
    if mirrored:
        large = large[::-1]
    turn = cv2.getRotationMatrix2D((2 * SIDE, 2 * SIDE), degrees, 1.0)
    turn[:, 2] += rng.normal(0, 4, 2)
    lying = cv2.warpAffine(large, turn, (4 * SIDE, 4 * SIDE), borderValue=(200, 200, 200))
    return _grainy(cv2.resize(lying, (SIDE, SIDE), interpolation=cv2.INTER_AREA), rng)


def _at_any_angle(rng: np.random.Generator) -> Picture:
    return _nail(rng, rng.uniform(0, 360))


def _in_one_pose(rng: np.random.Generator) -> Picture:
    return _nail(rng, 0)


def _by_quarters(rng: np.random.Generator) -> Picture:
    return _nail(rng, 90.0 * rng.integers(4))


def _slightly_turned(rng: np.random.Generator) -> Picture:
    return _nail(rng, rng.uniform(-6, 6))


def _either_way_round(rng: np.random.Generator) -> Picture:
    return _nail(rng, 0, mirrored=bool(rng.integers(2)))


def _ring(rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    band = np.clip(8 - np.abs(np.hypot(x, y) - 15), 0, 1)[..., None]
    return _grainy(60 + 120 * cv2.GaussianBlur(band, (0, 0), 0.8)[..., None] * np.ones(3), rng)


def _letter(rng: np.random.Generator) -> Picture:
    """A symmetric block, always in one pose: it looks the same mirrored left to right only."""
    picture = np.full((SIDE, SIDE, 3), 60, np.float32)
    picture[14:50, 26:38] = picture[14:24, 14:50] = 180
    return _grainy(picture, rng)


def _blobs(rng: np.random.Generator) -> Picture:
    """A texture without a direction."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, (SIDE + 20, SIDE + 20)), (0, 0), 2.0)[10:-10, 10:-10]
    return np.clip(120 + 180 * noise, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def _brushed(rng: np.random.Generator) -> Picture:
    """A texture brushed from top to bottom."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, (SIDE + 40, SIDE + 40)), (0, 0), 1.0, sigmaY=9.0)[
        20:-20, 20:-20
    ]
    return np.clip(120 + 250 * noise, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def _twill(rng: np.random.Generator) -> Picture:
    """Diagonal stripes, all leaning the same way."""
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = np.sin((x + y) * 2 * np.pi / 7 + rng.uniform(0, 2 * np.pi))
    return _grainy((120 + 50 * waves)[..., None].repeat(3, 2), rng)


def _lit_from_the_left(rng: np.random.Generator) -> Picture:
    light = np.linspace(30, -30, SIDE)[None, :, None] + rng.normal(0, 3)
    return np.clip(_blobs(rng) * 0.6 + 48 + light, 0, 255).astype(np.uint8)


def _allowed(found: Symmetry) -> tuple[bool, bool, int, bool]:
    return found.flip_horizontal, found.flip_vertical, found.turns, found.rotate_degrees == 180


@pytest.mark.parametrize("count", [24, 40])
def test_objects_at_all_angles_are_rotated_but_never_mirrored(count: int) -> None:
    found = symmetry_of(_set(_at_any_angle, count))
    assert _allowed(found) == (False, False, 1, True)
    assert str(found) == "good parts lie at any angle; used in training: rotation by any angle"


@pytest.mark.parametrize("count", [10, 40])
def test_an_object_in_one_pose_stays_in_it(count: int) -> None:
    found = symmetry_of(_set(_in_one_pose, count))
    assert _allowed(found) == (False, False, 1, False) and found.rotate_degrees == 0
    assert str(found) == "good parts look different when turned or mirrored; used in training: neither"


def test_small_turns_are_measured_and_used() -> None:
    found = symmetry_of(_set(_slightly_turned, 30))
    assert _allowed(found) == (False, False, 1, False)
    assert 3 < found.rotate_degrees < 8
    assert f"rotation by up to {found.rotate_degrees:g}°" in str(found)


def test_objects_in_four_poses_are_turned_by_quarters_only() -> None:
    assert _allowed(symmetry_of(_set(_by_quarters, 48))) == (False, False, 4, False)


def test_pairs_of_mirror_images_are_not_in_one_pose() -> None:
    """Left and right parts mixed: mirroring is harmless, but pictures of two poses do not prove it."""
    assert _allowed(symmetry_of(_set(_either_way_round, 40)))[2:] == (1, False)


def test_a_mirror_axis_of_an_object_in_one_pose_is_found() -> None:
    found = symmetry_of(_set(_letter, 24))
    assert _allowed(found) == (True, False, 1, False)
    assert "mirroring left to right" in str(found) and "top to bottom" not in str(found)


def test_a_ring_may_be_rotated_though_it_always_lies_the_same() -> None:
    assert symmetry_of(_set(_ring)).rotate_degrees == 180


def test_a_texture_without_direction_may_be_turned_and_mirrored() -> None:
    found = symmetry_of(_set(_blobs, 40))
    assert (found.flip_horizontal, found.flip_vertical) == (True, True)
    assert found.turns == 4 or found.rotate_degrees == 180


def test_a_brushed_texture_is_mirrored_but_not_turned_by_quarters() -> None:
    assert _allowed(symmetry_of(_set(_brushed, 40))) == (True, True, 2, False)


def test_a_leaning_texture_is_turned_upside_down_but_not_mirrored() -> None:
    assert _allowed(symmetry_of(_set(_twill, 40))) == (False, False, 2, False)


def test_light_from_one_side_forbids_what_would_move_it() -> None:
    found = symmetry_of(_set(_lit_from_the_left, 40))
    assert _allowed(found) == (False, True, 1, False)


def test_a_small_mark_is_noticed() -> None:
    frames = _set(_blobs, 40)
    frames[:, 6:12, 44:52] = (30, 30, 30)
    assert _allowed(symmetry_of(frames)) == (False, False, 1, False)


def test_pictures_that_are_not_square_are_never_turned_by_quarters() -> None:
    found = symmetry_of(_set(_blobs, 40)[:, :48])
    assert found.flip_horizontal and found.flip_vertical and found.turns != 4


def test_single_colour_pictures_have_every_symmetry_and_no_scatter() -> None:
    found = symmetry_of(np.full((10, SIDE, SIDE, 3), 90, np.uint8))
    assert _allowed(found) == (True, True, 1, True) and found.shift == 0


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_pictures_prove_nothing(count: int) -> None:
    assert symmetry_of(_set(_blobs, 8)[:count]) == Symmetry()


def test_the_answer_is_repeatable_and_the_pictures_are_left_alone() -> None:
    frames = _set(_slightly_turned, 20)
    before = frames.copy()
    assert symmetry_of(frames) == symmetry_of(frames)
    np.testing.assert_array_equal(frames, before)


def test_evidence_says_why() -> None:
    found = {item.change: item for item in symmetry_of(_set(_in_one_pose, 30)).evidence}
    assert found.keys() >= {"flip_horizontal", "flip_vertical", "half_turn", "quarter_turn", "any_angle"}
    assert not found["half_turn"].is_allowed
    assert found["half_turn"].agreement > 0.5 and found["half_turn"].local > 0.8
    assert found["half_turn"].distance > 1.5 and found["half_turn"].pictures == 30


def test_a_recipe_is_settled_and_the_user_told() -> None:
    told: list[str] = []
    settled = with_symmetry(Recipe(), _set(_at_any_angle), told.append).augment
    assert settled == AugmentRecipe(False, False, 1, 180.0, 0.02)
    assert len(told) == 1 and "any angle" in told[0]


def test_explicit_keys_win_over_the_pictures() -> None:
    recipe = Recipe(augment=AugmentRecipe(flip_horizontal=True, rotate_degrees=5.0))
    settled = with_symmetry(recipe, _set(_at_any_angle), lambda text: None).augment
    assert settled == AugmentRecipe(True, False, 1, 5.0, 0.02)


def test_none_and_a_complete_recipe_ask_nothing_of_the_pictures() -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    none = replace(Recipe(), augment=AugmentRecipe(symmetry="none"))
    settled = with_symmetry(none, _set(_at_any_angle), refuse)
    assert settled.augment == AugmentRecipe(False, False, 1, 0.0, 0.02, symmetry="none")
    assert with_symmetry(settled, _set(_at_any_angle), refuse) == settled
