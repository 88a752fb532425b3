"""Drawn textures: any size, always the same for the same generator, and never flat."""

from collections.abc import Callable

import numpy as np
import pytest

from dtgd_edge.train.textures import FIELDS, Field, smooth_noise, texture

DrawField = Callable[[np.random.Generator, tuple[int, int]], Field]


@pytest.mark.parametrize("size_hw", [(64, 64), (32, 96), (97, 51)])
@pytest.mark.parametrize("field", FIELDS)
def test_fields_are_standardised_at_any_size(field: DrawField, size_hw: tuple[int, int]) -> None:
    drawn = field(np.random.default_rng(1), size_hw)
    assert drawn.shape == size_hw and drawn.dtype == np.float32
    assert np.isfinite(drawn).all()
    assert abs(drawn.mean()) < 1e-3
    assert drawn.std() == pytest.approx(1, abs=1e-2)


def test_pictures_follow_from_the_generator() -> None:
    first, again, other = (texture(np.random.default_rng(seed), (64, 64)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_pictures_are_colour_pictures_with_some_contrast() -> None:
    drawn = np.stack([texture(np.random.default_rng(seed), (64, 48)) for seed in range(40)])
    assert drawn.shape == (40, 64, 48, 3) and drawn.dtype == np.uint8
    contrast = drawn.astype(np.float32).std(axis=(1, 2)).max(axis=1)
    assert np.median(contrast) > 15
    assert contrast.min() > 1


@pytest.mark.parametrize("cells", [(1, 1), (3, 20), (40, 40)])
def test_smooth_noise_fills_the_picture(cells: tuple[int, int]) -> None:
    noise = smooth_noise(np.random.default_rng(0), (64, 80), cells)
    assert noise.shape == (64, 80)
    assert np.abs(noise).max() < 1.6
