"""The machine's fingerprint: what a timing is worth nothing without."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtgd_edge.benchmarks.nvml import Nvml
from dtgd_edge.benchmarks.sensors import Sensor, SensorWatch, usable_cpus
from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime.cuda_driver import cuda_gpus
from dtgd_edge.runtime.doctor.finding import file_text
from dtgd_edge.runtime.doctor.jetson import board_name, l4t_version, power_mode
from dtgd_edge.runtime.session import usable_cores
from dtgd_edge.versions import installed_versions

PACKAGES = (
    "dtgd-edge",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "opencv-python",
    "opencv-python-headless",
    "tensorrt",
    "tensorrt-rtx",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a measurement was made.

    Attributes:
        cpu: model name.
        cores: usable by this process.
        memory_mib: installed.
        board: Jetson or device-tree model; "" elsewhere.
        system: kernel and architecture.
        python: version.
        packages: versions of the libraries that are installed, and of the NVIDIA driver, its CUDA and L4T.
        load: one-minute load average when the fingerprint was taken; None where there is none.
        gpus: NVIDIA devices by name, as CUDA numbers them.
        power_mode: Jetson's power mode, the governor and limits of the CPU's clock, power limits of GPUs;
            "" where nothing of it can be read, as in most virtual machines.
        sensors: clocks, temperatures and powers over the time of the measurement.
    """

    cpu: str
    cores: int
    memory_mib: int
    board: str
    system: str
    python: str
    packages: dict[str, str]
    load: float | None
    gpus: tuple[str, ...] = ()
    power_mode: str = ""
    sensors: tuple[Sensor, ...] = ()

    def identity(self) -> dict[str, str]:
        """What must be equal for times to be comparable, by name.

        Versions are left out: what a new one costs is what a comparison is for. So is the memory, of
        which a kernel keeps more or less to itself.
        """
        return {
            "CPU": self.cpu,
            "cores": str(self.cores),
            "board": self.board or "none",
            "GPU": ", ".join(self.gpus) or "none",
            "power mode": self.power_mode or "unknown",
        }


def this_machine(
    packages: Sequence[str] = PACKAGES, root: Path = Path("/"), watch: SensorWatch | None = None
) -> Machine:
    """Take the fingerprint.

    Args:
        packages: the libraries whose versions matter, if they are installed.
        root: of the file tree, "/" on a real machine.
        watch: has looked at the sensors during the measurement; None: they are read once, now.
    """
    nvml = Nvml.open()
    gpus, cuda = _gpus()
    versions = installed_versions(packages)
    versions |= {"NVIDIA driver": nvml.driver() or ""} if nvml is not None else {}
    versions |= {"CUDA": cuda, "L4T": ".".join(map(str, l4t_version(root)))}
    modes = [_jetson_mode(root), _cpu_mode(root), *_gpu_limits(nvml)]
    if nvml is not None:
        nvml.close()
    if watch is None:
        with SensorWatch(root) as watch:
            watch.look()
    return Machine(
        cpu=_cpu(root),
        cores=usable_cores(),
        memory_mib=_memory_mib(root),
        board=board_name(root),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version for name, version in versions.items() if version},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        gpus=gpus,
        power_mode="; ".join(filter(None, modes)),
        sensors=watch.sensors(),
    )


def _cpu(root: Path) -> str:
    for line in file_text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _memory_mib(root: Path) -> int:
    for line in file_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return 0


def _gpus() -> tuple[tuple[str, ...], str]:
    """Names of the devices, and the CUDA version that their driver serves."""
    try:
        gpus = cuda_gpus()
    except BackendUnavailable:
        return (), ""
    return tuple(gpu.name for gpu in gpus), gpus[0].driver


def _jetson_mode(root: Path) -> str:
    mode = power_mode(root) if l4t_version(root) else None
    return "" if mode is None else str(mode)


def _cpu_mode(root: Path) -> str:
    """Governor and limits of the cores' clocks: "CPU schedutil, 800 to 3400 MHz"; of all kinds of cores."""
    modes = []
    for cpu in usable_cpus(root):
        names = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
        governor, low, high = (file_text(cpu / "cpufreq" / name) for name in names)
        if governor and low.isdecimal() and high.isdecimal():
            modes.append(f"CPU {governor}, {int(low) // 1000} to {int(high) // 1000} MHz")
    return "; ".join(dict.fromkeys(modes))


def _gpu_limits(nvml: Nvml | None) -> list[str]:
    limits = [nvml.power_limit_w(gpu) for gpu in range(len(nvml))] if nvml is not None else []
    return [f"GPU {gpu} up to {limit:.0f} W" for gpu, limit in enumerate(limits) if limit is not None]
