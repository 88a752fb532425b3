"""ONNX Runtime on the CPU or a GPU. The only file of the runtime that imports onnxruntime."""

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, Manifest, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.cuda_driver import cuda_gpus
from dtgd_edge.runtime.probe import ORT_GPU_INSTALL, provider_fault
from dtgd_edge.runtime.session import (
    Session,
    SessionSpec,
    check_frames,
    first_line,
    spec_of_bundle,
    usable_cores,
)
from dtgd_edge.verdict import Scores

try:
    import onnxruntime
except ImportError as exc:
    raise BackendUnavailable(
        f"ONNX Runtime cannot be imported ({exc}); expected it for the backend 'ort'; "
        "run: python -m pip install onnxruntime"
    ) from exc

_LOG = logging.getLogger(__name__)
_SUFFIX = "ExecutionProvider"


class OrtSession(Session):
    """A bundle's graph in ONNX Runtime, set for the latency of one frame, on the CPU only.

    Args:
        bundle: from Bundle.open.
        threads: threads that share one graph; None: the cores this process may use.

    Raises:
        BackendError: ONNX Runtime refuses the graph, or the graph is not what the manifest says.
        BackendUnavailable: the provider that was asked for is not the one that runs.
    """

    BACKEND: ClassVar[str] = "ort"
    PROVIDER: ClassVar[str] = "CPU"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        threads = threads or usable_cores()
        self._spec = spec_of_bundle(bundle, self.BACKEND, self._device(threads))
        self._input_name = bundle.manifest.input.name
        self._output_names = [output.name for output in bundle.manifest.outputs]
        _require_provider(self.PROVIDER)
        options = latency_options(threads, keeps_qdq=keeps_qdq(bundle.manifest))
        self._session: Any = open_graph(bundle.graph, bundle.manifest.name, options, self.providers(bundle))
        _check_provider(self._session, self.PROVIDER)
        _check_tensors("input", self._session.get_inputs(), [bundle.manifest.input])
        _check_tensors("output", self._session.get_outputs(), bundle.manifest.outputs)

    def providers(self, bundle: Bundle) -> list[Any]:
        """What ONNX Runtime is asked for, best first: names, or names with options."""
        return ["CPUExecutionProvider"]

    def _device(self, threads: int) -> str:
        noun = "thread" if threads == 1 else "threads"
        return f"{self.PROVIDER} (ONNX Runtime {onnxruntime.__version__}, {threads} {noun})"

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        if self._session is None:
            raise BackendError("the ONNX Runtime session is closed; expected an open one; open it again")
        check_frames(frames, self._spec)
        try:
            score, anomaly_map = self._session.run(
                self._output_names, {self._input_name: np.ascontiguousarray(frames)}
            )
        except Exception as exc:
            raise BackendError(
                f"ONNX Runtime failed while scoring ({first_line(exc)}); expected scores; "
                "check the machine's free memory"
            ) from exc
        return Scores(np.array(score, np.float32), np.array(anomaly_map, np.float32))

    def close(self) -> None:
        self._session = None


class OrtCudaSession(OrtSession):
    """The same on an NVIDIA GPU through ONNX Runtime's CUDA provider; never silently on the CPU."""

    BACKEND = "ort-cuda"
    PROVIDER = "CUDA"

    def providers(self, bundle: Bundle) -> list[Any]:
        return cuda_providers()


class OrtTensorrtSession(OrtSession):
    """The same through ONNX Runtime's TensorRT provider, which builds its engine each time it is opened."""

    BACKEND = "ort-tensorrt"
    PROVIDER = "Tensorrt"

    def providers(self, bundle: Bundle) -> list[Any]:
        _LOG.warning("ONNX Runtime builds a TensorRT engine now (minutes); backend 'tensorrt' keeps its own")
        precision = bundle.manifest.precision
        options = {
            "trt_fp16_enable": str(precision == "fp16"),
            "trt_int8_enable": str(precision == "int8"),
        }
        return [("TensorrtExecutionProvider", options), "CUDAExecutionProvider", "CPUExecutionProvider"]


