"""CUDA through NVIDIA's cuda-python (package cuda-bindings). The only file that imports it."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.cuda import Cuda, HostBuffer
from dtgd_edge.runtime.cuda_driver import Gpu

try:
    from cuda.bindings import runtime
except ImportError:
    from cuda import cudart as runtime  # its name until 12.8

DEVICE = 0  # CUDA_VISIBLE_DEVICES says which device that is
_HINTS = {
    "cudaErrorMemoryAllocation": "free memory on the device, or export at a smaller size",
    "cudaErrorInsufficientDriver": "install a newer driver, or an older cuda-python",
}


class CudaPython(Cuda):
    """The runtime API, so that the device's primary context is shared with everybody else in the process.

    Args:
        gpu: what the driver calls the first device.

    Raises:
        BackendError: the device refuses.
    """

    binding = "cuda-python"

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._undo: list[Callable[[], object]] = []
        _call("cudaSetDevice", DEVICE)
        stream = _call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self._undo.append(lambda: _call("cudaStreamDestroy", stream))
        self.stream = int(stream)

    def free_mib(self) -> int:
        free, _ = _call("cudaMemGetInfo")
        return int(free) >> 20

    def device_buffer(self, size_bytes: int) -> int:
        address = int(_call("cudaMalloc", size_bytes))
        self._undo.append(lambda: _call("cudaFree", address))
        return address

    def host_buffer(self, size_bytes: int, is_mapped: bool = False) -> HostBuffer:
        flags = runtime.cudaHostAllocMapped if is_mapped else runtime.cudaHostAllocDefault
        address = int(_call("cudaHostAlloc", size_bytes, flags))
        self._undo.append(lambda: _call("cudaFreeHost", address))
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        mapped = int(_call("cudaHostGetDevicePointer", address, 0)) if is_mapped else 0
        return HostBuffer(np.ctypeslib.as_array(memory), address, mapped)

    def copy_in(self, address: int, host: HostBuffer) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call("cudaMemcpyAsync", address, host.address, host.array.nbytes, kind, self.stream)

    def copy_out(self, host: HostBuffer, address: int) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call("cudaMemcpyAsync", host.address, address, host.array.nbytes, kind, self.stream)

    def synchronise(self) -> None:
        _call("cudaStreamSynchronize", self.stream)

    def event(self) -> Any:
        event = _call("cudaEventCreate")
        self._undo.append(lambda: _call("cudaEventDestroy", event))
        return event

    def record(self, event: Any) -> None:
        _call("cudaEventRecord", event, self.stream)

    def elapsed_ms(self, first: Any, second: Any) -> float:
        return float(_call("cudaEventElapsedTime", first, second))

    def capture(self, work: Callable[[], None]) -> Any | None:
        # Thread-local: what other threads do to the device meanwhile is no business of this capture.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _call("cudaStreamBeginCapture", self.stream, mode)
        refused: BackendError | None = None
        try:
            work()
        except BackendError as exc:
            refused = exc
        fault, graph = runtime.cudaStreamEndCapture(self.stream)
        if int(fault) or refused:
            runtime.cudaGetLastError()  # the error is dealt with here and must not turn up later
            return None
        try:
            launchable = _call("cudaGraphInstantiate", graph, 0)
        except BackendError:
            runtime.cudaGetLastError()
            return None
        finally:
            runtime.cudaGraphDestroy(graph)
        self._undo.append(lambda: _call("cudaGraphExecDestroy", launchable))
        return launchable

    def launch(self, graph: Any) -> None:
        _call("cudaGraphLaunch", graph, self.stream)

    def close(self) -> None:
        if self._undo:
            _call("cudaSetDevice", DEVICE)  # this may be another thread than the one that opened it
        while self._undo:
            self._undo.pop()()


def _call(name: str, *arguments: Any) -> Any:
    """Call a function that returns (error, *results); its results, one of them bare."""
    try:
        fault, *results = getattr(runtime, name)(*arguments)
    except Exception as exc:  # the binding has errors of its own, for instance where a library is missing
        raise BackendError(f"{name} failed ({exc}); expected a CUDA device that answers; run doctor") from exc
    if int(fault):
        error, text = (_text(runtime.cudaGetErrorName(fault)), _text(runtime.cudaGetErrorString(fault)))
        hint = _HINTS.get(error, "restart, and run dtgd-edge doctor if it comes again")
        raise BackendError(f"{name} failed with {error} ({text}); expected success; {hint}")
    return results[0] if len(results) == 1 else tuple(results)


def _text(answer: Any) -> str:
    value = answer[1]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
