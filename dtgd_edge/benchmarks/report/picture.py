"""The plots as one PNG picture, drawn with OpenCV."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.atomic import written_whole
from dtgd_edge.benchmarks.report.charts import Series, latency_chart, series_of, share_chart
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.errors import SinkError
from dtgd_edge.sheet import Plot
from dtgd_edge.sheet.plot import HEIGHT, Bar, Dot, Line, Mark, Text
from dtgd_edge.sheet.plot import Path as Curve

_SCALE = 2
_LINE_PX = 18
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GLYPH = 0.42
_WHITE, _INK = (255, 255, 255), (48, 35, 27)
# BGR; the same as in the page's style sheets.
_COLOURS = {
    "grid": (233, 227, 223),
    "threshold": (50, 37, 194),
    "mark": (50, 37, 194),
    "series0": (222, 111, 47),
    "series1": (26, 113, 217),
    "series2": (75, 122, 44),
    "series3": (160, 60, 140),
    "series4": (120, 110, 20),
    "series5": (90, 90, 90),
}

Canvas = NDArray[np.uint8]


def write_plot(path: Path, timings: Timings) -> None:
    """Draw the times of a run frame by frame, and how many take how long.

    Args:
        path: ends in .png; missing folders are made.
        timings: the run.

    Raises:
        SinkError: the disk refused.
    """
    series = series_of(timings)
    takt = timings.measurements[0].takt
    deadline_ms = None if takt is None else takt.deadline_ms
    canvas = _drawn([latency_chart(series, deadline_ms), share_chart(series, deadline_ms)], series, timings)
    _, png = cv2.imencode(".png", canvas)
    with written_whole(path, SinkError) as file:
        file.write(png.tobytes())


def _drawn(plots: Sequence[Plot], series: Sequence[Series], timings: Timings) -> Canvas:
    machine = timings.measurements[0].machine
    lines = [("ink", f"{machine.board or machine.cpu}, {timings.measurements[0].device}, {timings.pace}")]
    lines += [(each.style, each.name) for each in series]
    head = (len(lines) + 1) * _LINE_PX
    width = sum(plot.width_px for plot in plots)
    canvas = np.full(((head + HEIGHT) * _SCALE, width * _SCALE, 3), _WHITE, np.uint8)
    for row, (style, text) in enumerate(lines, start=1):
        _draw(canvas, Text(style, (11, row * _LINE_PX), text, "start"))
    left = 0
    for plot in plots:
        part = canvas[head * _SCALE :, left * _SCALE : (left + plot.width_px) * _SCALE]
        for mark in plot.marks:
            _draw(part, mark)
        left += plot.width_px
    return canvas


def _draw(canvas: Canvas, mark: Mark) -> None:
    colour = _COLOURS.get(mark.style.rpartition(" ")[2], _INK)
    if isinstance(mark, Text):
        _write(canvas, mark, colour)
    elif isinstance(mark, Line):
        cv2.line(canvas, _px(mark.start), _px(mark.end), colour, _SCALE // 2, cv2.LINE_AA)
    elif isinstance(mark, Curve):
        points = np.array([_px(point) for point in mark.points], np.int32)
        cv2.polylines(canvas, [points], mark.is_closed, colour, _SCALE, cv2.LINE_AA)
    elif isinstance(mark, Dot):
        cv2.circle(canvas, _px(mark.at), round(mark.radius * _SCALE), colour, cv2.FILLED, cv2.LINE_AA)
    else:
        assert isinstance(mark, Bar)
        end = (mark.left_top[0] + mark.width, mark.left_top[1] + mark.height)
        cv2.rectangle(canvas, _px(mark.left_top), _px(end), colour, cv2.FILLED)


def _write(canvas: Canvas, mark: Text, colour: tuple[int, int, int]) -> None:
    # OpenCV's own font has ASCII only.
    text = mark.text.encode("ascii", "replace").decode()
    (width, height), base = cv2.getTextSize(text, _FONT, _GLYPH * _SCALE, _SCALE // 2)
    before = {"start": 0.0, "middle": width / 2, "end": float(width)}[mark.anchor]
    x, y = (value * _SCALE for value in mark.at)
    if not mark.is_upright:
        place = (round(x - before), round(y))
        cv2.putText(canvas, text, place, _FONT, _GLYPH * _SCALE, colour, _SCALE // 2, cv2.LINE_AA)
        return
    flat = np.full((height + base, width, 3), _WHITE, np.uint8)
    cv2.putText(flat, text, (0, height), _FONT, _GLYPH * _SCALE, colour, _SCALE // 2, cv2.LINE_AA)
    upright = np.rot90(flat)
    top, left = round(y + before - width), max(0, round(x - height))
    canvas[top : top + width, left : left + height + base] = upright


def _px(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0] * _SCALE), round(point[1] * _SCALE)