def open_graph(
    graph: bytes | Path, name: str, options: Any, providers: Sequence[Any] = ("CPUExecutionProvider",)
) -> Any:
    """Open an ONNX graph: an onnxruntime.InferenceSession.

    Args:
        graph: ONNX, or the path of an ONNX file.
        name: for errors.
        options: SessionOptions.
        providers: best first.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    try:
        # Its own fall-back would go on on the CPU when the GPU fails, even in the middle of a run.
        return onnxruntime.InferenceSession(graph, options, providers=list(providers), enable_fallback=0)
    # ONNX Runtime's error classes share no base of their own.
    except Exception as exc:
        raise BackendError(
            f"ONNX Runtime {onnxruntime.__version__} refuses the graph of {name!r} ({first_line(exc)}); "
            "expected one it can run; export it again or update onnxruntime"
        ) from exc


def cuda_providers(*, has_tf32: bool = False) -> list[Any]:
    """What ONNX Runtime is asked for on an NVIDIA GPU.

    Args:
        has_tf32: whether float32 layers may be computed in TensorFloat-32, which keeps 10 bits of a
            float32's 23; the golden scores would show it, so sessions have it not. It is what the provider
            does when left alone.
    """
    options = {"use_tf32": str(int(has_tf32)), "arena_extend_strategy": "kSameAsRequested"}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def open_graph_on_cuda(graph: bytes | Path, name: str, options: Any, *, has_tf32: bool = False) -> Any:
    """Open any ONNX graph as OrtCudaSession opens a bundle's: an onnxruntime.InferenceSession.

    Args:
        graph: ONNX, or the path of an ONNX file.
        name: for errors.
        options: SessionOptions.
        has_tf32: as cuda_providers takes it.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
        BackendUnavailable: the CUDA provider cannot run here.
    """
    _require_provider(OrtCudaSession.PROVIDER)
    session = open_graph(graph, name, options, cuda_providers(has_tf32=has_tf32))
    _check_provider(session, OrtCudaSession.PROVIDER)
    return session


def keeps_qdq(manifest: Manifest) -> bool:
    """Whether Q/DQ nodes stay as they are: fusing them would quantise biases, which TensorRT does not."""
    return manifest.placement == "tensorrt"


def latency_options(threads: int, *, keeps_qdq: bool = False) -> Any:
    """ONNX Runtime set for the latency of one frame: its SessionOptions.

    Args:
        threads: that share one graph.
        keeps_qdq: see the function of that name.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Shapes are fixed: after the first frame every buffer is planned, none is allocated.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = True
    # Numbers next to zero cost a hundred times the others on x86 and mean nothing here.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if keeps_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 3  # errors; they reach the user as exceptions
    return options


def _preload_cuda() -> None:
    """Let ONNX Runtime find the CUDA libraries that came as Python packages."""
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):  # it prints; what is missing is said below
            onnxruntime.preload_dlls()


def _require_provider(provider: str) -> None:
    """Refuse a GPU provider that cannot run: ONNX Runtime itself would take the CPU without an error."""
    built = onnxruntime.get_available_providers()
    if f"{provider}{_SUFFIX}" not in built:
        raise BackendUnavailable(
            f"this ONNX Runtime {onnxruntime.__version__} was built with {_names(built)}; "
            f"expected {provider}; run: {ORT_GPU_INSTALL}"
        )
    if provider == "CPU":
        return
    cuda_gpus()
    _preload_cuda()
    if fault := provider_fault(provider.lower()):
        raise _elsewhere(provider, ["CPUExecutionProvider"], fault)


def _check_provider(session: Any, provider: str) -> None:
    if (found := session.get_providers())[0] != f"{provider}{_SUFFIX}":
        raise _elsewhere(provider, found, "no reason given")


def _elsewhere(provider: str, found: Sequence[str], reason: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"ONNX Runtime {onnxruntime.__version__} would run on {_names(found)} ({reason}); "
        f"expected {provider}; "
        "install what is missing (dtgd-edge doctor says what), or use --backend ort"
    )


def _names(providers: Sequence[str]) -> str:
    return ", ".join(name.removesuffix(_SUFFIX) for name in providers)


def _check_tensors(role: str, found: Sequence[Any], expected: Sequence[TensorSpec]) -> None:
    in_graph = [(node.name, node.type, tuple(node.shape)) for node in found]
    in_manifest = [
        (spec.name, _ORT_TYPES.get(spec.dtype, spec.dtype), tuple(spec.shape)) for spec in expected
    ]
    if in_graph != in_manifest:
        raise BackendError(
            f"the graph's {role} is {_readable(in_graph)}; the manifest says {_readable(in_manifest)}; "
            "export the bundle again"
        )


def _readable(tensors: Sequence[tuple[str, str, tuple[Any, ...]]]) -> str:
    return ", ".join(f"{name!r} {kind} {list(shape)}" for name, kind, shape in tensors)


_ORT_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
