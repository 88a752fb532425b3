"""Clocks, temperatures and powers of the machine, while something is measured on it.

Read from files of the kernel and from NVML. What cannot be read is absent.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dtgd_edge.benchmarks.nvml import Nvml
from dtgd_edge.runtime.doctor.finding import file_text
from dtgd_edge.runtime.doctor.jetson import gpu_clock

# Other thermal drivers of hwmon say what a thermal zone says too; these of AMD's have none.
_THERMAL_DRIVERS = ("k10temp", "zenpower")
_CPU_MHZ = re.compile(r"^cpu MHz\s*: ([\d.]+)$", re.MULTILINE)
_RAIL = re.compile(r"in(\d+)_label")
_OLD_RAIL = re.compile(r"rail_name_(\d+)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sensor says now.

    Attributes:
        name: as the board calls it: "tj-thermal", "VDD_IN".
        unit: "MHz", "°C" or "W".
        value: in that unit.
    """

    name: str
    unit: str
    value: float


@dataclass(frozen=True, slots=True)
class Sensor:
    """What one sensor said over the time of a measurement.

    Attributes:
        name, unit: as in a reading.
        lowest, highest, last: in that unit.
    """

    name: str
    unit: str
    lowest: float
    highest: float
    last: float

    def __str__(self) -> str:
        low, high, last = (f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in self._values())
        return f"{self.name} {last} {self.unit}" + (f" ({low} to {high})" if low != high else "")

    def _values(self) -> tuple[float, float, float]:
        return self.lowest, self.highest, self.last


class SensorWatch:
    """Looks at the sensors now and then, at most once in `every_s`: a look takes some milliseconds.

    Args:
        root: of the file tree, "/" on a real machine.
        every_s: looks in between are skipped.
    """

    def __init__(self, root: Path = Path("/"), every_s: float = 1.0) -> None:
        self._root, self._every_s = root, every_s
        self._nvml = Nvml.open()
        self._looked: float | None = None
        self._seen: dict[tuple[str, str], list[float]] = {}

    def look(self, is_due: bool = False) -> None:
        """Read all sensors if it is time, or if it is due anyway."""
        now = time.monotonic()
        if not is_due and self._looked is not None and now - self._looked < self._every_s:
            return
        self._looked = now
        for reading in (*read_sensors(self._root), *read_gpus(self._nvml)):
            self._seen.setdefault((reading.name, reading.unit), []).append(reading.value)

    def sensors(self) -> tuple[Sensor, ...]:
        """Summarise all looks so far."""
        return tuple(
            Sensor(name, unit, min(values), max(values), values[-1])
            for (name, unit), values in self._seen.items()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nvml is not None:
            self._nvml.close()


def read_sensors(root: Path = Path("/")) -> list[Reading]:
    """Read what the kernel offers as files: of any Linux machine, and of Jetson boards."""
    return [*_clocks(root), *_temperatures(root), *_powers(root)]


def read_gpus(nvml: Nvml | None) -> list[Reading]:
    """Read what NVML says of each GPU."""
    readings = []
    for gpu in range(len(nvml) if nvml is not None else 0):
        assert nvml is not None
        for what, unit, value in (
            ("clock", "MHz", nvml.clock_mhz(gpu)),
            ("temperature", "°C", nvml.temperature_c(gpu)),
            ("power", "W", nvml.power_w(gpu)),
        ):
            if value is not None:
                readings.append(Reading(f"GPU {gpu} {what}", unit, value))
    return readings


def usable_cpus(root: Path) -> list[Path]:
    """The folders of the cores that this process may use."""
    numbers = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    folders = [root / f"sys/devices/system/cpu/cpu{number}" for number in sorted(numbers)]
    return [folder for folder in folders if folder.is_dir()]


def _clocks(root: Path) -> Iterator[Reading]:
    khz = [_number(cpu / "cpufreq/scaling_cur_freq") for cpu in usable_cpus(root)]
    mhz = [value / 1e3 for value in khz if value is not None]
    if not mhz:  # a virtual machine; x86 only
        mhz = [
            float(v) for v in re.findall(r"^cpu MHz\s*: ([\d.]+)$", file_text(root / "proc/cpuinfo"), re.M)
        ]
    if mhz:
        # The others may be idle.
        yield Reading("fastest CPU core", "MHz", max(mhz))
    device = gpu_clock(root)
    if device is not None and (hz := _number(device / "cur_freq")) is not None:
        yield Reading("GPU clock", "MHz", hz / 1e6)


def _temperatures(root: Path) -> Iterator[Reading]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"), key=_by_number):
        name, milli = file_text(zone / "type"), _number(zone / "temp")
        # A zone whose part is switched off cannot be read, or says -256 degrees.
        if name and milli is not None and milli > -100_000:
            yield Reading(name, "°C", milli / 1e3)
    for chip in _hwmon(root):
        milli = _number(chip / "temp1_input")
        if file_text(chip / "name") in _THERMAL_DRIVERS and milli is not None:
            yield Reading("CPU temperature", "°C", milli / 1e3)


def _powers(root: Path) -> Iterator[Reading]:
    """The rails of a board's power monitors, such as Jetson's INA3221."""
    for chip in _hwmon(root):
        if not file_text(chip / "name").startswith("ina"):
            continue
        for label in sorted(chip.glob("in*_label"), key=_by_number):
            match, name = _RAIL.fullmatch(label.name), file_text(label)
            # "NC" is a channel without a rail, and the sum of the shunt voltages is no rail.
            if match is None or not name or name == "NC" or name.startswith("sum"):
                continue
            volt = _number(chip / f"in{match[1]}_input")
            ampere = _number(chip / f"curr{match[1]}_input")
            if volt is not None and ampere is not None:
                yield Reading(name, "W", volt * ampere / 1e6)
    # JetPack 4 has another driver for the same chip.
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_*")):
        match, name = _OLD_RAIL.fullmatch(label.name), file_text(label)
        milliwatt = _number(label.parent / f"in_power{match[1]}_input") if match else None
        if name and milliwatt is not None:
            yield Reading(name, "W", milliwatt / 1e3)


def _hwmon(root: Path) -> list[Path]:
    return sorted((root / "sys/class/hwmon").glob("hwmon*"), key=_by_number)


def _by_number(path: Path) -> tuple[int, str]:
    number = re.search(r"\d+", path.name)
    return (int(number[0]) if number else 0, path.name)


def _number(path: Path) -> float | None:
    text = file_text(path)
    return float(text) if re.fullmatch(r"-?\d+", text) else None
