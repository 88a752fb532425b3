"""OpenVINO on the CPU, for PCs without an NVIDIA GPU. The only file that imports openvino."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, Manifest, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
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
    import openvino
except ImportError as exc:
    raise BackendUnavailable(
        f"OpenVINO cannot be imported ({exc}); expected it for the backend 'openvino'; "
        "run: python -m pip install openvino"
    ) from exc

NAME = "openvino"


class OpenVinoSession(Session):
    """A bundle's graph in OpenVINO, set for the latency of one frame.

    Left alone, OpenVINO computes float32 graphs in bfloat16 on processors that have it, which moves the
    scores of good parts by 3 to 7 %. So it is told to keep float32, in INT8 bundles too, whose float layers
    decide the last digits. Only a float16 bundle whose threshold was chosen on OpenVINO's own scores may use
    half the bits.

    Args:
        bundle: from Bundle.open.
        threads: threads that share one graph; None: the cores this process may use.

    Raises:
        BackendError: OpenVINO refuses the graph, or the graph is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        threads = threads or usable_cores()
        manifest = bundle.manifest
        spec_of_bundle(bundle, NAME, "")  # refuses what is no frame before anything is compiled
        settings = {**latency_settings(threads), "INFERENCE_PRECISION_HINT": precision_hint(manifest)}
        compiled = compile_graph(bundle.graph, manifest.name, settings)
        _check_ports("input", compiled.inputs, [manifest.input])
        _check_ports("output", compiled.outputs, manifest.outputs)
        self._request: Any = compiled.create_infer_request()
        used = floats_of(compiled)
        noun = "thread" if threads == 1 else "threads"
        device = f"CPU (OpenVINO {_version()}, {used}, {threads} {noun})"
        self._spec = spec_of_bundle(bundle, NAME, device)

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        if self._request is None:
            raise BackendError("the OpenVINO session is closed; expected an open one; open it again")
        check_frames(frames, self._spec)
        try:
            self._request.infer({0: np.ascontiguousarray(frames)})
            score, anomaly_map = (self._request.get_output_tensor(index).data for index in (0, 1))
        except RuntimeError as exc:
            raise BackendError(
                f"OpenVINO failed while scoring ({first_line(exc)}); expected scores; "
                "check the machine's free memory"
            ) from exc
        # The tensors are overwritten by the next frame.
        return Scores(np.array(score, np.float32), np.array(anomaly_map, np.float32))

    def close(self) -> None:
        self._request = None


def compile_graph(
    graph: bytes | Path, name: str, settings: dict[str, Any], shape: Sequence[int] | None = None
) -> Any:
    """Compile an ONNX graph for the CPU: an openvino.CompiledModel.

    Args:
        graph: ONNX, or the path of an ONNX file.
        name: for errors.
        settings: of the CPU plug-in.
        shape: of its one input; None: as the graph says.

    Raises:
        BackendError: OpenVINO refuses the graph.
    """
    try:
        core = openvino.Core()
        model = core.read_model(model=graph)
        if shape is not None:
            model.reshape(list(shape))
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as exc:  # OpenVINO's errors have no narrower base
        raise BackendError(
            f"OpenVINO {_version()} refuses the graph of {name!r} ({first_line(exc)}); expected "
            "one it can run; export it again or update openvino"
        ) from exc


def floats_of(compiled: Any) -> str:
    """What a compiled model computes float layers in: "f32", "bf16" or "f16"."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())


def latency_settings(threads: int) -> dict[str, Any]:
    """OpenVINO set for the latency of one frame, in the precision that it chooses itself."""
    return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}


def precision_hint(manifest: Manifest) -> str:
    """What OpenVINO may compute float layers in: "f16" becomes bfloat16 on CPUs that have only that."""
    return "f16" if manifest.precision == "fp16" and manifest.session == NAME else "f32"


def _version() -> str:
    return str(openvino.__version__).partition("-")[0]


def _check_ports(role: str, found: Sequence[Any], expected: Sequence[TensorSpec]) -> None:
    in_graph = [_port(port) for port in found]
    in_manifest = [(spec.name, spec.dtype, tuple(spec.shape)) for spec in expected]
    if in_graph != in_manifest:
        raise BackendError(
            f"the graph's {role} is {_readable(in_graph)}; the manifest says {_readable(in_manifest)}; "
            "export the bundle again"
        )


def _port(port: Any) -> tuple[str, str, tuple[int, ...]]:
    shape = port.partial_shape
    sides = tuple(side.get_length() if side.is_static else -1 for side in shape)
    return port.any_name, str(port.element_type.to_dtype()), sides


def _readable(tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name!r} {dtype} {list(shape)}" for name, dtype, shape in tensors)
