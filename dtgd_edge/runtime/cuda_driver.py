"""The GPUs of this machine, asked of the NVIDIA driver itself.

TensorRT's runtimes end the process when there is no usable driver, and CUDA libraries differ in what
they say; the driver's own functions, called through ctypes, are always safe to ask.
"""

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from dtgd_edge.errors import BackendUnavailable

_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # CUdevice_attribute
_FIX = "install the NVIDIA driver; on Jetson, flash JetPack; in a container, start it with the NVIDIA runtime"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device.

    Attributes:
        name: as the driver calls it.
        capability: its compute capability, "8.7".
        memory_mib: of the device; shared with the CPU if `is_integrated`.
        is_integrated: whether CPU and GPU share their memory, as on Jetson.
        driver: CUDA version that the driver serves, as "12.6".
    """

    name: str
    capability: str
    memory_mib: int
    is_integrated: bool
    driver: str


def cuda_gpus() -> tuple[Gpu, ...]:
    """Ask the driver for its devices, as CUDA numbers them; CUDA_VISIBLE_DEVICES chooses among them.

    Raises:
        BackendUnavailable: no driver, or one without a usable device; the text says which.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = load_driver(library)
    except OSError:
        raise BackendUnavailable(
            f"{library} is not on this machine; expected an NVIDIA driver; {_FIX}"
        ) from None
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    try:
        if status := driver.cuInit(0):
            raise BackendUnavailable(
                f"{library} is here but does not start (CUDA error {status}); expected one GPU; {_FIX}"
            )
        if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
            raise BackendUnavailable(f"{library} is here but finds no GPU; expected one GPU; {_FIX}")
        driver.cuDriverGetVersion(ctypes.byref(version))
        served = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return tuple(_gpu(driver, index, served) for index in range(count.value))
    except AttributeError as exc:  # a stub of the library, as containers have it
        raise BackendUnavailable(
            f"{library} is here but is no driver ({exc}); expected an NVIDIA driver; {_FIX}"
        ) from None


def driver_fault() -> str:
    """Why no NVIDIA GPU can be used here, in words without advice; "" if one answers."""
    try:
        cuda_gpus()
    except BackendUnavailable as exc:
        return str(exc).partition(";")[0]
    return ""


def load_driver(library: str) -> Any:
    """Load the driver's library.

    Raises:
        OSError: it is not there.
    """
    return ctypes.CDLL(library)


def _gpu(driver: Any, index: int, served: str) -> Gpu:
    device, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    values = {}
    for attribute in (_MAJOR, _MINOR, _INTEGRATED):
        value = ctypes.c_int(0)
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        values[attribute] = value.value
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=f"{values[_MAJOR]}.{values[_MINOR]}",
        memory_mib=memory.value >> 20,
        is_integrated=bool(values[_INTEGRATED]),
        driver=served,
    )
