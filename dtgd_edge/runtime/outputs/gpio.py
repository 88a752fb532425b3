"""Digital outputs: each signal on a pin."""

from typing import Protocol

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.settings import GpioConfig
from dtgd_edge.runtime.reject.output import Commands
from dtgd_edge.runtime.reject.signals import Signals
from dtgd_edge.verdict import Decision


class Pins(Protocol):
    """Output pins that are held. Structural: any class with these members is one."""

    def set(self, levels: dict[int, bool]) -> None:
        """Put pins on or off; whether on is high or low is the matter of whoever opened them.

        Raises:
            SinkError: it did not work.
        """
        ...

    def close(self) -> None:
        """Give the pins back; closing twice is fine."""
        ...


class GpioOutput:
    """Shows signals on pins; only pins whose signal changed are touched.

    Args:
        config: which pins.
        pins: to use instead of the board's.
    """

    def __init__(self, config: GpioConfig, pins: Pins | None = None) -> None:
        self._config = config
        self._pins = pins
        self._levels: dict[int, bool] = {}
        self.name = f"gpio {config.chip}"
        self.is_required = config.is_required
        self.is_up = True

    def open(self, commands: Commands) -> None:
        if self._pins is None:
            self._pins = open_pins(self._config)

    def show(self, signals: Signals) -> None:
        assert self._pins is not None, "open comes first"
        result = signals.result
        wanted = {
            "reject": signals.is_rejecting,
            "ready": signals.is_ready,
            "busy": signals.is_busy,
            "valid": signals.is_result_valid,
            "ng": result is not None and result.decision is Decision.NG,
            "stop": signals.is_stopped,
            "heartbeat": signals.heartbeat,
        }
        levels = {pin: wanted[name] for name, pin in self._config.pins().items()}
        changed = {pin: level for pin, level in levels.items() if self._levels.get(pin) is not level}
        if changed:
            self._pins.set(changed)
            self._levels |= changed

    def close(self) -> None:
        if self._pins is not None:
            self._pins.close()


def open_pins(config: GpioConfig) -> Pins:
    """Take the pins of a board as outputs, all off.

    Raises:
        SinkError: no library, no chip, or a pin is in use.
    """
    missing = None
    if config.library in ("auto", "gpiod"):
        try:
            from dtgd_edge.runtime.outputs.pins_gpiod import GpiodPins

            return GpiodPins(config)
        except ImportError as exc:
            missing = exc
    if config.library in ("auto", "jetson"):
        try:
            from dtgd_edge.runtime.outputs.pins_jetson import JetsonPins

            return JetsonPins(config)
        except ImportError as exc:
            missing = exc
    raise SinkError(
        f"no library for digital outputs is installed ({missing}); expected gpiod or Jetson.GPIO; "
        "run: pip install 'gpiod>=2', or on a Jetson: pip install Jetson.GPIO"
    )
