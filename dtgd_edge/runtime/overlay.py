"""A verdict as a picture: the frame, its heat map and regions, and a band that says what was decided."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.heat import bgr_from_image, draw_heat
from dtgd_edge.verdict import Decision, Verdict

_Colour = tuple[int, int, int]  # BGR
_DARK, _LIGHT, _GREY = (24, 24, 24), (245, 245, 245), 96
_BAND: dict[Decision, _Colour] = {
    Decision.OK: (60, 130, 30),
    Decision.NG: (40, 30, 190),
    Decision.NO_DECISION: (20, 150, 230),
}
_TEXT: dict[Decision, _Colour] = {Decision.OK: _LIGHT, Decision.NG: _LIGHT, Decision.NO_DECISION: _DARK}

_CARD_HW = (240, 320)
_LINES_LIMIT = 5
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(image: NDArray[Any] | None, verdict: Verdict, *, sensor_bits: int = 16) -> NDArray[np.uint8]:
    """Draw a verdict.

    Args:
        image: the frame's: uint8 or uint16, [H, W], [H, W, 1], BGR [H, W, 3] or BGRA [H, W, 4]; None
            draws a grey card.
        verdict: about that frame.
        sensor_bits: significant bits of a 16-bit frame.

    Returns:
        uint8 BGR [band + H, W, 3]: a band with decision, score, threshold and reason, and below it the
        picture. Heat starts at half the threshold whatever the picture's own maximum is, so that the
        picture of a good part stays clean.
    """
    picture = marked_picture(image, verdict, sensor_bits=sensor_bits)
    return np.vstack([_band(verdict, picture.shape[1]), picture])


def marked_picture(
    image: NDArray[Any] | None, verdict: Verdict, *, sensor_bits: int = 16
) -> NDArray[np.uint8]:
    """Draw heat and regions only, for those who say the decision themselves.

    Args:
        image, verdict, sensor_bits: as `overlay` takes them.

    Returns:
        uint8 BGR [H, W, 3], a fresh picture.
    """
    picture = _bgr(image, sensor_bits)
    if verdict.map is not None and verdict.map.shape == picture.shape[:2]:
        draw_heat(picture, verdict.map, verdict.threshold)
    _draw_regions(picture, verdict)
    return picture


def _bgr(image: NDArray[Any] | None, sensor_bits: int) -> NDArray[np.uint8]:
    """A fresh BGR picture to draw on."""
    is_picture = image is not None and image.size > 0 and image.ndim in (2, 3)
    if image is None or not is_picture or image.dtype not in (np.uint8, np.uint16):
        return np.full((*_CARD_HW, 3), _GREY, np.uint8)
    return bgr_from_image(image, sensor_bits)


def _draw_regions(picture: NDArray[np.uint8], verdict: Verdict) -> None:
    height, width = picture.shape[:2]
    thickness = max(1, round(max(height, width) / 500))
    smallest = max(5, round(max(height, width) / 60))
    for region in reversed(verdict.regions):  # the largest peak last, on top
        # A region of a few pixels gets a box that can be seen.
        grow_x = max(2 * thickness, (smallest - region.width + 1) // 2)
        grow_y = max(2 * thickness, (smallest - region.height + 1) // 2)
        near = max(0, region.x - grow_x), max(0, region.y - grow_y)
        far = (
            min(width - 1, region.x + region.width - 1 + grow_x),
            min(height - 1, region.y + region.height - 1 + grow_y),
        )
        # Light around dark can be seen on any ground.
        cv2.rectangle(picture, near, far, _LIGHT, 3 * thickness)
        cv2.rectangle(picture, near, far, _BAND[Decision.NG], thickness)


def _band(verdict: Verdict, width: int) -> NDArray[np.uint8]:
    scale = float(np.clip(width / 640, 0.4, 3.2))
    thickness = max(1, round(1.5 * scale))
    margin = max(2, round(8 * scale))
    head = "NO DECISION" if verdict.decision is Decision.NO_DECISION else verdict.decision.value
    if verdict.score is not None:
        head += f" {verdict.score:.2f} / {verdict.threshold:.2f}"
    lines = _wrapped(head, width - 2 * margin, scale, thickness)
    if verdict.reason is not None:
        lines += _wrapped(verdict.reason, width - 2 * margin, scale, thickness)
    if len(lines) > _LINES_LIMIT:
        lines = [*lines[: _LINES_LIMIT - 1], "..."]
    (_, ascent), descent = cv2.getTextSize("Ag", _FONT, scale, thickness)
    line_height = ascent + descent + max(2, margin // 2)
    band = np.full((line_height * len(lines) + margin, width, 3), _BAND[verdict.decision], np.uint8)
    for row, line in enumerate(lines):
        baseline = margin // 2 + row * line_height + ascent + max(1, margin // 4)
        cv2.putText(
            band, line, (margin, baseline), _FONT, scale, _TEXT[verdict.decision], thickness, cv2.LINE_AA
        )
    return band


def _wrapped(text: str, width: int, scale: float, thickness: int) -> list[str]:
    """Break a text into lines that fit, between words where that is possible."""

    def fits(line: str) -> bool:
        return bool(cv2.getTextSize(line, _FONT, scale, thickness)[0][0] <= width)

    lines: list[str] = []
    line = ""
    # OpenCV's font has ASCII only.
    for word in text.encode("ascii", "replace").decode().split():
        joined = f"{line} {word}" if line else word
        if fits(joined):
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while not fits(line) and len(line) > 1:
            length = next((n for n in range(len(line) - 1, 1, -1) if fits(line[:n])), 1)
            lines.append(line[:length])
            line = line[length:]
    return [*lines, line]
