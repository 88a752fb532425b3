"""Pins through libgpiod 2, the kernel's own interface."""

import gpiod
from gpiod.line import Direction, Value

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.settings import GpioConfig


class GpiodPins:
    """Lines of one chip, held until closed.

    Raises:
        SinkError: there is no such chip or line, or it is in use.
    """

    def __init__(self, config: GpioConfig) -> None:
        self._chip = config.chip
        settings = gpiod.LineSettings(
            direction=Direction.OUTPUT, output_value=Value.INACTIVE, active_low=config.is_active_low
        )
        lines = tuple(config.pins().values())
        try:
            self._request = gpiod.request_lines(config.chip, consumer="dtgd-edge", config={lines: settings})
        except (OSError, ValueError) as exc:
            raise SinkError(
                f"lines {list(lines)} of {config.chip} cannot be taken ({exc}); "
                "expected free lines of a chip that this user may use; see gpioinfo, correct [outputs.gpio]"
            ) from exc

    def set(self, levels: dict[int, bool]) -> None:
        values = {pin: Value.ACTIVE if is_on else Value.INACTIVE for pin, is_on in levels.items()}
        try:
            self._request.set_values(values)
        except (OSError, gpiod.RequestReleasedError) as exc:
            raise SinkError(
                f"lines {list(levels)} of {self._chip} cannot be set ({exc}); expected to hold them"
            ) from exc

    def close(self) -> None:
        # The kernel leaves most chips' lines at their last level.
        try:
            self._request.release()
        except gpiod.RequestReleasedError:
            return
