"""Jetson boards: JetPack, and what it should bring; power mode and clocks. Reads files only."""

import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from dtgd_edge.runtime.doctor.finding import Finding, file_text, version_of
from dtgd_edge.runtime.session import usable_cores

OLDEST_TENSORRT = (10, 3)


@dataclass(frozen=True, slots=True)
class JetPack:
    """One release of NVIDIA's software for Jetson.

    Attributes:
        l4t: first Jetson Linux version that it comes with, as in /etc/nv_tegra_release.
        name: its number.
        python, cuda, tensorrt: versions that it brings.
        boards: families that it runs on.
    """

    l4t: tuple[int, ...]
    name: str
    python: str
    cuda: str
    tensorrt: str
    boards: str


@dataclass(frozen=True, slots=True)
class PowerMode:
    """A power mode of a Jetson.

    Attributes:
        number, name: of the mode that is set.
        fastest, fastest_name: of the fastest one; of this one where none is known.
    """

    number: int
    name: str
    fastest: int
    fastest_name: str

    def __str__(self) -> str:
        return f"{self.name} (nvpmodel {self.number})"


# Ascending; a board has the last one that is not newer than its L4T, within the same main number.
JETPACKS = (
    JetPack((32, 6), "4.6", "3.6", "10.2", "8.0", "Nano, TX2, Xavier"),
    JetPack((32, 7), "4.6.1", "3.6", "10.2", "8.2", "Nano, TX2, Xavier"),
    JetPack((35, 2), "5.1", "3.8", "11.4", "8.5", "Xavier, Orin"),
    JetPack((35, 3), "5.1.1", "3.8", "11.4", "8.5", "Xavier, Orin"),
    JetPack((35, 4), "5.1.2", "3.8", "11.4", "8.5", "Xavier, Orin"),
    JetPack((35, 5), "5.1.3", "3.8", "11.4", "8.5", "Xavier, Orin"),
    JetPack((35, 6), "5.1.4", "3.8", "11.4", "8.5", "Xavier, Orin"),
    JetPack((36, 2), "6.0", "3.10", "12.2", "8.6", "Orin"),
    JetPack((36, 4), "6.1", "3.10", "12.6", "10.3", "Orin"),
    JetPack((36, 4, 3), "6.2", "3.10", "12.6", "10.3", "Orin"),
    JetPack((36, 4, 4), "6.2.1", "3.10", "12.6", "10.3", "Orin"),
    JetPack((36, 5), "6.2.2", "3.10", "12.6", "10.3", "Orin"),
    JetPack((38, 2), "7.0", "3.12", "13.0", "10.13", "Thor"),
    JetPack((38, 4), "7.1", "3.12", "13.0", "10.13", "Thor"),
    JetPack((39, 2), "7.2", "3.12", "13.2", "10.16", "Orin, Thor"),
    JetPack((39, 2, 1), "7.2.1", "3.12", "13.2", "10.16", "Orin, Thor"),
)
_BOARDS = ("Thor", "Orin", "Xavier", "TX2", "Nano")
_GPU_CLOCKS = re.compile(r"gpu|gpc|ga10b|gv11b|gp10b|gm20b")


def board_name(root: Path) -> str:
    """The board as its device tree calls it; "" on machines without one."""
    return file_text(root / "proc/device-tree/model")


