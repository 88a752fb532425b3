"""The machine's fingerprint: what a timing is worth nothing without."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("dtgd-edge", "numpy", "onnxruntime", "opencv-python")


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
        packages: library versions.
        load: one-minute load average when the fingerprint was taken; None where there is none.
    """

    cpu: str
    cores: int
    memory_mib: int
    board: str
    system: str
    python: str
    packages: dict[str, str]
    load: float | None


def this_machine(packages: Sequence[str] = PACKAGES) -> Machine:
    """Take the fingerprint; `packages` are the installed libraries whose versions matter."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=_cpu(),
        cores=cores,
        memory_mib=_memory_mib(),
        board=_text(Path("/proc/device-tree/model")),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in packages},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _cpu() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _memory_mib() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text().rstrip("\0\n")
    except OSError:
        return ""
