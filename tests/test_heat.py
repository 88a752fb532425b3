"""Heat: one colour scale, fixed by the threshold."""

import numpy as np
import pytest

from dtgd_edge.heat import bgr_from_image, draw_heat, heat_range

GREY = np.full((8, 8, 3), 128, np.uint8)


@pytest.mark.parametrize("threshold", [2.0, 0.01, -1.0, 0.0])
def test_heat_begins_below_the_threshold_and_ends_above_it(threshold: float) -> None:
    low, high = heat_range(threshold)
    assert low < threshold < high and high - threshold == pytest.approx(threshold - low)


def test_a_value_has_one_colour_whatever_is_beside_it() -> None:
    alone, beside = GREY.copy(), GREY.copy()
    anomaly_map = np.zeros((8, 8), np.float32)
    anomaly_map[2, 3] = 1.1
    draw_heat(alone, anomaly_map, 1.0)
    anomaly_map[6, 6] = 9
    draw_heat(beside, anomaly_map, 1.0)
    assert np.array_equal(alone[2, 3], beside[2, 3]) and not np.array_equal(alone[2, 3], GREY[2, 3])
    assert np.array_equal(alone[:2], GREY[:2])


def test_sixteen_bits_are_brought_to_eight() -> None:
    twelve = np.full((4, 5), 2048, np.uint16)
    assert (bgr_from_image(twelve, 12) == 128).all() and bgr_from_image(twelve, 12).shape == (4, 5, 3)
    assert (bgr_from_image(np.full((4, 5, 3), 65535, np.uint16), 12) == 255).all()


def test_the_image_given_is_not_drawn_on() -> None:
    image = GREY.copy()
    picture = bgr_from_image(image)
    picture[:] = 0
    assert np.array_equal(image, GREY)
