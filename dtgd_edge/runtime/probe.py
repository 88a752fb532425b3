"""Try a library in a process of its own: what is broken there must not break here."""

import functools
import importlib.util
import subprocess
import sys

ORT_GPU_INSTALL = "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"

_TIMEOUT_S = 60

_IMPORT = (
    "import sys, importlib; m = importlib.import_module(sys.argv[1]); print(getattr(m, '__version__', ''))"
)
# As ONNX Runtime loads a provider: the CUDA libraries of Python packages first, then the one that all
# providers share.
_LOAD = """
import contextlib, ctypes, io, pathlib, sys
import onnxruntime
with contextlib.redirect_stdout(io.StringIO()):
    getattr(onnxruntime, "preload_dlls", lambda: None)()
name = "onnxruntime_providers_{}.dll" if sys.platform == "win32" else "libonnxruntime_providers_{}.so"
for part in ("shared", sys.argv[1]):
    path = pathlib.Path(onnxruntime.__file__).parent / "capi" / name.format(part)
    ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
"""


def is_installed(module: str) -> bool:
    """Whether a module can be found; nothing is imported but its parents."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def import_fault(module: str) -> str:
    """Why a module cannot be imported; "" if it can."""
    return _fault(_IMPORT, module)


@functools.cache
def provider_fault(provider: str) -> str:
    """Why a provider library of ONNX Runtime ("cuda", "tensorrt") cannot be loaded; "" if it can.

    Tried once, for it takes seconds; what is installed meanwhile is seen by the next process.
    """
    return _fault(_LOAD, provider)


def _fault(code: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"it could not be tried: {exc}"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"it ends the process with signal {-done.returncode}"
    lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
    kind, _, text = lines[-1].partition(": ")
    return text or kind
