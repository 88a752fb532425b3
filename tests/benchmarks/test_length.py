"""Lengths with their units."""

import pytest

from dtgd_edge.benchmarks.length import length_text, mm_from_text
from dtgd_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "mm"),
    [
        ("0.3mm", 0.3),
        ("80 mm", 80),
        ("30um", 0.03),
        ("30µm", 0.03),
        ("1.2cm", 12),
        ("0.1in", 2.54),
        ("1M", 1000),
    ],
)
def test_units(text: str, mm: float) -> None:
    assert mm_from_text(text, "--x") == pytest.approx(mm, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.3", ("no unit", "0.3mm")),
        ("3 px", ("'px'", "um, mm, cm, m or in")),
        ("mm", ("no length", "0.3mm")),
        ("1.2.3mm", ("no length",)),
        ("-1mm", ("no length",)),
        ("0mm", ("more than 0",)),
        ("1e999mm", ("no length",)),
        ("", ("no length",)),
    ],
)
def test_what_is_no_length(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        mm_from_text(text, "--smallest-defect")
    for word in ("--smallest-defect", *words):
        assert word in str(raised.value)


def test_small_lengths_are_in_micrometres() -> None:
    assert [length_text(mm) for mm in (0.0821, 0.3125, 80.0)] == ["82.1 um", "0.312 mm", "80 mm"]
