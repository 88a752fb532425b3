"""NVIDIA's GPUs as the driver's management library (NVML) sees them; called through ctypes, as it lies with
every driver.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from dtgd_edge.runtime.cuda_driver import load_driver

LIBRARY = "libnvidia-ml.so.1"
_TEMPERATURE_OF_GPU, _CLOCK_OF_SM = 0, 1  # nvmlTemperatureSensors_t, nvmlClockType_t
_TEXT_BYTES = 96


class Nvml:
    """The library, started; `close` stops it. What it cannot say of a GPU is None."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = ctypes.c_uint(0)
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        self._devices = []
        for index in range(count.value):
            device = ctypes.c_void_p()
            if self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device)):
                self._devices.append(device)

    @classmethod
    def open(cls, load: Callable[[str], Any] = load_driver) -> "Nvml | None":
        """Start the library; None where there is none, or one that does not start."""
        try:
            library = load(LIBRARY)
            return cls(library) if library.nvmlInit_v2() == 0 else None
        except (OSError, AttributeError):  # none, or a stub of it, as containers have it
            return None

    def __len__(self) -> int:
        return len(self._devices)

    def driver(self) -> str | None:
        """Version of the driver: "570.124.06"."""
        return self._text("nvmlSystemGetDriverVersion")

    def name(self, gpu: int) -> str | None:
        """What the driver calls a GPU."""
        return self._text("nvmlDeviceGetName", self._devices[gpu])

    def clock_mhz(self, gpu: int) -> float | None:
        """Clock of the multiprocessors now."""
        return self._number("nvmlDeviceGetClockInfo", self._devices[gpu], ctypes.c_int(_CLOCK_OF_SM))

    def temperature_c(self, gpu: int) -> float | None:
        """Temperature of the chip now."""
        return self._number("nvmlDeviceGetTemperature", self._devices[gpu], ctypes.c_int(_TEMPERATURE_OF_GPU))

    def power_w(self, gpu: int) -> float | None:
        """What the GPU takes now; since Ampere the mean over a second."""
        return _thousandth(self._number("nvmlDeviceGetPowerUsage", self._devices[gpu]))

    def power_limit_w(self, gpu: int) -> float | None:
        """What it may take."""
        return _thousandth(self._number("nvmlDeviceGetEnforcedPowerLimit", self._devices[gpu]))

    def close(self) -> None:
        """Stop the library."""
        self._call("nvmlShutdown")

    def _call(self, function: str, *arguments: Any) -> bool:
        try:
            return bool(getattr(self._library, function)(*arguments) == 0)
        except AttributeError:  # an older library
            return False

    def _number(self, function: str, *arguments: Any) -> float | None:
        value = ctypes.c_uint(0)
        return float(value.value) if self._call(function, *arguments, ctypes.byref(value)) else None

    def _text(self, function: str, *arguments: Any) -> str | None:
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        is_said = self._call(function, *arguments, text, ctypes.c_uint(_TEXT_BYTES))
        return text.value.decode(errors="replace") if is_said else None


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
