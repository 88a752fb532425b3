"""Light, focus and colours against normal frames: held-out parts pass, a wrong camera does not."""

import cv2
import numpy as np
import pytest

from dtgd_edge.appearance import FrameStatistics, appearance_of, statistics_of
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pretend import DEFECTS, draw_part
from dtgd_edge.runtime.light import AppearanceLimits, appearance_fault

GEOMETRY = Geometry(size_hw=(256, 256))
SIZE = 320
USUAL = AppearanceLimits()


def part(seed: int, defect: str = "good") -> np.ndarray:
    return draw_part(np.random.default_rng([9, seed]), defect, SIZE).image


def kind(image: np.ndarray, normal: FrameStatistics, limits: AppearanceLimits = USUAL) -> str | None:
    reason = appearance_fault(appearance_of(GEOMETRY.apply(image)), normal, limits)
    return None if reason is None else reason.partition(":")[0]


def exposed(image: np.ndarray, stops: float) -> np.ndarray:
    """More or less light, seen through a camera's gamma of 2.2."""
    return np.clip(image * 2.0 ** (stops / 2.2), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def normal() -> FrameStatistics:
    """Of as many parts as a small data set holds out."""
    statistics = statistics_of(GEOMETRY.apply(part(seed)) for seed in range(8))
    assert statistics is not None
    return statistics


def test_held_out_parts_pass_good_or_defective(normal: FrameStatistics) -> None:
    assert {kind(part(1000 + seed), normal) for seed in range(30)} == {None}
    for defect in DEFECTS:
        assert {kind(part(2000 + seed, defect), normal) for seed in range(6)} == {None}, defect


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_wrong_camera_is_named(normal: FrameStatistics, seed: int) -> None:
    image = part(seed)
    assert kind(exposed(image, -2), normal) == "under-exposed"
    assert kind(exposed(image, 2), normal) == "over-exposed"
    assert kind(np.ascontiguousarray(image[..., ::-1]), normal) == "wrong channel order"
    assert kind(cv2.GaussianBlur(image, (0, 0), 2), normal) == "blurred"
    assert kind(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), normal) == "wrong channels"
    yellow = np.clip(image * np.array([0.6, 1.0, 1.1]), 0, 255).astype(np.uint8)
    assert kind(yellow, normal) == "wrong colour"


def test_defocus_is_seen_through_sensor_noise(normal: FrameStatistics) -> None:
    soft = cv2.GaussianBlur(part(7), (0, 0), 2.5)
    noise = np.random.default_rng(0).normal(0, 2, soft.shape)
    assert kind(np.clip(soft + noise, 0, 255).astype(np.uint8), normal) == "blurred"


def test_a_smaller_change_of_light_passes(normal: FrameStatistics) -> None:
    for stops in (-0.5, 0.3):
        assert kind(exposed(part(7), stops), normal) is None


def test_grey_sets_say_nothing_about_the_order() -> None:
    greys = [cv2.cvtColor(part(seed), cv2.COLOR_BGR2GRAY) for seed in range(5)]
    normal = statistics_of(GEOMETRY.apply(grey) for grey in greys[:4])
    assert normal is not None
    assert kind(greys[4], normal) is None
    assert kind(cv2.cvtColor(greys[4], cv2.COLOR_GRAY2BGR), normal) is None
    assert kind(part(4), normal) == "wrong channels"


def test_each_check_can_be_switched_off(normal: FrameStatistics) -> None:
    off = AppearanceLimits(1000.0, 1.0, 0.0, 1.0, 1.0)
    image = part(50)
    for spoiled in (
        exposed(image, 2),
        exposed(image, -2),
        image[..., ::-1],
        cv2.GaussianBlur(image, (0, 0), 3),
    ):
        assert kind(spoiled, normal, off) is None


@pytest.mark.parametrize(
    "keys",
    [
        {"brightness_factor": 0.9},
        {"brightness_factor": float("nan")},
        {"clipped_share": 1.1},
        {"sharpness_share": -0.1},
        {"colour_shift": float("nan")},
    ],
)
def test_impossible_limits(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        AppearanceLimits(**keys)
