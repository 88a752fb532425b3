"""As much of CUDA as a session needs: one device, its memory, one stream, events, graph capture.

`cudas/` has one file per Python binding. Nothing here touches a device before `open_cuda`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import BackendUnavailable, ConfigError
from dtgd_edge.runtime.cuda_driver import Gpu, cuda_gpus, driver_fault

BINDINGS = ("auto", "cuda-python", "pycuda")


@dataclass(frozen=True, slots=True, eq=False)
class HostBuffer:
    """Page-locked memory of the CPU.

    Attributes:
        array: uint8, one dimension.
        address: where the CPU sees it.
        device_address: where the device sees the same bytes; 0 unless it was asked to be mapped.
    """

    array: NDArray[np.uint8]
    address: int
    device_address: int = 0


class Cuda(Protocol):
    """A device that answered, with one stream. One thread at a time may use it.

    Every method raises BackendError with CUDA's own name of the error when CUDA refuses.

    Attributes:
        binding: "cuda-python" or "pycuda".
        gpu: the device.
        stream: handle of the stream in which everything below happens.
    """

    binding: str
    gpu: Gpu
    stream: int

    def free_mib(self) -> int:
        """Memory that is free on the device now."""
        ...

    def device_buffer(self, size_bytes: int) -> int:
        """Allocate device memory; its address. Freed by `close`."""
        ...

    def host_buffer(self, size_bytes: int, is_mapped: bool = False) -> HostBuffer:
        """Allocate page-locked memory, if asked at an address of the device too. Freed by `close`."""
        ...

    def copy_in(self, address: int, host: HostBuffer) -> None:
        """Queue a copy of a whole host buffer to the device."""
        ...

    def copy_out(self, host: HostBuffer, address: int) -> None:
        """Queue a copy from the device that fills a host buffer."""
        ...

    def synchronise(self) -> None:
        """Wait until everything queued is done."""
        ...

    def event(self) -> Any:
        """Make an event."""
        ...

    def record(self, event: Any) -> None:
        """Queue an event."""
        ...

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Device time between two recorded events that have passed."""
        ...

    def capture(self, work: Callable[[], None]) -> Any | None:
        """Record what `work` queues, without doing it, as a graph; None where that is not possible."""
        ...

    def launch(self, graph: Any) -> None:
        """Queue a captured graph."""
        ...

    def close(self) -> None:
        """Free everything that was given out; closing twice is fine."""
        ...


def open_cuda(binding: str = "auto") -> Cuda:
    """Open the first device with the first binding that is installed.

    Args:
        binding: one of BINDINGS.

    Raises:
        ConfigError: an unknown binding.
        BackendUnavailable: no device answers, or no binding is installed.
        BackendError: the device refuses.
    """
    if binding not in BINDINGS:
        raise ConfigError(f"CUDA binding {binding!r} is not known; expected one of {', '.join(BINDINGS)}")
    try:
        gpu = cuda_gpus()[0]
    except BackendUnavailable as exc:
        fault = str(exc).partition(";")[0]
        raise BackendUnavailable(
            f"no NVIDIA GPU answers on this machine ({fault}); expected one to run a TensorRT engine on; "
            "install NVIDIA's driver (on Jetson, flash JetPack), or run with --backend ort"
        ) from None
    faults = []
    for name, opener in (("cuda-python", _open_cuda_python), ("pycuda", _open_pycuda)):
        if binding in ("auto", name):
            try:
                return opener(gpu)
            except ImportError as exc:
                faults.append(f"{name}: {exc}")
    raise BackendUnavailable(
        f"no Python binding of CUDA can be imported ({'; '.join(faults)}); expected cuda-python or pycuda; "
        "run: python -m pip install cuda-bindings"
    )


def gpu_here() -> tuple[Gpu | None, int | None]:
    """The first device and its free memory in MiB; (None, None) where no GPU answers.

    Raises:
        BackendUnavailable: there is one, but no Python binding of CUDA.
    """
    if driver_fault():
        return None, None
    cuda = open_cuda()
    try:
        return cuda.gpu, cuda.free_mib()
    finally:
        cuda.close()


def _open_cuda_python(gpu: Gpu) -> Cuda:
    from dtgd_edge.runtime.cudas.cuda_python import CudaPython

    return CudaPython(gpu)


def _open_pycuda(gpu: Gpu) -> Cuda:
    from dtgd_edge.runtime.cudas.pycuda import PyCuda

    return PyCuda(gpu)
