"""Synthetic anomalies: the mask says exactly where the picture was changed."""

import cv2
import numpy as np
import pytest

from dtgd_edge.train.foreground import Picture, foreground_of
from dtgd_edge.train.synth import FAMILIES, VISIBLE_LEVELS, corrupt
from dtgd_edge.train.textures import texture


@pytest.fixture(scope="module")
def pictures() -> Picture:
    """Two different structured pictures, uint8 [2, 96, 64, 3]."""
    return np.stack([texture(np.random.default_rng(seed), (96, 64)) for seed in (11, 12)])


@pytest.mark.parametrize("family", FAMILIES)
def test_mask_covers_every_visible_change_and_little_else(family: str, pictures: Picture) -> None:
    for seed in range(12):
        changed, mask = corrupt(*pictures, None, family, np.random.default_rng(seed))
        assert changed.shape == pictures[0].shape and changed.dtype == np.uint8
        assert mask.shape == (96, 64) and mask.dtype == np.bool_
        difference = np.abs(changed.astype(int) - pictures[0]).max(axis=2)
        assert mask[difference >= VISIBLE_LEVELS].all()
        # Closing fills gaps of a few pixels: whatever is marked lies next to a visible change.
        near = cv2.dilate((difference >= VISIBLE_LEVELS).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert near[mask].all()
        assert mask.mean() < 0.9


@pytest.mark.parametrize("family", FAMILIES)
def test_the_generator_decides_everything(family: str, pictures: Picture) -> None:
    (first, mask), (again, same), (other, _) = (
        corrupt(*pictures, None, family, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, same)
    assert (first != other).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_are_left_alone(family: str, pictures: Picture) -> None:
    before = pictures.copy()
    corrupt(*pictures, None, family, np.random.default_rng(0))
    np.testing.assert_array_equal(pictures, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_nearly_every_anomaly_is_large_enough_to_see(family: str, pictures: Picture) -> None:
    areas = [corrupt(*pictures, None, family, np.random.default_rng(s))[1].sum() for s in range(20)]
    assert np.mean([area >= 2 for area in areas]) >= 0.95


def test_some_textures_lie_all_over_the_picture(pictures: Picture) -> None:
    masks = [corrupt(*pictures, None, "texture", np.random.default_rng(s))[1] for s in range(40)]
    halves = [(mask[:48].any() and mask[48:].any()) and mask.sum() > 300 for mask in masks]
    assert 10 <= sum(halves) <= 35


def test_textures_have_no_colour_on_grey_pictures(pictures: Picture) -> None:
    grey = np.repeat(pictures[:, :, :, :1], 3, axis=3)
    for seed in range(20):
        changed, _ = corrupt(*grey, None, "texture", np.random.default_rng(seed))
        assert not np.ptp(changed, axis=2).any()


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"warp"}))
def test_nothing_off_the_object_is_touched(family: str, pictures: Picture) -> None:
    foreground = np.zeros((96, 64), np.bool_)
    foreground[20:60, 10:50] = True
    for seed in range(8):
        _, mask = corrupt(*pictures, foreground, family, np.random.default_rng(seed))
        assert not mask[:18].any() and not mask[62:].any()


@pytest.mark.parametrize("family", ["spots", "scratch", "cutpaste"])
def test_anomalies_sit_on_the_object(family: str) -> None:
    picture = np.full((96, 96, 3), 30, np.uint8)
    picture[24:72, 24:72] = 150
    foreground = foreground_of(picture)
    assert foreground is not None
    hits = [
        (corrupt(picture, 255 - picture, foreground, family, np.random.default_rng(s))[1] & foreground).any()
        for s in range(20)
    ]
    assert np.mean(hits) >= 0.9


def test_flat_pictures_can_be_corrupted_too() -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    for family in FAMILIES:
        changed, mask = corrupt(flat, flat, None, family, np.random.default_rng(0))
        assert mask.any() == (np.abs(changed.astype(int) - 128).max() >= VISIBLE_LEVELS)
