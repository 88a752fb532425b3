"""What of this machine a line can use, and why not the rest. Opens nothing that could crash the process.

finding.py    what every check returns
jetson.py     board, JetPack, its CUDA and TensorRT, power mode: read from files
gpu.py        the driver's devices and what they can do
backends.py   the libraries that sessions need
engines.py    the plan cache
cameras.py    OpenCV and video devices
"""

from collections.abc import Callable
from pathlib import Path

from dtgd_edge.runtime.choice import choose_backend
from dtgd_edge.runtime.cuda_driver import cuda_gpus
from dtgd_edge.runtime.doctor import backends, cameras, engines, gpu, jetson
from dtgd_edge.runtime.doctor.finding import Diagnosis, Finding

__all__ = ["CHECKS", "Diagnosis", "Finding", "diagnose", "examine", "finding"]

# In the order in which a line needs them. Each looks at a file tree, "/" on a real machine.
CHECKS: dict[str, Callable[[Path], list[Finding]]] = {
    "system": jetson.check_system,
    "jetpack": jetson.check_jetpack,
    "power": jetson.check_power,
    "gpu": gpu.check_gpu,
    "onnxruntime": backends.check_onnxruntime,
    "openvino": backends.check_openvino,
    "tensorrt": backends.check_tensorrt,
    "cuda": backends.check_cuda_bindings,
    "engines": engines.check_engines,
    "train": backends.check_train,
    "opencv": cameras.check_opencv,
    "cameras": cameras.check_cameras,
}


def diagnose(root: Path = Path("/")) -> Diagnosis:
    """Look at everything and say where a bundle would run."""
    choice = choose_backend()
    findings = examine(root)
    usable = {found.name: found for found in findings if found.is_usable}
    cpu = usable.get(backends.ORT_CPU)
    if choice.backend == "tensorrt":
        runs_on = f"{cuda_gpus()[0].name} (TensorRT)"
    elif cpu is not None:
        runs_on = f"CPU ({cpu.detail.partition(',')[0]})"
    else:
        return Diagnosis("nothing", "none", f"{choice.reason}; and no ONNX Runtime", tuple(findings))
    return Diagnosis(runs_on, choice.backend, choice.reason, tuple(findings))


def examine(root: Path = Path("/")) -> list[Finding]:
    """Look at everything."""
    return [found for name in CHECKS for found in _looked_at(name, root)]


def finding(name: str, root: Path = Path("/")) -> Finding:
    """Look at one thing, by its name in CHECKS; the first of what is found there."""
    return _looked_at(name, root)[0]


def _looked_at(name: str, root: Path) -> list[Finding]:
    try:
        return CHECKS[name](root)
    # Whatever is broken on a machine, the doctor is there to say so.
    except Exception as exc:
        return [Finding(name, False, f"could not be looked at ({type(exc).__name__}: {exc})", "report this")]
