"""What the driver says about its GPUs, and why there are none; it never crashes."""

import ctypes
from typing import Any

import pytest

from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime import cuda_driver
from dtgd_edge.runtime.cuda_driver import cuda_gpus, driver_fault
from tests.runtime.fakes import ORIN


class PretendDriver:
    """NVIDIA's driver with one device."""

    def __init__(self, status: int = 0, count: int = 1) -> None:
        self.status, self.count = status, count

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:
        return _set(count, ctypes.c_int, self.count)

    def cuDriverGetVersion(self, version: Any) -> int:
        return _set(version, ctypes.c_int, 12060)

    def cuDeviceGet(self, device: Any, index: int) -> int:
        return _set(device, ctypes.c_int, index)

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b"Orin"
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        return _set(memory, ctypes.c_size_t, 7620 << 20)

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        return _set(value, ctypes.c_int, {75: 8, 76: 7, 18: 1}[attribute])


def _set(pointer: Any, kind: type, value: int) -> int:
    ctypes.cast(pointer, ctypes.POINTER(kind)).contents.value = value
    return 0


def test_the_driver_names_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "load_driver", lambda library: PretendDriver())
    assert cuda_gpus() == (ORIN,) and driver_fault() == ""


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (PretendDriver(status=100), "does not start (CUDA error 100)"),
        (PretendDriver(count=0), "finds no GPU"),
        (object(), "is no driver ('object' object has no attribute 'cuInit')"),
    ],
)
def test_a_driver_without_a_device(monkeypatch: pytest.MonkeyPatch, driver: object, words: str) -> None:
    monkeypatch.setattr(cuda_driver, "load_driver", lambda library: driver)
    with pytest.raises(BackendUnavailable) as refused:
        cuda_gpus()
    found, expected, fix = str(refused.value).split("; ", 2)
    assert words in found and expected.startswith("expected") and fix.startswith("install")
    assert driver_fault() == found


def test_no_driver_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(library: str) -> Any:
        raise OSError(library)

    monkeypatch.setattr(cuda_driver, "load_driver", load)
    with pytest.raises(BackendUnavailable, match="is not on this machine; expected an NVIDIA driver"):
        cuda_gpus()
    assert driver_fault().endswith("is not on this machine")
