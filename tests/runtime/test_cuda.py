"""CUDA's bindings without a GPU: the probe, the translation of errors, the order of freeing."""

import importlib
import sys
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError
from dtgd_edge.runtime import cuda
from dtgd_edge.runtime.cuda import gpu_here, open_cuda
from dtgd_edge.runtime.cuda_driver import Gpu, driver_fault
from tests.runtime.fakes import ORIN

NO_GPU = pytest.mark.skipif(not driver_fault(), reason="a GPU answers here")


@NO_GPU
def test_without_a_driver_it_says_so_in_one_sentence() -> None:
    assert gpu_here() == (None, None)
    with pytest.raises(BackendUnavailable, match=r"no NVIDIA GPU answers on this machine \(libcuda"):
        open_cuda()


def test_unknown_binding() -> None:
    with pytest.raises(ConfigError, match="cuda-python, pycuda"):
        open_cuda("cupy")


def test_without_a_binding_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(gpu: Gpu) -> Any:
        raise ImportError("No module named 'cuda'")

    monkeypatch.setattr(cuda, "cuda_gpus", lambda: (ORIN,))
    monkeypatch.setattr(cuda, "_open_cuda_python", missing)
    monkeypatch.setattr(cuda, "_open_pycuda", missing)
    with pytest.raises(BackendUnavailable, match="pip install cuda-bindings"):
        open_cuda()


# ------------------------------------------------------------------------------- cuda-python


class Fault(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureInvalidated = 901


class FakeRuntime(ModuleType):
    """Answers as cuda.bindings.runtime does: (error, *results)."""

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.called: list[str] = []
        self.faults: dict[str, Fault] = {}
        self.kept: list[np.ndarray] = []
        self.cudaStreamNonBlocking, self.cudaHostAllocMapped, self.cudaHostAllocDefault = 1, 2, 0
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            if name == "cudaGetErrorName":
                return Fault.cudaSuccess, Fault(arguments[0]).name.encode()
            if name == "cudaGetErrorString":
                return Fault.cudaSuccess, b"in words"
            self.called.append(name)
            fault = self.faults.get(name, Fault.cudaSuccess)
            return (fault, *self.results(name, arguments))

        return call

    def results(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name == "cudaHostAlloc":
            self.kept.append(np.zeros(arguments[0], np.uint8))
            return (self.kept[-1].ctypes.data,)
        counted = {"cudaMemGetInfo": (3 << 30, 8 << 30), "cudaEventElapsedTime": (1.5,)}
        silent = ("Free", "Destroy", "Set", "Memcpy", "Synchronize", "Record", "Begin", "Launch", "GetLast")
        if name in counted:
            return counted[name]
        return () if any(word in name for word in silent) else (4096,)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    fake = FakeRuntime()
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    bindings.runtime = fake  # type: ignore[attr-defined]
    for name, module in (("cuda", package), ("cuda.bindings", bindings), ("cuda.bindings.runtime", fake)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "dtgd_edge.runtime.cudas.cuda_python", raising=False)
    monkeypatch.setattr(cuda, "cuda_gpus", lambda: (ORIN,))
    return fake


@pytest.fixture(autouse=True)
def _forget_the_fake() -> Any:
    yield
    for name in ("cuda_python", "pycuda"):
        sys.modules.pop(f"dtgd_edge.runtime.cudas.{name}", None)


def test_cuda_python_opens_uses_and_frees(runtime: FakeRuntime) -> None:
    device = open_cuda()
    assert device.binding == "cuda-python" and device.stream == 4096
    assert device.gpu == ORIN and device.free_mib() == 3072
    host = device.host_buffer(16, is_mapped=True)
    assert host.array.shape == (16,) and host.array.dtype == np.uint8 and host.device_address == 4096
    host.array[:] = 7
    assert (runtime.kept[0] == 7).all(), "the array is the page-locked memory itself"
    address = device.device_buffer(16)
    device.copy_in(address, host)
    device.copy_out(host, address)
    first, second = device.event(), device.event()
    device.record(first)
    device.synchronise()
    assert device.elapsed_ms(first, second) == 1.5
    graph = device.capture(lambda: device.copy_in(address, host))
    device.launch(graph)
    runtime.called.clear()
    device.close()
    device.close()
    assert runtime.called == [
        "cudaSetDevice",
        "cudaGraphExecDestroy",
        "cudaEventDestroy",
        "cudaEventDestroy",
        "cudaFree",
        "cudaFreeHost",
        "cudaStreamDestroy",
    ]


def test_cuda_python_translates_errors(runtime: FakeRuntime) -> None:
    device = open_cuda()
    runtime.faults["cudaMalloc"] = Fault.cudaErrorMemoryAllocation
    with pytest.raises(BackendError, match=r"cudaMalloc failed with cudaErrorMemoryAllocation \(in words\)"):
        device.device_buffer(1)


@pytest.mark.parametrize("name", ["cudaStreamEndCapture", "cudaGraphInstantiate", "cudaMemcpyAsync"])
def test_a_failed_capture_is_none_and_leaves_capture_mode(runtime: FakeRuntime, name: str) -> None:
    device = open_cuda()
    host = device.host_buffer(16)
    runtime.faults[name] = Fault.cudaErrorStreamCaptureInvalidated
    assert device.capture(lambda: device.copy_in(4096, host)) is None
    assert "cudaStreamEndCapture" in runtime.called and "cudaGetLastError" in runtime.called


def test_pycuda_is_opened_where_cuda_python_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    context = SimpleNamespace(
        push=lambda: done.append("push"), pop=lambda: done.append("pop"), detach=lambda: done.append("detach")
    )
    driver = ModuleType("pycuda.driver")
    driver.__dict__.update(
        Error=RuntimeError,
        init=lambda: done.append("init"),
        Device=lambda number: SimpleNamespace(retain_primary_context=lambda: context),
        Stream=lambda: SimpleNamespace(handle=4096),
        mem_get_info=lambda: (3 << 30, 8 << 30),
        mem_alloc=lambda size: _Allocation(done),
    )
    package = ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    for name, module in (
        ("cuda", None),
        ("cuda.bindings", None),
        ("pycuda", package),
        ("pycuda.driver", driver),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("cuda_python", "pycuda"):
        monkeypatch.delitem(sys.modules, f"dtgd_edge.runtime.cudas.{name}", raising=False)
    monkeypatch.setattr(cuda, "cuda_gpus", lambda: (ORIN,))
    device = open_cuda()
    assert (device.binding, device.gpu, device.stream, device.free_mib()) == ("pycuda", ORIN, 4096, 3072)
    assert device.device_buffer(16) == 8192
    device.close()
    device.close()
    assert done == ["init", "push", "free", "pop", "detach"]


class _Allocation:
    """Device memory as pycuda gives it out."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def __int__(self) -> int:
        return 8192

    def free(self) -> None:
        self.done.append("free")


def test_the_installed_cuda_python_has_the_names() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    module = importlib.import_module("dtgd_edge.runtime.cudas.cuda_python")
    source = module.__spec__.loader.get_source(module.__name__)  # type: ignore[union-attr]
    names = {word.strip("\"'") for word in source.replace("(", " ").replace(",", " ").split()}
    calls = {name for name in names if name.startswith("cuda") and name[4:5].isupper() and name.isalnum()}
    calls -= {name for name in calls if name.startswith("cudaError")}
    assert len(calls) > 15
    for name in calls:
        assert hasattr(module.runtime, name), name
    if driver_fault():
        with pytest.raises(BackendError, match=r"cudaErrorInsufficientDriver|cudaErrorNoDevice"):
            module.CudaPython(ORIN)
