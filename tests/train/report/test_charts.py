"""Curves and bars lie where the numbers are."""

import re
from pathlib import Path

import pytest

from dtgd_edge.train.evaluate import PartScore
from dtgd_edge.train.operating import operating_point
from dtgd_edge.train.report.charts import pro_chart, roc_chart, score_histogram

Bar = tuple[str, float, float, int]


def parts(good: list[float], defective: list[float]) -> list[PartScore]:
    return [PartScore(Path("x.png"), "good", False, value) for value in good] + [
        PartScore(Path("x.png"), "pit", True, value) for value in defective
    ]


def bars(svg: str) -> list[Bar]:
    """Style, left, right and number of parts of each bar, in pixels."""
    found = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)".*?<title>(\d+) ', svg)
    return [(style, float(x), float(x) + float(width), int(count)) for style, x, width, count in found]


def threshold_line(svg: str) -> float:
    (x,) = re.findall(r'class="threshold" x1="([\d.]+)"', svg)
    return float(x)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.31, 0.5, 0.7, 3.0])
def test_no_bar_reaches_across_the_threshold(threshold: float) -> None:
    good, defective = [0.1, 0.2, 0.3, 0.31, 0.5, 0.5], [0.4, 0.5, 0.7, 0.70001, 0.9]
    svg = score_histogram(parts(good, defective), threshold)
    line = threshold_line(svg)
    above = {"good": 0, "defective": 0}
    for style, left, right, count in bars(svg):
        assert right <= line + 0.1 or left >= line - 0.1
        above[style] += count * (left >= line - 0.1)
    assert above["good"] == sum(value > threshold for value in good)
    assert above["defective"] == sum(value > threshold for value in defective)
    assert sum(count for *_, count in bars(svg)) == 11


def test_one_wild_score_does_not_squeeze_the_others() -> None:
    svg = score_histogram(parts([0.1 * n for n in range(50)], [6.0, 1000.0]), 5.2)
    assert len({left for style, left, *_ in bars(svg) if style == "good"}) > 10
    assert "and above" in svg


def test_equal_scores() -> None:
    assert [count for *_, count in bars(score_histogram(parts([1.0] * 4, []), 1.0))] == [4]


def test_the_mark_lies_at_the_operating_point() -> None:
    labels, scores = [False] * 4 + [True] * 5, [0.1, 0.2, 0.3, 0.8, 0.4, 0.6, 0.7, 0.9, 1.0]
    svg = roc_chart(parts(scores[:4], scores[4:]), operating_point(labels, scores, 0.5))
    assert svg is not None
    ((x, y),) = re.findall(r'class="own" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(x) == pytest.approx(44 + 0.25 * 302, abs=0.1)
    assert float(y) == pytest.approx(220 - 0.8 * 204, abs=0.1)
    assert roc_chart(parts(scores, []), operating_point([False] * 9, scores, 0.5)) is None


def test_the_pro_curve_ends_at_the_limit() -> None:
    svg = pro_chart([(0.0, 0.0), (0.05, 0.5), (0.3, 1.0)])
    assert svg is not None and 'class="curve" d="M44 220 L94.3 118 L346 16"' in svg
    assert pro_chart([]) is None
