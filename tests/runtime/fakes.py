"""A CUDA device and a TensorRT module of plain Python, to run the session's logic without a GPU; a session
of plain Python that fails on demand.

The fake engine computes the tiny graph of conftest.py.
"""

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.cuda import Cuda, HostBuffer
from dtgd_edge.runtime.cuda_driver import Gpu
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import Session, SessionSpec
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.trt.library import Library, library_for_build
from dtgd_edge.verdict import Scores

ORIN = Gpu("Orin", "8.7", 7620, True, "12.6")
DESKTOP = Gpu("RTX 4090", "8.9", 24000, False, "13.0")


class FakeCuda(Cuda):
    """Device memory is a dict; everything queued happens at once, or is recorded while capturing."""

    binding = "fake"
    stream = 7

    def __init__(self, gpu: Gpu = DESKTOP, can_capture: bool = True) -> None:
        self.gpu = gpu
        self.can_capture = can_capture
        self.memory: dict[int, np.ndarray] = {}
        self.calls: list[str] = []
        self.recording: list[Callable[[], None]] | None = None
        self.fails_at = ""
        self.is_closed = False

    def do(self, name: str, work: Callable[[], None]) -> None:
        if name == self.fails_at:
            raise BackendError(f"{name} failed with cudaErrorIllegalAddress (an illegal memory access)")
        self.calls.append(name)
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def free_mib(self) -> int:
        return 3000

    def device_buffer(self, size_bytes: int) -> int:
        self.calls.append("malloc")
        address = 0x1000 * (len(self.memory) + 1)
        self.memory[address] = np.full(size_bytes, 0xAA, np.uint8)
        return address

    def host_buffer(self, size_bytes: int, is_mapped: bool = False) -> HostBuffer:
        self.calls.append("host")
        array = np.full(size_bytes, 0xAA, np.uint8)
        address = 0x1000 * (len(self.memory) + 1) + 8
        if is_mapped:
            self.memory[address] = array
        return HostBuffer(array, array.ctypes.data, address if is_mapped else 0)

    def copy_in(self, address: int, host: HostBuffer) -> None:
        self.do("in", lambda: np.copyto(self.memory[address], host.array))

    def copy_out(self, host: HostBuffer, address: int) -> None:
        self.do("out", lambda: np.copyto(host.array, self.memory[address]))

    def synchronise(self) -> None:
        self.do("synchronise", lambda: None)

    def event(self) -> Any:
        return [0.0]

    def record(self, event: Any) -> None:
        self.do("record", lambda: event.__setitem__(0, float(len(self.calls))))

    def elapsed_ms(self, first: Any, second: Any) -> float:
        return float(second[0] - first[0])

    def capture(self, work: Callable[[], None]) -> Any | None:
        if not self.can_capture:
            return None
        self.recording = []
        try:
            work()
        finally:
            recorded, self.recording = self.recording, None
        return recorded

    def launch(self, graph: Any) -> None:
        self.calls.append("launch")
        for work in graph:
            work()

    def close(self) -> None:
        self.is_closed = True


class _Logger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"


class _DataType(Enum):
    FLOAT = 0
    UINT8 = 1
    HALF = 2


class _TensorIOMode(Enum):
    INPUT = 0
    OUTPUT = 1


TENSORS = {
    "frames": (_TensorIOMode.INPUT, _DataType.UINT8, (1, 64, 64, 3)),
    "score": (_TensorIOMode.OUTPUT, _DataType.FLOAT, (1,)),
    "map": (_TensorIOMode.OUTPUT, _DataType.FLOAT, (1, 64, 64)),
}


