"""Paces: what a user may ask for, how frames are shared out, which verdicts are late."""

import pytest

from dtgd_edge.benchmarks.pace import Pace, Takt, Turn, gaps_from_text
from dtgd_edge.errors import ConfigError


def test_one_after_the_other_subjects_take_turns_with_every_frame() -> None:
    assert list(Pace().turns(3)) == [Turn(1)] * 3
    assert Pace().idle_s(3) == 0.0 and str(Pace()) == "one after the other"


def test_a_line_has_turns_of_ten_parts_and_one_that_is_not_counted() -> None:
    pace = Pace(parts_per_minute=300)
    assert list(pace.turns(25)) == [Turn(10, 1), Turn(10, 1), Turn(5, 1)]
    assert pace.period_ms == 200.0 and pace.idle_s(25) == pytest.approx(28 * 0.2)
    assert str(pace) == "300 parts a minute"


def test_gaps_share_the_frames() -> None:
    pace = Pace(idle_gaps_ms=(0.0, 50.0, 200.0))
    turns = list(pace.turns(35))
    assert {gap: sum(t.frames for t in turns if t.gap_ms == gap) for gap in pace.idle_gaps_ms} == {
        0.0: 12,
        50.0: 12,
        200.0: 11,
    }
    assert [t.gap_ms for t in turns] == [0.0, 50.0, 200.0] * 2
    with pytest.raises(ConfigError, match="2 frames were asked for, with 3 idle gaps"):
        list(pace.turns(2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"parts_per_minute": 0.0}, "0 parts a minute"),
        ({"parts_per_minute": float("nan")}, "nan parts a minute"),
        ({"parts_per_minute": 1e6}, "at most 60000"),
        ({"idle_gaps_ms": (0.0, -1.0)}, "0, -1 ms"),
        ({"parts_per_minute": 60.0, "idle_gaps_ms": (0.0,)}, "leave one out"),
    ],
)
def test_what_no_line_has_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Pace(**arguments)  # type: ignore[arg-type]


def test_gaps_are_read_from_text() -> None:
    assert gaps_from_text("0, 50,1000.5") == (0.0, 50.0, 1000.5)
    for text in ("", "50;100", "50,50", "nan", "1,"):
        with pytest.raises(ConfigError, match="expected different milliseconds"):
            gaps_from_text(text)


def test_a_verdict_is_late_after_the_next_part_is_due() -> None:
    takt = Takt.of([5.0] * 97 + [10.0, 10.1, 30.0], deadline_ms=10.0)
    assert (takt.parts, takt.missed, takt.missed_rate) == (100, 2, 0.02)
    assert takt.margin_ms == pytest.approx(-0.1)
    assert 0.02 < takt.missed_rate_at_most < 0.07
    # Nothing late in 100 does not prove that nothing ever is: the rule of three.
    none = Takt.of([5.0] * 100, deadline_ms=10.0)
    assert none.missed == 0 and none.margin_ms == 5.0
    assert none.missed_rate_at_most == pytest.approx(1 - 0.05**0.01)
