"""Two alarms about what moves slowly: the light or the focus, and the scores of accepted parts."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.cusum import Cusum, Reference, alarm_limit
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.live import LiveInspector
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

# Lines of pixels that are looked at, per frame; each is looked at whole, for the focus.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """The table [drift] of a line file.

    Attributes:
        reference_parts: so many parts at the start say what is normal.
        light_shift, score_shift: smallest lasting shift that is to be found, in standard deviations of
            the reference.
        parts_between_false_alarms: that many parts go by, on average, between two false alarms of one
            number; there are four numbers. It holds for parts that do not depend on each other.
    """

    reference_parts: int = 500
    light_shift: float = 1.0
    score_shift: float = 0.5
    parts_between_false_alarms: float = 1_000_000.0

    def __post_init__(self) -> None:
        if (
            not 100 <= self.reference_parts <= 100_000
            or not 0.5 <= self.light_shift <= 3.0
            or not 0.5 <= self.score_shift <= 3.0
            or not 1e3 <= self.parts_between_false_alarms <= 1e9
        ):
            raise ConfigError(
                f"drift cannot watch with {self}; expected reference_parts 100 to 100000, light_shift and "
                "score_shift 0.5 to 3 and parts_between_false_alarms 1e3 to 1e9; correct the key"
            )


@dataclass(frozen=True, slots=True)
class Look:
    """Light and focus of a frame.

    Attributes:
        brightness: mean, as a share of full scale.
        contrast: standard deviation, as a share of full scale.
        sharpness: mean step between neighbours in a row, in units of the contrast, so that a change of
            the light alone does not move it; 0 for a flat frame.
    """

    brightness: float
    contrast: float
    sharpness: float

    @classmethod
    def of(cls, image: NDArray[Any], sensor_bits: int = 16) -> "Look":
        """Measure a frame.

        Args:
            image: uint8 or uint16, [H, W] or [H, W, C].
            sensor_bits: significant bits of a 16-bit frame.
        """
        full_scale = 255 if image.dtype == np.uint8 else (1 << sensor_bits) - 1
        rows = image[:: max(1, len(image) // _ROWS)].astype(np.float32)
        if rows.ndim == 3:
            rows = rows.mean(2)
        contrast = float(rows.std())
        step = float(np.abs(np.diff(rows, axis=1)).mean()) if rows.shape[1] > 1 else 0.0
        return cls(
            float(rows.mean()) / full_scale,
            contrast / full_scale,
            step / contrast if contrast > 1e-3 * full_scale else 0.0,
        )


_ADVICE = {
    "brightness": "the light moved: clean lamp and lens, check the lamp's age, exposure and stray light",
    "contrast": "the light moved: check the angle of the lamp and look for haze, dust or oil on the lens",
    "sharpness": "the focus moved: check lens ring, distance to the part, vibration and dust on the lens",
    "score": (
        "the scores of accepted parts moved: look at the newest parts for a new lot or a worn tool, and "
        "calibrate again with them if they are good"
    ),
}


class Drift(Sink):
    """A sink: tells once when a number has moved, and once when it is back to normal.

    The first parts are the reference. Every later part's number becomes its normalised rank among them,
    so that no shape of its distribution is assumed, and a two-sided cumulative sum (CUSUM) of those says
    when they have moved. Light and focus are those of every part with a score, rejected ones included: a
    lamp that fails may reject them all. Scores are those of accepted parts, and their reference is taken
    anew after a swap. The health gate bounds single frames; this finds what stays within its bounds.

    Args:
        live: says which bundle's scores they are.
        config: how sensitive.
        events: are told.
    """

    def __init__(self, live: LiveInspector, config: DriftConfig, events: Events) -> None:
        self._live = live
        self._config = config
        self._events = events
        self._generation = live.generation
        self._monitors = {name: self._monitor(name) for name in _ADVICE}

    @property
    def moved(self) -> tuple[str, ...]:
        """Numbers that are away from normal now: brightness, contrast, sharpness, score."""
        return tuple(name for name, monitor in self._monitors.items() if monitor.is_away)

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if self._generation != self._live.generation:
            self._generation = self._live.generation
            self._monitors["score"] = self._monitor("score")
        if verdict.score is None or frame.image is None or verdict.decision is Decision.NO_DECISION:
            return
        look = Look.of(frame.image, self._live.manifest.geometry.sensor_bits)
        self._add("brightness", look.brightness)
        self._add("contrast", look.contrast)
        self._add("sharpness", look.sharpness)
        if verdict.decision is Decision.OK:
            self._add("score", verdict.score)

    def close(self) -> None:
        pass

    def _monitor(self, name: str) -> "_Monitor":
        config = self._config
        shift = config.score_shift if name == "score" else config.light_shift
        return _Monitor(config.reference_parts, shift, config.parts_between_false_alarms)

    def _add(self, name: str, value: float) -> None:
        monitor = self._monitors[name]
        was_away = monitor.is_away
        monitor.add(value)
        if monitor.is_away == was_away:
            return
        what = "scores" if name == "score" else "light or focus"
        if was_away:
            self._events.tell(Event(f"{what} back", f"{name} is back to normal"))
            return
        detail = f"{name} is {monitor.recent:.4g}, {monitor.usual:.4g} was usual; {_ADVICE[name]}"
        self._events.tell(Event(f"{what} moved", detail, is_alarm=True))


class _Monitor:
    """One number: its reference, and the cumulative sum of what came after."""

    def __init__(self, reference_parts: int, shift: float, run_length: float) -> None:
        self._first: list[float] = []
        self._reference_parts = reference_parts
        self._shift = shift
        self._run_length = run_length
        self._reference: Reference | None = None
        self._cusum: Cusum | None = None
        self.recent = math.nan

    @property
    def is_away(self) -> bool:
        return self._cusum is not None and self._cusum.is_away

    @property
    def usual(self) -> float:
        """Median of the reference."""
        return math.nan if self._reference is None else self._reference.median

    def add(self, value: float) -> None:
        if self._reference is None or self._cusum is None:
            self._first.append(value)
            if len(self._first) == self._reference_parts:
                allowance = self._shift / 2
                limit = alarm_limit(allowance, self._run_length, self._reference_parts)
                self._reference, self._cusum = Reference(self._first), Cusum(allowance, limit)
                self.recent = self._reference.median
                self._first = []
            return
        # For the text only: about the newest 40 parts.
        self.recent += (value - self.recent) / 20
        self._cusum.add(self._reference.normal_rank(value))
