"""The libraries that sessions, training and export need. Whatever may crash is tried in a child process."""

from collections.abc import Sequence
from pathlib import Path

from dtgd_edge.runtime.cuda_driver import driver_fault
from dtgd_edge.runtime.doctor.finding import Finding, version_of
from dtgd_edge.runtime.doctor.jetson import OLDEST_TENSORRT, l4t_version
from dtgd_edge.runtime.probe import ORT_GPU_INSTALL, import_fault, is_installed, provider_fault
from dtgd_edge.versions import installed_versions

ORT_CPU = "ONNX Runtime (CPU)"
_TRAIN = "pip install 'dtgd-edge[train]'"


def check_onnxruntime(root: Path) -> list[Finding]:
    """ONNX Runtime and its GPU providers, which it lists whether or not they load; no session is made."""
    try:
        import onnxruntime
    # A broken native library raises more than ImportError.
    except Exception as exc:
        return [Finding(ORT_CPU, False, f"cannot be imported ({exc})", "pip install onnxruntime")]
    built = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    detail = f"ONNX Runtime {onnxruntime.__version__}, built with {', '.join(built)}"
    return [Finding(ORT_CPU, "CPU" in built, detail), _provider("CUDA", built), _provider("Tensorrt", built)]


def _provider(provider: str, built: Sequence[str]) -> Finding:
    name = f"ONNX Runtime ({provider.replace('rt', 'RT')})"
    obstacle = driver_fault()
    if provider not in built:
        fix = ORT_GPU_INSTALL if not obstacle else "only of use with an NVIDIA GPU"
        return Finding(name, False, "is not in this ONNX Runtime", fix)
    silent = "sessions that ask for it would silently run on the CPU; dtgd-edge refuses instead"
    if obstacle:
        detail = f"is listed but cannot run ({obstacle}): {silent}"
        return Finding(name, False, detail, "see NVIDIA GPU above")
    if fault := provider_fault(provider.lower()):
        fix = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        if provider == "Tensorrt":
            fix += " and the TensorRT libraries that it was built with"
        return Finding(name, False, f"is listed but does not load ({fault}): {silent}", fix)
    return Finding(name, True, "its library loads")


def check_openvino(root: Path) -> list[Finding]:
    """OpenVINO, taken only by name."""
    found = _module("OpenVINO", "openvino", "openvino", "pip install 'dtgd-edge[openvino]'")
    if found.is_usable:
        found = Finding(found.name, True, f"{found.detail}; only with --backend openvino")
    return [found]


def check_tensorrt(root: Path) -> list[Finding]:
    """TensorRT in its three packages; none of its objects is made."""
    install = "pip install 'dtgd-edge[tensorrt]'"
    if l4t_version(root):
        install = "sudo apt install python3-libnvinfer; python3 -m venv --system-site-packages .venv"
    return [
        _new_enough(_module("TensorRT", "tensorrt", "tensorrt", install)),
        _new_enough(
            _module("TensorRT lean", "tensorrt_lean", "tensorrt_lean", "only needed to run ready-made plans")
        ),
        _module("TensorRT for RTX", "tensorrt_rtx", "tensorrt_rtx", "pip install 'dtgd-edge[rtx]'"),
    ]


def _new_enough(found: Finding) -> Finding:
    version = version_of(found.detail)
    if not found.is_usable or not version or version >= OLDEST_TENSORRT:
        return found
    return Finding(found.name, False, f"{found.detail}; dtgd-edge needs 10.3 or later", "install a newer one")


def check_cuda_bindings(root: Path) -> list[Finding]:
    """What Python calls CUDA through; TensorRT sessions need one of the two."""
    return [
        _module("cuda-python", "cuda.bindings", "cuda-bindings", "pip install cuda-python"),
        _module("PyCUDA", "pycuda", "pycuda", "not needed where cuda-python is; pip install pycuda"),
    ]


def check_train(root: Path) -> list[Finding]:
    """What training and export need, and an edge box does not."""
    return [
        _module("PyTorch (train, export)", "torch", "torch", _TRAIN, is_tried=False),
        _module("ONNX (export)", "onnx", "onnx", _TRAIN, is_tried=False),
    ]


def _module(name: str, module: str, package: str, install: str, is_tried: bool = True) -> Finding:
    if not is_installed(module):
        return Finding(name, False, "is not installed", install)
    version = _version(package)
    if is_tried and (fault := import_fault(module)):
        return Finding(name, False, f"{version} is installed but cannot be imported ({fault})", install)
    return Finding(name, True, version)


def _version(package: str) -> str:
    # TensorRT's packages carry their CUDA version in their name.
    found = installed_versions([package, f"{package}-cu12", f"{package}-cu13"])
    return next(iter(found.values()), "version unknown")
