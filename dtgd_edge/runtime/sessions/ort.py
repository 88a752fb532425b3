"""ONNX Runtime on the CPU. The only file of the runtime that imports onnxruntime."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.session import Session, SessionSpec, check_frames, spec_of_bundle
from dtgd_edge.verdict import Scores

try:
    import onnxruntime
except ImportError as exc:
    raise BackendUnavailable(
        f"ONNX Runtime cannot be imported ({exc}); expected it for the backend 'ort'; "
        "run: python -m pip install onnxruntime"
    ) from exc


class OrtSession(Session):
    """A bundle's graph in ONNX Runtime, set for the latency of one frame, on the CPU only.

    Args:
        bundle: from Bundle.open.
        threads: threads that share one graph; None: the cores this process may use.

    Raises:
        BackendError: ONNX Runtime refuses the graph, or the graph is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        threads = threads or _usable_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors; they reach the user as exceptions
        if bundle.manifest.placement == "tensorrt":
            # Fusing these Q/DQ nodes would quantise the biases too, which TensorRT does not do, and in
            # float16 the bias's scale (activation x weight) underflows: scores come out twice as high.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        noun = "thread" if threads == 1 else "threads"
        device = f"CPU (ONNX Runtime {onnxruntime.__version__}, {threads} {noun})"
        self._spec = spec_of_bundle(bundle, "ort", device)
        self._input_name = bundle.manifest.input.name
        self._output_names = [output.name for output in bundle.manifest.outputs]
        try:
            self._session: Any = onnxruntime.InferenceSession(
                bundle.graph, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's error classes share no base of their own.
        except Exception as exc:
            raise BackendError(
                f"ONNX Runtime {onnxruntime.__version__} refuses the graph of {bundle.manifest.name!r} "
                f"({_first_line(exc)}); expected one it can run; "
                "export the bundle again or update onnxruntime"
            ) from exc
        _check_tensors("input", self._session.get_inputs(), [bundle.manifest.input])
        _check_tensors("output", self._session.get_outputs(), bundle.manifest.outputs)

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
                f"ONNX Runtime failed while scoring ({_first_line(exc)}); expected scores; "
                "check the machine's free memory"
            ) from exc
        return Scores(np.array(score, np.float32), np.array(anomaly_map, np.float32))

    def close(self) -> None:
        self._session = None


def _usable_cores() -> int:
    # A container or taskset may give this process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
