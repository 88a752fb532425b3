"""Foregrounds: found without labels, on even and uneven grounds, and not in textures."""

import cv2
import numpy as np
import pytest

from dtgd_edge.train.foreground import Mask, Picture, foreground_of, foregrounds_of, ground_of
from dtgd_edge.train.textures import texture


def _disc(centre: tuple[int, int] = (64, 48), radius: int = 25, ground: int = 40) -> tuple[Picture, Mask]:
    """A bright disc with a dark hole on an even grainy ground, and the disc's area with the hole."""
    grain = np.random.default_rng(0).normal(0, 3, (96, 128, 1))
    picture = np.full((96, 128, 3), ground, np.uint8)
    area = np.zeros((96, 128), np.uint8)
    cv2.circle(picture, centre, radius, (160, 170, 150), -1)
    cv2.circle(picture, centre, radius // 3, (ground,) * 3, -1)
    cv2.circle(area, centre, radius, 1, -1)
    return np.clip(picture + grain, 0, 255).astype(np.uint8), area > 0


def test_it_is_the_object_with_its_holes_and_a_little_more() -> None:
    picture, disc = _disc()
    found = foreground_of(picture)
    assert found is not None and found.dtype == np.bool_ and found.shape == (96, 128)
    assert found[disc].all()
    assert found.sum() < 1.6 * disc.sum()


@pytest.mark.parametrize("kind", ["soft light", "a stripe across", "a bright strip at the top", "dirt"])
def test_an_uneven_ground_is_still_ground(kind: str) -> None:
    picture, disc = _disc()
    values = picture.astype(np.float32)
    if kind == "soft light":
        values += np.linspace(-20, 20, 128)[None, :, None]
    if kind == "a stripe across":
        values[40:60][~disc[40:60]] = 90
    if kind == "a bright strip at the top":
        values[:4] = 220
    if kind == "dirt":
        values[80:82, 10:12] = 200
    found = foreground_of(np.clip(values, 0, 255).astype(np.uint8))
    assert found is not None
    assert (found & disc).sum() / (found | disc).sum() > 0.75


def test_an_object_may_reach_the_border() -> None:
    picture, disc = _disc(centre=(64, 22))
    found = foreground_of(picture)
    assert found is not None
    assert (found & disc).sum() / (found | disc).sum() > 0.75


@pytest.mark.parametrize("kind", ["flat", "noise", "half and half", "gradient"])
def test_no_foreground_without_a_ground_around_it(kind: str) -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    if kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    if kind == "half and half":
        picture[:, 20:] = 200
    if kind == "gradient":
        picture = picture + np.linspace(0, 100, 64).astype(np.uint8)[None, :, None]
    assert foreground_of(picture) is None


def test_a_set_of_textures_has_no_foreground_even_where_one_picture_seems_to() -> None:
    frames = np.stack([texture(np.random.default_rng(seed), (96, 128)) for seed in range(9)] + [_disc()[0]])
    assert foreground_of(frames[-1]) is not None
    assert foregrounds_of(frames) == [None] * 10
    discs = np.stack([_disc((60 + i, 45))[0] for i in range(8)])
    assert all(mask is not None for mask in foregrounds_of(discs))
    assert foregrounds_of(frames[:0]) == []


def test_the_ground_goes_on_behind_the_object() -> None:
    picture, disc = _disc()
    ground = ground_of(picture, disc)
    assert ground.shape == picture.shape and ground.dtype == np.uint8
    far = ~cv2.dilate(disc.astype(np.uint8), np.ones((21, 21), np.uint8)).astype(np.bool_)
    np.testing.assert_array_equal(ground[far], picture[far])
    assert ground[disc].mean() == pytest.approx(40, abs=4) and ground[disc].max() < 60
    assert 1 < ground[disc].std() < 5  # with grain, but without the object


def test_an_object_that_leaves_little_ground_can_be_taken_out() -> None:
    picture = np.full((64, 64, 3), 60, np.uint8)
    foreground = np.ones((64, 64), np.bool_)
    foreground[0, 0] = False
    np.testing.assert_allclose(ground_of(picture, foreground), 60, atol=2)
