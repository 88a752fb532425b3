"""Which backend "auto" is: what this machine really runs best."""

import importlib
import logging
from dataclasses import dataclass
from typing import Any

from dtgd_edge.bundle import Manifest
from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime.cuda_driver import cuda_gpus
from dtgd_edge.runtime.probe import is_installed
from dtgd_edge.runtime.trt.library import Library

_LOG = logging.getLogger(__name__)

TENSORRT_MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_lean")
CUDA_BINDINGS = ("cuda.bindings", "pycuda")


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and why it was taken."""

    backend: str
    reason: str


def choose_backend(manifest: Manifest | None = None) -> Choice:
    """Choose among TensorRT and ONNX Runtime on the CPU.

    OpenVINO is taken only by name: it moves INT8 scores away from those that a bundle's threshold was
    chosen on. ONNX Runtime's GPU providers too: TensorRT itself is the faster and better proven way.

    Args:
        manifest: of the bundle to be run; None: any bundle.
    """
    try:
        gpu = cuda_gpus()[0]
    except BackendUnavailable as exc:
        return Choice("ort", f"no CUDA device: {str(exc).partition(';')[0]}")
    if manifest is not None and manifest.placement == "cpu":
        return _cpu_beside(gpu.name, "this INT8 bundle is made for CPUs (export --target tensorrt)")
    if missing := _missing_for_tensorrt(gpu.capability):
        return _cpu_beside(gpu.name, missing)
    return Choice("tensorrt", f"{gpu.name} and TensorRT answer")


def _cpu_beside(gpu: str, obstacle: str) -> Choice:
    choice = Choice("ort", f"{gpu} is here but stays idle: {obstacle}")
    _LOG.warning("running on the CPU: %s", choice.reason)
    return choice


def _missing_for_tensorrt(capability: str) -> str:
    """What TensorRT lacks on a machine with a GPU; "" if nothing."""
    if not any(is_installed(module) for module in CUDA_BINDINGS):
        return "neither cuda-python nor pycuda is installed (pip install cuda-python)"
    found = [module for module in TENSORRT_MODULES if is_installed(module)]
    if not found:
        return "TensorRT is not installed (pip install 'dtgd-edge[tensorrt]'; on Jetson it is in JetPack)"
    faults = []
    for name in found:
        try:
            module = importlib.import_module(name)
        # A foreign extension module may raise anything while it loads its libraries.
        except Exception as exc:
            faults.append(f"{name} cannot be imported ({exc})")
            continue
        if not is_strongly_typed(module):
            faults.append(f"{name} {getattr(module, '__version__', '')} is older than 10.3")
        elif not Library(name, module).knows(capability):
            faults.append(f"{name} does not know this GPU's compute capability {capability}")
        else:
            return ""
    return ", ".join(faults)


def is_strongly_typed(tensorrt: Any) -> bool:
    """Whether a TensorRT module keeps the types that the graph asks for; the lean one builds nothing."""
    flags = getattr(tensorrt, "NetworkDefinitionCreationFlag", None)
    return flags is None or hasattr(flags, "STRONGLY_TYPED")
