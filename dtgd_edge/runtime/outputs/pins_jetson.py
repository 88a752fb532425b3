"""Pins of a Jetson's 40-pin header, through NVIDIA's library."""

import Jetson.GPIO as GPIO

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.settings import GpioConfig


class JetsonPins:
    """Pins by their number on the header, held until closed.

    Raises:
        SinkError: a pin cannot be an output or is in use.
    """

    def __init__(self, config: GpioConfig) -> None:
        self._is_active_low = config.is_active_low
        self._pins = list(config.pins().values())
        try:
            GPIO.setmode(GPIO.BOARD)
            GPIO.setup(self._pins, GPIO.OUT, initial=self._level(False))
        except (OSError, ValueError, RuntimeError) as exc:
            raise SinkError(
                f"pins {self._pins} cannot be taken ({exc}); expected free pins of the header that are set "
                "up for GPIO; run jetson-io, correct [outputs.gpio]"
            ) from exc

    def set(self, levels: dict[int, bool]) -> None:
        try:
            for pin, is_on in levels.items():
                GPIO.output(pin, self._level(is_on))
        except (OSError, ValueError, RuntimeError) as exc:
            raise SinkError(f"pins {list(levels)} cannot be set ({exc}); expected to hold them") from exc

    def close(self) -> None:
        # Not GPIO.cleanup: it makes inputs of the pins, and the safe state would go with them.
        self._pins = []

    def _level(self, is_on: bool) -> int:
        return int(GPIO.HIGH if is_on is not self._is_active_low else GPIO.LOW)
