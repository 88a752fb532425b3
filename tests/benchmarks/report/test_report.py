"""The page stands alone and says what was measured; dots and deadlines lie where the numbers are."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.benchmarks.baseline import compare
from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.report import page_from_timings, stage_rows, timings_words, write_page
from dtgd_edge.benchmarks.report.charts import MOST_DOTS, Series, latency_chart, series_of, share_chart
from dtgd_edge.benchmarks.report.picture import write_plot
from dtgd_edge.benchmarks.sensors import Sensor
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.percentiles import Percentiles
from tests.benchmarks.made import made_timings

PACE = Pace(parts_per_minute=3000)  # a part in 20 ms


def takt_timings() -> Timings:
    """66 parts, the last of which come late."""
    return made_timings([10.0] * 60 + [30.0] * 6, PACE)


class Reader(HTMLParser):
    """A page's words, links and tags; a tag that is closed out of turn is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.links: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + "\n"


def test_the_page_says_what_was_measured_and_where(tmp_path: Path) -> None:
    timings = takt_timings()
    machine = replace(
        timings.measurements[0].machine,
        power_mode="15W (nvpmodel 0)",
        sensors=(Sensor("tj", "°C", 40, 50, 48),),
    )
    timings = replace(
        timings, measurements=tuple(replace(measured, machine=machine) for measured in timings.measurements)
    )
    write_page(tmp_path / "new" / "x.html", timings)
    page = Reader((tmp_path / "new" / "x.html").read_text("utf-8"))
    for words in (
        "15W (nvpmodel 0)",
        "tj 48 °C (40 to 50)",
        "f" * 64,
        "<b>drawn.dtgd",
        "3000 parts a minute",
        machine.cpu,
        "Late verdicts",
        *(f"{name} {version}" for name, version in machine.packages.items()),
    ):
        assert words in page.words
    assert page.links == ["data:,"] and "script" not in page.tags and "b" in page.tags
    assert "Baseline" not in page.words


def test_the_page_has_a_row_per_stage_and_the_baseline() -> None:
    then, now = made_timings([10.0] * 60), made_timings([15.0] * 60)
    html = page_from_timings(now, compare(now, then, "x.json"))
    assert "slower than the baseline, beyond chance: score +50%, total +50%" in Reader(html).words
    stages = re.findall(r'<th scope="row">([a-z ]+)</th><td>60</td><td>([\d.]+)</td>', html)
    assert dict(stages[:6])["score"] == "15.00" and len(stages) == 12
    assert html.count("<td>slower</td>") == 2


def test_late_verdicts_are_counted_in_words() -> None:
    ((takt, *_),) = [timings_words(takt_timings())]
    assert takt.startswith("line/<b>drawn.dtgd at 3000 parts a minute: 6 of 66 verdicts late (9.1%, ")
    assert "after the next part is due" in takt


def test_a_busy_machine_is_named() -> None:
    timings = made_timings([10.0] * 60)
    first = timings.measurements[0]
    for waited_ms, is_busy in ((0.1, False), (4.0, True)):
        stages = {**first.stages_ms, "no core": Percentiles.of([waited_ms] * 60)}
        busy = replace(timings, measurements=(replace(first, stages_ms=stages), timings.measurements[1]))
        said = [words for words in timings_words(busy) if "4.0 of the median frame's 10.0 ms" in words]
        assert bool(said) == is_busy


def test_gaps_of_a_stage_stand_below_each_other() -> None:
    timings = made_timings([5.0] * 10 + [7.0] * 10, Pace(idle_gaps_ms=(0.0, 50.0)))
    rows = stage_rows(timings.measurements[0])
    scores = [(stage, p.p50) for stage, p in rows.items() if stage.startswith("score")]
    assert scores == [("score after 0 ms", 5.0), ("score after 50 ms", 7.0)]


def test_dots_and_deadline_lie_where_the_numbers_are() -> None:
    series = [Series("a", "series0", (1.0, 10.0, 100.0))]
    svg = latency_chart(series, 10.0).svg()
    dots = re.findall(r'class="series0" cx="([\d.]+)" cy="([\d.]+)"', svg)
    heights = [float(y) for _, y in dots]
    # A logarithmic axis: equal ratios are equal distances.
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    (line,) = re.findall(r'class="threshold" x1="[\d.]+" y1="([\d.]+)"', svg)
    assert float(line) == pytest.approx(heights[1], abs=0.1)
    assert "the next part is due after 10 ms" in svg and "threshold" not in latency_chart(series, None).svg()


def test_the_slowest_of_many_frames_is_seen() -> None:
    times = [5.0] * 10_000
    times[7777] = 500.0
    plot = latency_chart([Series("a", "series0", tuple(times))], None)
    dots = [mark for mark in plot.marks if mark.style == "series0"]
    assert len(dots) <= MOST_DOTS
    assert sum(plot.y(np.log10(500.0)) == dot.at[1] for dot in dots) == 1  # type: ignore[union-attr]


def test_the_curve_rises_to_the_share_of_frames() -> None:
    plot = share_chart([Series("a", "series0", (10.0, 10.0, 10.0, 20.0))], 15.0)
    (curve,) = (mark for mark in plot.marks if mark.style == "curve series0")
    at_10, at_20 = plot.x(1.0), plot.x(np.log10(20.0))
    assert (at_10, plot.y(0.75)) in curve.points  # type: ignore[union-attr]
    assert (at_20, plot.y(1.0)) in curve.points  # type: ignore[union-attr]


@pytest.mark.parametrize("times", [(5.0,), (5.0, 5.0), (0.0001, 4000.0), (9.99, 10.0), (1.0, 1.0)])
def test_any_times_have_axes(times: tuple[float, ...]) -> None:
    for deadline_ms in (None, 0.5, 9000.0):
        for chart in (latency_chart, share_chart):
            plot = chart([Series("a", "series0", times)], deadline_ms)
            assert 2 <= sum(mark.style == "grid" for mark in plot.marks) <= 22
            assert "nan" not in plot.svg() and "inf" not in plot.svg()


def test_the_picture_shows_the_dots_in_their_colour(tmp_path: Path) -> None:
    write_plot(tmp_path / "new" / "x.png", takt_timings())
    picture = cv2.imread(str(tmp_path / "new" / "x.png"))
    assert picture is not None and picture.shape[1] == 2 * (560 + 360)
    blue, red = (222, 111, 47), (50, 37, 194)
    for colour in (blue, red):
        assert (picture == colour).all(axis=2).sum() > 100
    assert (picture == 255).all(axis=2).mean() > 0.8


def test_no_more_curves_than_colours() -> None:
    timings = made_timings([1.0] * 70, Pace(idle_gaps_ms=tuple(map(float, range(7)))))
    assert [each.style for each in series_of(timings)] == [f"series{n}" for n in range(6)]
    assert series_of(timings)[1].name == "<b>drawn.dtgd after 1 ms"
