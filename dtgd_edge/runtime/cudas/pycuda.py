"""CUDA through pycuda. The only file that imports it."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pycuda import driver

from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.cuda import Cuda, HostBuffer
from dtgd_edge.runtime.cuda_driver import Gpu

DEVICE = 0  # CUDA_VISIBLE_DEVICES says which device that is


class PyCuda(Cuda):
    """The device's primary context, so that it is shared with everybody else in the process.

    pycuda cannot capture graphs; `capture` always answers None.

    Args:
        gpu: what the driver calls the first device.

    Raises:
        BackendError: the device refuses.
    """

    binding = "pycuda"

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._allocations: list[Any] = []
        self._context: Any = None
        with _translated("opening the device"):
            driver.init()
            self._context = driver.Device(DEVICE).retain_primary_context()
            self._context.push()
            # pycuda aborts the process when a context is still on its stack at the end.
            atexit.register(self.close)
            self._stream: Any = driver.Stream()
            self.stream = int(self._stream.handle)

    def free_mib(self) -> int:
        with _translated("asking for free memory"):
            return int(driver.mem_get_info()[0]) >> 20

    def device_buffer(self, size_bytes: int) -> int:
        with _translated(f"allocating {size_bytes} bytes on the device"):
            allocation = driver.mem_alloc(size_bytes)
        self._allocations.append(allocation)
        return int(allocation)

    def host_buffer(self, size_bytes: int, is_mapped: bool = False) -> HostBuffer:
        flags = driver.host_alloc_flags.DEVICEMAP if is_mapped else 0
        with _translated(f"allocating {size_bytes} bytes of page-locked memory"):
            array = driver.pagelocked_empty(size_bytes, np.uint8, mem_flags=flags)
            mapped = int(array.base.get_device_pointer()) if is_mapped else 0
        self._allocations.append(array.base)
        return HostBuffer(array, int(array.ctypes.data), mapped)

    def copy_in(self, address: int, host: HostBuffer) -> None:
        with _translated("copying to the device"):
            driver.memcpy_htod_async(address, host.array, self._stream)

    def copy_out(self, host: HostBuffer, address: int) -> None:
        with _translated("copying from the device"):
            driver.memcpy_dtoh_async(host.array, address, self._stream)

    def synchronise(self) -> None:
        with _translated("waiting for the device"):
            self._stream.synchronize()

    def event(self) -> Any:
        with _translated("making an event"):
            return driver.Event()

    def record(self, event: Any) -> None:
        with _translated("recording an event"):
            event.record(self._stream)

    def elapsed_ms(self, first: Any, second: Any) -> float:
        with _translated("reading an event"):
            return float(first.time_till(second))

    def capture(self, work: Callable[[], None]) -> Any | None:
        return None

    def launch(self, graph: Any) -> None:
        raise BackendError("pycuda cannot launch a graph; expected cuda-python; install cuda-bindings")

    def close(self) -> None:
        if self._context is None:
            return
        context, self._context = self._context, None
        atexit.unregister(self.close)
        with _translated("giving memory back"):
            while self._allocations:
                self._allocations.pop().free()
            self._stream = None
            context.pop()
            context.detach()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except driver.Error as exc:  # its text has the name of the call and CUDA's own words
        raise BackendError(f"{doing} failed ({exc}); expected success; run dtgd-edge doctor") from exc
