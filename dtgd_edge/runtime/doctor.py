"""What of this machine a line can use, and why not the rest. Opens nothing that could crash the process."""

import ctypes
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        is_usable: whether a line can use it here.
        detail: what was found, or why it cannot be used.
        fix: what to do about it; "" if nothing.
    """

    name: str
    is_usable: bool
    detail: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything, in the order in which a line needs it."""
    return [check() for check in CHECKS.values()]


def finding(name: str) -> Finding:
    """Look at one thing, by its name in CHECKS."""
    return CHECKS[name]()


def _system() -> Finding:
    release = Path("/etc/nv_tegra_release")
    board = f", Jetson ({release.read_text().splitlines()[0]})" if release.exists() else ""
    return Finding(
        "system", True, f"{platform.system()} {platform.machine()}, Python {platform.python_version()}{board}"
    )


def _onnxruntime() -> Finding:
    name = "ONNX Runtime (CPU)"
    try:
        import onnxruntime as ort
    except ImportError as exc:
        return Finding(name, False, f"cannot be imported ({exc})", "pip install onnxruntime")
    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in ort.get_available_providers())
    return Finding(
        name, True, f"{ort.__version__}, built with {providers}; dtgd-edge runs on its CPU provider"
    )


def _cuda() -> Finding:
    """Ask the driver itself: TensorRT's lean runtime ends the process when there is none."""
    name, fix = "CUDA driver", "on a machine with an NVIDIA GPU, install its driver; on Jetson, flash JetPack"
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return Finding(
            name, False, f"{library} is not on this machine, so there is no usable NVIDIA GPU", fix
        )
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return Finding(name, False, f"{library} is here but finds no GPU", fix)
    return Finding(name, True, f"{count.value} GPU(s)")


def _module(name: str, module: str, package: str, install: str) -> Callable[[], Finding]:
    def check() -> Finding:
        if importlib.util.find_spec(module) is None:
            return Finding(name, False, "is not installed", install)
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "version unknown"
        return Finding(name, True, version)

    return check


def _opencv() -> Finding:
    import cv2

    built = {
        line.strip().partition(":")[0]: line.partition(":")[2].strip()
        for line in cv2.getBuildInformation().splitlines()
        if ":" in line
    }
    gstreamer, ffmpeg = built.get("GStreamer", "NO"), built.get("FFMPEG", "NO")
    fix = (
        ""
        if gstreamer.startswith("YES")
        else "csi:// cameras need JetPack's OpenCV (the pip one has no GStreamer)"
    )
    return Finding(
        "OpenCV",
        True,
        f"{cv2.__version__}, FFmpeg {ffmpeg.split()[0]}, GStreamer {gstreamer.split()[0]}",
        fix,
    )


def _cameras() -> Finding:
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    if not devices:
        return Finding(
            "cameras", False, "no /dev/video*", "connect a camera, or use --source FOLDER or --source sample:"
        )
    return Finding("cameras", True, ", ".join(devices))


CHECKS: dict[str, Callable[[], Finding]] = {
    "system": _system,
    "onnxruntime": _onnxruntime,
    "cuda": _cuda,
    "tensorrt": _module(
        "TensorRT",
        "tensorrt",
        "tensorrt",
        "pip install 'dtgd-edge[tensorrt]'; on Jetson it comes with JetPack",
    ),
    "tensorrt_rtx": _module(
        "TensorRT for RTX", "tensorrt_rtx", "tensorrt_rtx", "pip install 'dtgd-edge[rtx]'"
    ),
    "torch": _module("PyTorch (train, export)", "torch", "torch", "pip install 'dtgd-edge[train]'"),
    "onnx": _module("ONNX (export)", "onnx", "onnx", "pip install 'dtgd-edge[train]'"),
    "opencv": _opencv,
    "cameras": _cameras,
}
