"""Sensors on file trees as boards have them, and a pretend NVML. What cannot be read is absent."""

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from dtgd_edge.benchmarks import sensors
from dtgd_edge.benchmarks.nvml import Nvml
from dtgd_edge.benchmarks.sensors import Reading, Sensor, SensorWatch, read_gpus, read_sensors

CPUS = sorted(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, object]) -> Path:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return root


def jetson(root: Path) -> Path:
    """An Orin's sensors, as JetPack 6 lays them out."""
    hwmon = "sys/class/hwmon/hwmon1"
    return write(
        root,
        {
            "proc/cpuinfo": "processor : 0\nBogoMIPS : 62.50",
            **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": 729600 + 100 * n for n in CPUS},
            "sys/class/devfreq/17000000.gpu/cur_freq": 306000000,
            "sys/class/devfreq/17000000.gpu/min_freq": 306000000,
            "sys/class/devfreq/17000000.gpu/max_freq": 1020000000,
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": 48500,
            "sys/class/thermal/thermal_zone1/type": "cv0-thermal",  # switched off: reading it fails
            "sys/class/thermal/thermal_zone10/type": "tj-thermal",
            "sys/class/thermal/thermal_zone10/temp": 51250,
            f"{hwmon}/name": "ina3221",
            f"{hwmon}/in1_label": "VDD_IN",
            f"{hwmon}/in1_input": 5000,
            f"{hwmon}/curr1_input": 1240,
            f"{hwmon}/in2_label": "VDD_CPU_GPU_CV",
            f"{hwmon}/in2_input": 4992,
            f"{hwmon}/in3_label": "NC",
            f"{hwmon}/in3_input": 0,
            f"{hwmon}/curr3_input": 0,
            f"{hwmon}/in7_label": "sum of shunt voltages",
            f"{hwmon}/in7_input": 12,
            f"{hwmon}/curr7_input": 3,
        },
    )


def test_a_jetsons_clocks_temperatures_and_rails(tmp_path: Path) -> None:
    clock, *others = read_sensors(jetson(tmp_path))
    assert (clock.name, clock.unit) == ("fastest CPU core", "MHz") and clock.value == (
        729600 + 100 * CPUS[-1]
    ) / 1e3
    assert others == [
        Reading("GPU clock", "MHz", 306.0),
        Reading("cpu-thermal", "°C", 48.5),
        Reading("tj-thermal", "°C", 51.25),
        Reading("VDD_IN", "W", pytest.approx(6.2)),  # type: ignore[arg-type]
    ]


def test_the_rails_of_jetpack_4(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    root = write(
        tmp_path, {f"{folder}/rail_name_0": "POM_5V_IN", f"{folder}/in_power0_input": 3120, f"{folder}/x": 1}
    )
    assert read_sensors(root) == [Reading("POM_5V_IN", "W", 3.12)]


def test_a_desktop_has_what_its_kernel_offers(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/cpuinfo": "model name : Ryzen\ncpu MHz\t\t: 2200.000\n\ncpu MHz\t\t: 3394.125",
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 33850,
            "sys/class/hwmon/hwmon1/name": "k10temp",
            "sys/class/hwmon/hwmon1/temp1_input": 61000,
        },
    )
    assert read_sensors(root) == [
        Reading("fastest CPU core", "MHz", 3394.125),
        Reading("CPU temperature", "°C", 61.0),
    ]


def test_nothing_is_invented(tmp_path: Path) -> None:
    assert read_sensors(tmp_path) == []
    broken = {"sys/class/thermal/thermal_zone0/type": "acpitz", "sys/class/thermal/thermal_zone0/temp": "n/a"}
    assert read_sensors(write(tmp_path, broken)) == []


def test_a_watch_keeps_the_extremes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nvml, "open", lambda: None)
    zone = "sys/class/thermal/thermal_zone0"
    with SensorWatch(write(tmp_path, {f"{zone}/type": "cpu"}), every_s=0.0) as watch:
        for milli in (45000, 62000, 58000):
            write(tmp_path, {f"{zone}/temp": milli})
            watch.look()
    assert watch.sensors() == (Sensor("cpu", "°C", 45.0, 62.0, 58.0),)
    assert str(watch.sensors()[0]) == "cpu 58 °C (45 to 62)"


def test_a_watch_does_not_look_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nvml, "open", lambda: None)
    looks: list[Path] = []
    monkeypatch.setattr(sensors, "read_sensors", lambda root: looks.append(root) or [])
    with SensorWatch(tmp_path, every_s=3600) as watch:
        for _ in range(5):
            watch.look()
        watch.look(is_due=True)
    assert len(looks) == 2


class PretendNvml:
    """NVIDIA's library with two GPUs, the second of which does not say what it takes."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.is_up = status, False

    def nvmlInit_v2(self) -> int:
        self.is_up = self.status == 0
        return self.status

    def nvmlShutdown(self) -> int:
        self.is_up = False
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return _set(count, ctypes.c_uint, 2)

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        return _set(device, ctypes.c_void_p, 0x1000 + index.value)

    def nvmlSystemGetDriverVersion(self, text: Any, length: Any) -> int:
        text.value = b"570.124.06"
        return 0

    def nvmlDeviceGetClockInfo(self, device: Any, kind: Any, value: Any) -> int:
        assert kind.value == 1, "the multiprocessors' clock"
        return _set(value, ctypes.c_uint, 1980 if device.value == 0x1000 else 345)

    def nvmlDeviceGetTemperature(self, device: Any, kind: Any, value: Any) -> int:
        return _set(value, ctypes.c_uint, 41)

    def nvmlDeviceGetPowerUsage(self, device: Any, value: Any) -> int:
        return _set(value, ctypes.c_uint, 123456) if device.value == 0x1000 else 3  # not supported

    def nvmlDeviceGetEnforcedPowerLimit(self, device: Any, value: Any) -> int:
        return _set(value, ctypes.c_uint, 700000)


def _set(pointer: Any, kind: type, value: int) -> int:
    ctypes.cast(pointer, ctypes.POINTER(kind)).contents.value = value
    return 0


def test_gpus_by_nvml() -> None:
    library = PretendNvml()
    nvml = Nvml.open(lambda name: library)
    assert nvml is not None and library.is_up and len(nvml) == 2
    assert read_gpus(nvml) == [
        Reading("GPU 0 clock", "MHz", 1980.0),
        Reading("GPU 0 temperature", "°C", 41.0),
        Reading("GPU 0 power", "W", 123.456),
        Reading("GPU 1 clock", "MHz", 345.0),
        Reading("GPU 1 temperature", "°C", 41.0),
    ]
    assert nvml.driver() == "570.124.06" and nvml.power_limit_w(0) == 700.0
    assert nvml.name(0) is None, "a function that this library has not"
    nvml.close()
    assert not library.is_up


def test_no_nvml() -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert Nvml.open(missing) is None and read_gpus(None) == []
    assert Nvml.open(lambda name: object()) is None, "a stub"
    assert Nvml.open(lambda name: PretendNvml(status=9)) is None, "no driver loaded"
