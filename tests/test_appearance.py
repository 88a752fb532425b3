"""What normal frames look like, and what a frame looks like."""

from dataclasses import asdict

import cv2
import numpy as np
import pytest

from dtgd_edge.appearance import appearance_of, statistics_of

RNG = np.random.default_rng(0)
TEXTURE = cv2.GaussianBlur(RNG.normal(110, 300, (64, 96, 3)), (0, 0), 1.2).clip(0, 255).astype(np.uint8)


def test_exchanging_red_and_blue_turns_every_lean_round() -> None:
    warm = np.clip(TEXTURE * np.array([1.0, 0.8, 0.5]), 0, 255).astype(np.uint8)
    seen, exchanged = appearance_of(warm), appearance_of(warm[..., ::-1])
    assert seen.mean_lean > 0.1 and exchanged.mean_lean == pytest.approx(-seen.mean_lean)
    assert exchanged.spread_lean == pytest.approx(-seen.spread_lean) != 0
    assert exchanged.correlation_lean == pytest.approx(-seen.correlation_lean, abs=1e-5) != 0
    assert (exchanged.red, exchanged.blue) == pytest.approx((seen.blue, seen.red))


def test_sharpness_knows_focus_and_not_light() -> None:
    sharp = appearance_of(TEXTURE).sharpness
    assert appearance_of(TEXTURE // 3).sharpness == pytest.approx(sharp, rel=0.1)
    soft = cv2.GaussianBlur(TEXTURE, (0, 0), 3)
    assert appearance_of(soft).sharpness < 0.7 * sharp
    noisy = np.clip(soft + RNG.normal(0, 2, soft.shape), 0, 255).astype(np.uint8)
    assert appearance_of(noisy).sharpness < 0.8 * sharp


def test_a_grey_picture_is_exactly_grey() -> None:
    grey = np.repeat(TEXTURE[..., :1], 3, axis=2)
    seen = appearance_of(grey)
    assert seen.colourfulness == seen.mean_lean == seen.spread_lean == 0
    assert appearance_of(TEXTURE).colourfulness > 0.02


@pytest.mark.parametrize(("level", "dark", "bright"), [(0, 1, 0), (128, 0, 0), (255, 0, 1)])
def test_flat_frames_have_numbers(level: int, dark: float, bright: float) -> None:
    seen = appearance_of(np.full((32, 32, 3), level, np.uint8))
    assert (seen.clipped_dark, seen.clipped_bright) == (dark, bright)
    assert seen.brightness == pytest.approx(level / 255) and seen.sharpness == 0
    assert all(np.isfinite(value) for value in asdict(seen).values())


def test_statistics_are_the_bounds() -> None:
    frames = [np.full((32, 32, 3), level, np.uint8) for level in (100, 51, 153)]
    statistics = statistics_of(frames)
    assert statistics is not None and statistics.frames == 3
    assert statistics.lowest.brightness == pytest.approx(0.2)
    assert statistics.highest.brightness == pytest.approx(0.6)
    assert statistics_of([]) is None