def l4t_version(root: Path) -> tuple[int, ...]:
    """Version of Jetson Linux: (36, 4, 3); () where it is not a Jetson."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", file_text(root / "etc/nv_tegra_release"))
    return (int(match[1]), *version_of(match[2])) if match else ()


def jetpack_of(l4t: tuple[int, ...]) -> JetPack | None:
    """The JetPack that an L4T version belongs to; None if the table has none."""
    fitting = [pack for pack in JETPACKS if pack.l4t[0] == l4t[:1][0] and pack.l4t <= l4t] if l4t else []
    return fitting[-1] if fitting else None


def tensorrt_library(root: Path) -> str:
    """Version of the TensorRT library of the system, from its file name; "" if there is none."""
    found = []
    for folder in ("aarch64-linux-gnu", "x86_64-linux-gnu"):
        for path in (root / "usr/lib" / folder).glob("libnvinfer.so.*"):
            found.append(path.name.removeprefix("libnvinfer.so."))
    return max(found, key=version_of, default="")


def cuda_toolkit(root: Path) -> str:
    """Version of the CUDA toolkit under /usr/local; "" if there is none."""
    try:
        return str(json.loads(file_text(root / "usr/local/cuda/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        names = [path.name.removeprefix("cuda-") for path in (root / "usr/local").glob("cuda-*.*")]
        return max(names, key=version_of, default="")


def check_system(root: Path) -> list[Finding]:
    """System, board, Python."""
    board = board_name(root)
    detail = f"{platform.system()} {platform.machine()}, {usable_cores()} cores, "
    detail += f"Python {platform.python_version()}" + (f", {board}" if board else "")
    return [Finding("system", True, detail)]


def check_jetpack(root: Path) -> list[Finding]:
    """JetPack, and whether what it should bring is here; nothing on other machines."""
    l4t = l4t_version(root)
    if not l4t:
        return []
    pack, linux = jetpack_of(l4t), ".".join(map(str, l4t))
    if pack is None:
        newest = JETPACKS[-1]
        detail = f"L4T {linux}, which belongs to no JetPack that dtgd-edge knows"
        return [
            Finding("JetPack", False, detail, f"flash JetPack {newest.name} (L4T 39.2.1) or 6.2 (36.4.3)")
        ]
    detail = (
        f"{pack.name} (L4T {linux}), made for {pack.boards}, with CUDA {pack.cuda}, TensorRT {pack.tensorrt}"
    )
    is_new_enough = version_of(pack.tensorrt) >= OLDEST_TENSORRT
    fix = "" if is_new_enough else _upgrade(board_name(root), pack)
    return [
        Finding("JetPack", is_new_enough, f"{detail}, Python {pack.python}", fix),
        _brought("CUDA toolkit", cuda_toolkit(root), pack.cuda, pack),
        _brought("TensorRT library", tensorrt_library(root), pack.tensorrt, pack),
        _system_python(pack),
    ]


def _upgrade(board: str, pack: JetPack) -> str:
    family = next((name for name in _BOARDS if name in board), "")
    needed = f"dtgd-edge needs TensorRT 10.3 or later, JetPack {pack.name} has {pack.tensorrt}"
    if "Orin" in board or not family:
        return f"{needed}: flash JetPack 6.2 or 7.2"
    # Boards before Orin have no newer JetPack; an Orin Nano is an Orin.
    return f"{needed}, and {family} gets no newer JetPack: run on its CPU with Python 3.10 or later"


def _brought(name: str, found: str, expected: str, pack: JetPack) -> Finding:
    install = "sudo apt update && sudo apt install nvidia-jetpack"
    if not found:
        return Finding(name, False, f"not here; JetPack {pack.name} brings {expected}", install)
    wanted = version_of(expected)
    if version_of(found)[: len(wanted)] == wanted:
        return Finding(name, True, f"{found}, as JetPack {pack.name} brings it")
    is_newer = version_of(found) > wanted
    fix = "plans of the one do not run with the other; build them again" if is_newer else install
    return Finding(name, is_newer, f"{found}; JetPack {pack.name} brings {expected}", fix)


def _system_python(pack: JetPack) -> Finding:
    running = ".".join(platform.python_version_tuple()[:2])
    if running == pack.python:
        return Finding("Python", True, f"{running}, the one that JetPack's TensorRT is made for")
    detail = f"{running}; JetPack's TensorRT is made for {pack.python}"
    fix = f"python{pack.python} -m venv --system-site-packages .venv"
    if version_of(pack.python) < (3, 10):
        fix = f"dtgd-edge needs Python 3.10 or later, so not JetPack {pack.name}'s TensorRT: run on the CPU"
    return Finding("Python", False, detail, fix)


def check_power(root: Path) -> list[Finding]:
    """Power mode (nvpmodel) and whether the clocks are pinned (jetson_clocks); nothing on other machines."""
    if not l4t_version(root):
        return []
    return [found for found in (_power_mode(root), _clocks(root)) if found is not None]


def power_mode(root: Path) -> PowerMode | None:
    """The mode that nvpmodel set; None where it does not say."""
    models = file_text(root / "etc/nvpmodel.conf")
    modes = {int(m[1]): m[2] for m in re.finditer(r"POWER_MODEL ID=(\d+) NAME=(\S+)", models)}
    current = re.search(r"pmode:(\d+)", file_text(root / "var/lib/nvpmodel/status"))
    current = current or re.search(r"PM_CONFIG DEFAULT=(\d+)", models)
    if current is None:
        return None
    number = int(current[1])
    # The fastest mode has no fixed number, but always this name.
    fastest = next((n for n, mode in modes.items() if mode.startswith("MAXN")), number)
    return PowerMode(number, modes.get(number, "unknown"), fastest, modes.get(fastest, "unknown"))


def gpu_clock(root: Path) -> Path | None:
    """The folder of the integrated GPU's clock, with `cur_freq`, `min_freq` and `max_freq` in Hz."""
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        limits = [file_text(device / name) for name in ("min_freq", "max_freq")]
        if _GPU_CLOCKS.search(device.name) and all(limit.isdecimal() for limit in limits):
            return device
    return None


def _power_mode(root: Path) -> Finding | None:
    mode = power_mode(root)
    if mode is None:
        return None
    if mode.number == mode.fastest:
        return Finding("power mode", True, str(mode))
    detail = f"{mode}; {mode.fastest_name} is faster, if supply and cooling allow it"
    return Finding("power mode", True, detail, f"sudo nvpmodel -m {mode.fastest}")


def _clocks(root: Path) -> Finding | None:
    device = gpu_clock(root)
    if device is None:
        return None
    slowest, fastest = (int(file_text(device / name)) // 1_000_000 for name in ("min_freq", "max_freq"))
    if slowest == fastest:
        return Finding("GPU clock", True, f"pinned at {fastest} MHz (jetson_clocks)")
    detail = f"varies from {slowest} to {fastest} MHz, so latency varies"
    return Finding("GPU clock", True, detail, "sudo jetson_clocks")
