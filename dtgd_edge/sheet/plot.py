"""Curves, bars and dots as inline SVG; colours come from the sheet's style.

A plot is a list of marks in pixels, each with the name of a style, so that others can draw it too.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

HEIGHT = 264
WIDTH = 360
LEFT = 44
_RIGHT, _TOP, _BOTTOM = 14, 16, 44  # the other margins
_TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line between two points."""

    style: str
    start: Point
    end: Point

    def svg(self) -> str:
        places = (*self.start, *self.end)
        return '<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>'.format(self.style, *places)


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points; a closed one encloses an area."""

    style: str
    points: tuple[Point, ...]
    is_closed: bool

    def svg(self) -> str:
        steps = " L".join(f"{x:g} {y:g}" for x, y in self.points)
        return f'<path class="{self.style}" d="M{steps}{"Z" if self.is_closed else ""}"/>'


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, with a note for those who point at it."""

    style: str
    left_top: Point
    width: float
    height: float
    note: str

    def svg(self) -> str:
        return (
            f'<rect class="{self.style}" x="{self.left_top[0]:g}" y="{self.left_top[1]:g}" '
            f'width="{self.width:.3g}" height="{self.height:.4g}"><title>{escape(self.note)}</title></rect>'
        )


@dataclass(frozen=True, slots=True)
class Dot:
    """A circle, with a note if it has something to say."""

    style: str
    at: Point
    radius: float
    note: str

    def svg(self) -> str:
        start = f'<circle class="{self.style}" cx="{self.at[0]:g}" cy="{self.at[1]:g}" r="{self.radius:g}"'
        return f"{start}><title>{escape(self.note)}</title></circle>" if self.note else f"{start}/>"


@dataclass(frozen=True, slots=True)
class Text:
    """Words at a point; `is_upright`: read from below to above."""

    style: str
    at: Point
    text: str
    anchor: str
    is_upright: bool = False

    def svg(self) -> str:
        x, y = self.at
        place = f'x="{x:g}" y="{y:g}"'
        if self.is_upright:
            place = f'transform="translate({x:g} {y:g}) rotate(-90)"'
        return f'<text class="{self.style}" text-anchor="{self.anchor}" {place}>{escape(self.text)}</text>'


Mark = Line | Path | Bar | Dot | Text


class Plot:
    """A rectangle with axes; x and y are in the data's units, the marks in the order they were made.

    Args:
        title: for those who cannot see it.
        x_range, y_range: of the axes.
        width_px: of the whole; its height is HEIGHT.
        left_px: room for the numbers of the y axis and its label.
    """

    def __init__(
        self, title: str, x_range: Point, y_range: Point, width_px: int = WIDTH, left_px: int = LEFT
    ) -> None:
        self.title = title
        self.width_px = width_px
        self.marks: list[Mark] = []
        self.top_px = _TOP
        self._x_range, self._y_range = x_range, y_range
        self._left, self._right, self._bottom = left_px, width_px - _RIGHT, HEIGHT - _BOTTOM

    @property
    def middle_px(self) -> float:
        """Middle of the x axis."""
        return (self._left + self._right) / 2

    def x(self, value: float) -> float:
        low, high = self._x_range
        return round(self._left + (value - low) / (high - low) * (self._right - self._left), 1)

    def y(self, value: float) -> float:
        low, high = self._y_range
        return round(self._bottom - (value - low) / (high - low) * (self._bottom - _TOP), 1)

    def axes(self, x_label: str, y_label: str, x_ticks: Iterable[Point], y_ticks: Iterable[Point]) -> None:
        """Grid and labels; a tick is a place and the number to write there."""
        for at, number in x_ticks:
            self.line((at, self._y_range[0]), (at, self._y_range[1]), "grid")
            self.text(self.x(at), self._bottom + 15, f"{number:g}", "middle")
        for at, number in y_ticks:
            self.line((self._x_range[0], at), (self._x_range[1], at), "grid")
            self.text(self._left - 6, self.y(at) + 4, f"{number:g}", "end")
        self.text(self.middle_px, HEIGHT - 8, x_label, "middle", "label")
        self.marks.append(Text("label", (11, (_TOP + self._bottom) / 2), y_label, "middle", is_upright=True))

    def line(self, start: Point, end: Point, style: str) -> None:
        self.marks.append(Line(style, self._place(start), self._place(end)))

    def path(self, points: Sequence[Point], style: str, is_area: bool = False) -> None:
        """A line through points; an area reaches down to the x axis."""
        if is_area:
            points = [(points[0][0], self._y_range[0]), *points, (points[-1][0], self._y_range[0])]
        self.marks.append(Path(style, tuple(map(self._place, points)), is_area))

    def bar(self, near: Point, far: Point, style: str, note: str) -> None:
        """A bar between two corners, with a note for those who point at it."""
        left, right = sorted((self.x(near[0]), self.x(far[0])))
        top, bottom = sorted((self.y(near[1]), self.y(far[1])))
        self.marks.append(Bar(style, (left + 0.5, top), max(right - left - 1, 1), bottom - top, note))

    def dot(self, at: Point, style: str, note: str = "", radius_px: float = 5) -> None:
        self.marks.append(Dot(style, self._place(at), radius_px, note))

    def text(self, x_px: float, y_px: float, text: str, anchor: str, style: str = "tick") -> None:
        self.marks.append(Text(style, (x_px, y_px), text, anchor))

    def svg(self) -> str:
        return (
            f'<svg viewBox="0 0 {self.width_px} {HEIGHT}" role="img" aria-label="{escape(self.title)}">'
            + "".join(mark.svg() for mark in self.marks)
            + "</svg>"
        )

    def _place(self, point: Point) -> Point:
        return self.x(point[0]), self.y(point[1])


def round_numbers(low: float, high: float) -> list[float]:
    """About five round numbers between two others."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]
