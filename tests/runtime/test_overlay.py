"""The picture of a verdict: right size, clean where it is good, readable at every width."""

import cv2
import numpy as np
import pytest

from dtgd_edge.runtime.overlay import overlay
from dtgd_edge.verdict import Decision, Region, Verdict

GREY = np.full((120, 160, 3), 128, np.uint8)


def verdict(
    decision: Decision = Decision.OK,
    peak: float = 0.5,
    reason: str | None = None,
    hw: tuple[int, int] = (120, 160),
) -> Verdict:
    if decision is Decision.NO_DECISION:
        return Verdict(decision, 0, 2.0, reason=reason or "black: no light")
    anomaly_map = np.full(hw, -0.3, np.float32)
    anomaly_map[30:50, 40:70] = peak
    regions = (Region(40, 30, 30, 20, 600, peak),) if decision is Decision.NG else ()
    return Verdict(decision, 0, 2.0, peak, anomaly_map, regions)


def split(image: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    return image[:-height], image[-height:]


def test_a_good_part_stays_clean() -> None:
    drawn = overlay(GREY, verdict(peak=0.9))
    band, picture = split(drawn, 120)
    assert drawn.dtype == np.uint8 and drawn.shape[1:] == (160, 3) and len(band) > 0
    assert np.array_equal(picture, GREY)


def test_a_suspicion_is_drawn_but_not_boxed() -> None:
    _, picture = split(overlay(GREY, verdict(peak=1.6)), 120)
    changed = np.argwhere((picture != GREY).any(axis=2))
    assert changed.min(axis=0).tolist() == [30, 40] and changed.max(axis=0).tolist() == [49, 69]


def test_a_bad_part_is_hot_and_boxed() -> None:
    _, picture = split(overlay(GREY, verdict(Decision.NG, 3.5)), 120)
    blue, _, red = picture[40, 55].astype(int)
    assert red > blue + 50
    assert (picture[28, 55] != 128).any()
    assert np.array_equal(picture[80:, 100:], GREY[80:, 100:])


def test_the_frame_is_not_drawn_on() -> None:
    image = GREY.copy()
    overlay(image, verdict(Decision.NG, 3.5))
    assert np.array_equal(image, GREY)


@pytest.mark.parametrize("decision", list(Decision))
def test_the_bands_colour_says_the_decision(decision: Decision) -> None:
    drawn = overlay(GREY, verdict(decision, 3.0))
    blue, green, red = drawn[0, -1].astype(int)
    assert {
        Decision.OK: green > 1.5 * red,
        Decision.NG: red > 2 * green,
        Decision.NO_DECISION: red > 1.2 * green > 2 * blue,
    }[decision]


@pytest.mark.parametrize(
    "image",
    [
        np.full((120, 160), 128, np.uint8),
        np.full((120, 160, 1), 128, np.uint8),
        np.full((120, 160, 4), 128, np.uint8),
        np.full((120, 160), 128 << 8, np.uint16),
        np.full((120, 160, 3), 128 << 8, np.uint16),
    ],
)
def test_every_kind_of_frame(image: np.ndarray) -> None:
    _, picture = split(overlay(image, verdict()), 120)
    assert np.array_equal(picture, GREY)


def test_twelve_bits() -> None:
    image = np.full((120, 160), 128 << 4, np.uint16)
    _, picture = split(overlay(image, verdict(), sensor_bits=12), 120)
    assert np.array_equal(picture, GREY)


@pytest.mark.parametrize("image", [None, np.zeros((4, 4), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_a_frame_without_a_picture_is_a_grey_card(image: np.ndarray | None) -> None:
    drawn = overlay(image, verdict(Decision.NO_DECISION))
    assert drawn.shape[1] == 320 and (drawn[-1] == 96).all()


@pytest.mark.parametrize("width", [16, 64, 100, 320, 1024, 4000])
@pytest.mark.parametrize("decision", list(Decision))
def test_text_stays_inside_at_every_width(
    width: int, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = cv2.putText

    def checked(
        image: np.ndarray, text: str, at: tuple[int, int], font: int, scale: float, *rest: object
    ) -> None:
        (text_width, text_height), below = cv2.getTextSize(text, font, scale, rest[1])
        assert at[0] + text_width <= image.shape[1] or len(text) == 1
        assert at[1] - text_height >= 0 and at[1] + below <= image.shape[0] + 1
        written.append(text)
        real(image, text, at, font, scale, *rest)

    monkeypatch.setattr(cv2, "putText", checked)
    image = np.full((60, width, 3), 128, np.uint8)
    reason = (
        "unreadable picture: /data/line-7/2026-01-01/a-very-long-file-name-without-any-space.png is empty"
    )
    drawn = overlay(image, verdict(decision, 3.0, reason, hw=(60, width)))
    assert drawn.shape[1] == width and 1 <= len(written) <= 5


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_threshold_at_or_below_zero(threshold: float) -> None:
    strange = Verdict(
        Decision.OK, 0, threshold, threshold - 1, np.full((120, 160), threshold - 5, np.float32)
    )
    _, picture = split(overlay(GREY, strange), 120)
    assert np.array_equal(picture, GREY)