class FakeTensorRT:
    """The names of surface.RUN and surface.BUILD, with a device to compute on.

    Attributes:
        refuses: the stage that fails: builder, parse, build, runtime, engine, context, bind or run.
        tensors: what networks and engines have.
        gain: what scores are multiplied by, to disagree with the golden scores.
        built: how many plans were built.
    """

    __version__ = "10.3.0"
    ILogger, DataType, TensorIOMode = _Logger, _DataType, _TensorIOMode
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(VERSION_COMPATIBLE="compatible", EXCLUDE_LEAN_RUNTIME="exclude")

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.refuses = ""
        self.tensors = dict(TENSORS)
        self.gain = 1.0
        self.built = 0
        self.contexts = 0
        self.config: Any = None
        self.IProgressMonitor = object

    # the build half

    def Builder(self, logger: Any) -> Any:
        if self.refuses == "builder":
            logger.log("error", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(
            create_network=lambda flags: self._network() if flags == 2 else None,
            create_builder_config=self._builder_config,
            build_serialized_network=lambda network, config: self._build(logger),
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        error = SimpleNamespace(
            desc=lambda: "false", node_name=lambda: "/head/Det", node_operator=lambda: "Det"
        )
        return SimpleNamespace(
            parse=lambda graph: self.refuses != "parse", num_errors=1, get_error=lambda index: error
        )

    def _network(self) -> Any:
        specs = [SimpleNamespace(name=n, mode=m, dtype=d, shape=s) for n, (m, d, s) in self.tensors.items()]
        ins = [spec for spec in specs if spec.mode is _TensorIOMode.INPUT]
        outs = [spec for spec in specs if spec.mode is _TensorIOMode.OUTPUT]
        return SimpleNamespace(
            num_inputs=len(ins), num_outputs=len(outs), get_input=ins.__getitem__, get_output=outs.__getitem__
        )

    def _builder_config(self) -> Any:
        cache = SimpleNamespace(serialize=lambda: b"timings")
        self.config = SimpleNamespace(
            pools={},
            flags=[],
            caches=[],
            get_timing_cache=lambda: cache,
        )
        self.config.set_memory_pool_limit = self.config.pools.__setitem__
        self.config.set_flag = self.config.flags.append
        self.config.create_timing_cache = lambda content: (self.config.caches.append(content), cache)[1]
        self.config.set_timing_cache = lambda cache, mismatch: self.config.caches[-1] != b"of another GPU"
        return self.config

    def _build(self, logger: Any) -> bytes | None:
        if self.refuses == "build":
            logger.log("error", "OutOfMemory (Requested size was 33771776 bytes)")
            logger.log("error", "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (35)")
            return None
        self.built += 1
        return b"engine of %d" % self.built

    # the run half

    def Runtime(self, logger: Any) -> Any:
        if self.refuses == "runtime":
            raise TypeError("pybind11::init(): factory function returned nullptr")

        def deserialise(content: bytes) -> Any | None:
            if self.refuses == "engine" or not content.startswith(b"engine"):
                logger.log("error", "Serialization assertion stdVersionRead == kVERSION failed.")
                return None
            return self._engine()

        return SimpleNamespace(deserialize_cuda_engine=deserialise)

    def _engine(self) -> Any:
        return SimpleNamespace(
            num_io_tensors=len(self.tensors),
            get_tensor_name=list(self.tensors).__getitem__,
            get_tensor_mode=lambda name: self.tensors[name][0],
            get_tensor_dtype=lambda name: self.tensors[name][1],
            get_tensor_shape=lambda name: self.tensors[name][2],
            create_execution_context=lambda: None if self.refuses == "context" else self._context(),
        )

    def _context(self) -> Any:
        self.contexts += 1
        addresses: dict[str, int] = {}

        def bind(name: str, address: int) -> bool:
            addresses[name] = address
            return self.refuses != "bind"

        def run(stream: int) -> bool:
            assert stream == self.cuda.stream
            if self.refuses != "run":
                self.cuda.do("run", lambda: self._compute(addresses))
            return self.refuses != "run"

        return SimpleNamespace(set_tensor_address=bind, execute_async_v3=run)

    def _compute(self, addresses: dict[str, int]) -> None:
        memory = {name: self.cuda.memory[address] for name, address in addresses.items()}
        frames = memory["frames"].reshape(1, 64, 64, 3).astype(np.float32)
        anomaly_map = np.abs(frames.mean(3) - 128.0) / 32.0 * np.float32(self.gain)
        memory["map"].view(np.float32)[:] = anomaly_map.ravel()
        memory["score"].view(np.float32)[:] = anomaly_map.max()


def fake_library(cuda: FakeCuda, name: str = "tensorrt") -> Library:
    """The fake module as the adapter sees it."""
    return Library(name, FakeTensorRT(cuda))


def has_rtx() -> tuple[bool, str]:
    """Whether TensorRT for RTX is installed, and if not why."""
    try:
        return bool(library_for_build("rtx", has_gpu=False)), ""
    except BackendUnavailable as exc:
        return False, str(exc)


class GreySession(Session):
    """The tiny graph of conftest.py in numpy.

    Attributes:
        fails: whether scoring raises BackendError.
        gain: what scores are multiplied by, to disagree with the golden scores.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.fails = False
        self.gain = gain
        self.is_closed = False
        self.scored = 0

    @property
    def spec(self) -> SessionSpec:
        return SessionSpec("grey", "nothing", 1, (64, 64))

    def score(self, frames: np.ndarray) -> Scores:
        if self.fails or self.is_closed:
            raise BackendError("the device is gone")
        self.scored += 1
        anomaly_map = np.abs(frames.astype(np.float32).mean(3) - 128.0) / 32.0 * np.float32(self.gain)
        return Scores(anomaly_map.max((1, 2)), anomaly_map)

    def close(self) -> None:
        self.is_closed = True


class GreyDevice:
    """Opens GreySessions and remembers them.

    Attributes:
        refuses: how many of the next openings fail.
        gain: of the sessions that are opened from now on.
    """

    def __init__(self) -> None:
        self.refuses = 0
        self.gain = 1.0
        self.sessions: list[GreySession] = []

    def __call__(self, bundle: Bundle) -> Inspector:
        if self.refuses:
            self.refuses -= 1
            raise BackendError("the device does not answer")
        self.sessions.append(GreySession(self.gain))
        return Inspector(self.sessions[-1], bundle.manifest)


def grey_frame(index: int, grey: int) -> Frame:
    """A frame that scores |grey - 128| / 32."""
    return Frame(np.full((64, 64, 3), grey, np.uint8), index)
