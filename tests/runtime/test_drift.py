"""Drift: few false alarms, small shifts found, told once and told again when it is over."""

import math
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.cusum import Cusum, Reference, alarm_limit, average_run_length
from dtgd_edge.runtime.drift import Drift, DriftConfig, Look
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector, Opened
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict
from tests.runtime.fakes import GreyDevice


@pytest.mark.parametrize(("allowance", "limit"), [(0.25, 6.0), (0.5, 3.0)])
def test_the_stated_run_length_is_the_one_that_is_measured(allowance: float, limit: float) -> None:
    numbers = np.random.default_rng(1).standard_normal(200_000)
    alarms, cusum = 0, Cusum(allowance, limit)
    for number in numbers:
        cusum.add(float(number))
        if cusum.is_away:
            alarms, cusum = alarms + 1, Cusum(allowance, limit)
    measured = len(numbers) / alarms
    assert measured == pytest.approx(average_run_length(allowance, limit), rel=0.1)


def test_the_limit_is_the_one_that_gives_the_run_length() -> None:
    # A reference without an error of its own needs no reserve.
    limit = alarm_limit(0.25, 1e6, 10**12)
    assert average_run_length(0.25, limit) == pytest.approx(1e6, rel=0.01) and 20 < limit < 30
    assert alarm_limit(0.25, 1e6, 100) > alarm_limit(0.25, 1e6, 1000) > limit


@pytest.mark.parametrize("reference", [100, 500])
def test_no_false_alarm_whatever_the_scores_look_like_and_shifts_are_found(reference: int) -> None:
    rng = np.random.default_rng(2)
    delays = []
    for _ in range(10):
        # Far from normal: what matters is the order.
        normal = Reference(rng.lognormal(0.0, 1.0, reference))
        cusum = Cusum(0.25, alarm_limit(0.25, 1e5, reference))
        for number in rng.lognormal(0.0, 1.0, 3000):
            cusum.add(normal.normal_rank(float(number)))
            assert not cusum.is_away
        count = 0
        while not cusum.is_away:
            cusum.add(normal.normal_rank(float(rng.lognormal(1.0, 1.0))))
            count += 1
        delays.append(count)
    assert np.median(delays) < 100


def test_one_odd_part_is_no_alarm_and_ties_lie_in_the_middle() -> None:
    normal = Reference(np.linspace(0.0, 1.0, 101))
    assert normal.normal_rank(0.5) == pytest.approx(0.0, abs=1e-9)
    assert 2.0 < normal.normal_rank(1e30) < 3.0 and normal.normal_rank(math.inf) < 3.0
    assert Reference([1.0] * 50).normal_rank(1.0) == pytest.approx(0.0, abs=1e-9)


def test_a_look_at_light_and_focus() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(60, 180, (120, 160, 3), np.uint8)
    look, darker = Look.of(image), Look.of((image * 0.7).astype(np.uint8))
    assert look.brightness == pytest.approx(120 / 255, abs=0.02)
    assert darker.brightness < 0.75 * look.brightness and darker.contrast < 0.75 * look.contrast
    assert darker.sharpness == pytest.approx(look.sharpness, rel=0.02)
    blurred = (image[:, :-2].astype(np.int64) + image[:, 1:-1] + image[:, 2:]) // 3
    assert Look.of(blurred.astype(np.uint8)).sharpness < 0.8 * look.sharpness
    assert Look.of(np.full((10, 10), 7, np.uint8)).sharpness == 0.0
    wide = Look.of(image.astype(np.uint16) * 16, sensor_bits=12)
    assert wide.brightness == pytest.approx(look.brightness, rel=0.01)


class Line:
    """Frames with a given light and score, and what was told."""

    def __init__(self, bundle: Bundle) -> None:
        self.told: list[Event] = []
        events = Events()
        events.listen(self.told.append)
        self.device = GreyDevice()
        self.bundle = bundle
        self.live = LiveInspector(Opened.of(Path("tiny.dtgd"), bundle, self.device), events)
        self.drift = Drift(self.live, DriftConfig(reference_parts=100), events)
        self.rng = np.random.default_rng(4)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def run(self, count: int, *, light: float = 120.0, score: float = 0.5, decision: str = "OK") -> None:
        for index in range(count):
            grey = light + self.rng.normal(0.0, 2.0)
            image = self.rng.normal(grey, 20.0, (16, 32)).clip(0, 255).astype(np.uint8)
            value = score + self.rng.normal(0.0, 0.1)
            self.drift.write(Verdict(Decision(decision), index, 1.0, value), Frame(image, index))


@pytest.fixture
def line(tiny_bundle: Bundle) -> Line:
    return Line(tiny_bundle)


def test_a_quiet_line_is_told_nothing(line: Line) -> None:
    line.run(2500)
    assert not line.told and line.drift.moved == ()


def test_light_that_moves_is_told_once_with_what_to_do_and_again_when_it_is_back(line: Line) -> None:
    line.run(300)
    line.run(600, light=110.0)
    assert line.kinds == ["light or focus moved"] and line.told[0].is_alarm
    assert "clean lamp and lens" in line.told[0].detail and line.drift.moved == ("brightness",)
    line.run(600)
    assert line.kinds == ["light or focus moved", "light or focus back"] and not line.told[1].is_alarm


def test_light_that_rejects_every_part_is_found_too(line: Line) -> None:
    line.run(300)
    line.run(300, light=80.0, decision="NG")
    assert line.kinds[0] == "light or focus moved" and "score" not in line.drift.moved


def test_scores_of_accepted_parts_that_move_are_told(line: Line) -> None:
    line.run(300)
    line.run(300, score=0.6)
    assert line.kinds == ["scores moved"] and "calibrate again" in line.told[0].detail
    assert line.drift.moved == ("score",)


def test_rejected_parts_do_not_move_the_scores(line: Line) -> None:
    line.run(300)
    line.run(300, score=5.0, decision="NG")
    line.run(300, score=5.0, decision="NO_DECISION")
    assert not line.told


def test_another_bundle_has_scores_of_its_own(line: Line) -> None:
    line.run(300)
    line.live.install(Opened.of(Path("other.dtgd"), line.bundle, line.device)).close()
    line.run(500, score=3.0)
    assert not line.told


@pytest.mark.parametrize("bad", [{"reference_parts": 10}, {"score_shift": 0.1}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="drift cannot watch"):
        DriftConfig(**bad)  # type: ignore[arg-type]
