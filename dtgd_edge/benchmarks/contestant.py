"""What is timed side by side: a bundle, another program's ONNX file, or an ideal graph, in one runtime."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.timing import SETTLE_S
from dtgd_edge.bundle import Bundle, Manifest
from dtgd_edge.runtime.session import open_session

Kind = Literal["ours", "peer", "ideal", "copy", "launch"]
Device = Literal["CPU", "GPU"]
ORT, OPENVINO, OPENVINO_OWN = "ort", "openvino", "openvino-own"
CUDA, CUDA_OWN = "ort-cuda", "ort-cuda-own"
RUNTIMES = {
    ORT: "ONNX Runtime",
    OPENVINO: "OpenVINO",
    OPENVINO_OWN: "OpenVINO",
    CUDA: "ONNX Runtime CUDA",
    CUDA_OWN: "ONNX Runtime CUDA",
}
# What a runtime does when left alone, beside what it is told to do.
LEFT_ALONE = {OPENVINO_OWN: OPENVINO, CUDA_OWN: CUDA}
ON_GPU = (CUDA, CUDA_OWN)
# What OpenVINO says that it computes float layers in.
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """A graph to be timed.

    Attributes:
        name: of its line.
        kind: "ours" is opened as the line opens it; the others as plain graphs with the same settings. An
            "ideal" graph only multiplies, a "copy" only moves values, a "launch" only starts tiny nodes.
        precision: "fp32", "fp16" or "int8".
        graph: ONNX, or the path of an ONNX file.
        feed: its ready input: [N, H, W, 3] uint8 of a bundle, float32 of the others.
        float_macs, integer_macs: multiplications per call.
        size_bytes: of the file.
        bundle: of ours.
        device: the only one that it is meant for; None: any.
        moved_bytes: of a copy, to and from the device's memory.
        nodes: of a launch.
    """

    name: str
    kind: Kind
    precision: str
    graph: bytes | Path
    feed: NDArray[Any]
    float_macs: int
    integer_macs: int
    size_bytes: int
    bundle: Bundle | None = None
    device: Device | None = None
    moved_bytes: int = 0
    nodes: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether it stands in the table; the others are what it is measured by."""
        return self.kind in ("ours", "peer")

    @property
    def graph_bytes(self) -> int:
        """Size of the graph, nearly all of it weights."""
        return self.graph.stat().st_size if isinstance(self.graph, Path) else len(self.graph)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A contestant in a runtime.

    Attributes:
        contestant: which.
        runtime: one of RUNTIMES.
        floats: what float layers are computed in: "fp32", "tf32", "bf16" or "fp16".
        call: scores the feed.
        close: gives the memory back.
    """

    contestant: Contestant
    runtime: str
    floats: str
    call: Callable[[], object]
    close: Callable[[], None] = lambda: None

    @property
    def device(self) -> Device:
        """What computes."""
        return device_of(self.runtime)

    @property
    def macs(self) -> dict[str, int]:
        """Multiplications of a call by the arithmetic that they are done in."""
        floats, integers = self.contestant.float_macs, self.contestant.integer_macs
        # The CUDA provider leaves Q/DQ nodes as they are and multiplies floats between them.
        return (
            {self.floats: floats + integers}
            if self.device == "GPU"
            else {self.floats: floats, "int8": integers}
        )

    @property
    def precision(self) -> str:
        """For people: what the graph is, or what the runtime makes of it."""
        own = self.contestant.precision
        if self.device == "GPU" and own == "int8":
            return f"int8 as {self.floats}"
        return own if self.floats == "fp32" else self.floats

    def timed(self) -> float:
        """Milliseconds of one call."""
        start = time.monotonic_ns()
        self.call()
        return (time.monotonic_ns() - start) / 1e6


def device_of(runtime: str) -> Device:
    """What computes in one of RUNTIMES."""
    return "GPU" if runtime in ON_GPU else "CPU"


def interleaved(
    opened: Sequence[Opened],
    frames: int,
    warm_up: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[float]]:
    """Let contestants take turns, one call each, so that foreign load hits all alike.

    Args:
        opened: who takes turns.
        frames: counted calls of each.
        warm_up: calls of each before that.
        progress: called with the number of rounds done and of all.

    Returns:
        Milliseconds of the counted calls, for each contestant; of the whole rounds, where Ctrl-C ended them.
    """
    samples: list[list[float]] = [[] for _ in opened]
    try:
        for index in range(-warm_up, frames):
            for each, times in zip(opened, samples, strict=True):
                ms = each.timed()
                if index >= 0:
                    times.append(ms)
                # A pool's threads go on spinning for a while, which would slow the next one down.
                time.sleep(SETTLE_S)
            progress(warm_up + index + 1, warm_up + frames)
    except KeyboardInterrupt:
        if not (whole := min(map(len, samples))):
            raise
        return [times[:whole] for times in samples]
    return samples


def open_contestant(contestant: Contestant, runtime: str, threads: int) -> Opened:
    """Open a contestant with the settings that the line's own sessions have.

    Args:
        contestant: what.
        runtime: one of RUNTIMES; OPENVINO_OWN does not keep OpenVINO from computing in bfloat16, CUDA_OWN
            not ONNX Runtime from TensorFloat-32.
        threads: CPU threads that share the graph.

    Raises:
        BackendUnavailable: the runtime is not installed.
        BackendError: it refuses the graph.
    """
    if contestant.bundle is not None:
        session = open_session(contestant.bundle, runtime, threads)
        floats = _floats(contestant.bundle.manifest, runtime)
        return Opened(contestant, runtime, floats, lambda: session.score(contestant.feed), session.close)
    if runtime == ORT:
        return _in_ort(contestant, threads)
    if runtime in ON_GPU:
        return _on_cuda(contestant, runtime, threads)
    return _in_openvino(contestant, runtime, threads)


def _floats(manifest: Manifest, runtime: str) -> str:
    if runtime == ORT:
        return "fp32"
    if runtime == CUDA:
        return "fp16" if manifest.precision == "fp16" else "fp32"
    from dtgd_edge.runtime.sessions.openvino import precision_hint

    return _PRECISIONS[precision_hint(manifest)]


def _in_ort(contestant: Contestant, threads: int) -> Opened:
    from dtgd_edge.runtime.sessions.ort import latency_options, open_graph

    session = open_graph(contestant.graph, contestant.name, latency_options(threads))
    feed = {session.get_inputs()[0].name: contestant.feed}
    return Opened(contestant, ORT, "fp32", lambda: session.run(None, feed))


def _on_cuda(contestant: Contestant, runtime: str, threads: int) -> Opened:
    from dtgd_edge.runtime.sessions.ort import latency_options, open_graph_on_cuda

    options, has_tf32 = latency_options(threads), runtime == CUDA_OWN
    session = open_graph_on_cuda(contestant.graph, contestant.name, options, has_tf32=has_tf32)
    feed = {session.get_inputs()[0].name: contestant.feed}
    floats = "fp16" if contestant.precision == "fp16" else "tf32" if has_tf32 else "fp32"
    return Opened(contestant, runtime, floats, lambda: session.run(None, feed))


def _in_openvino(contestant: Contestant, runtime: str, threads: int) -> Opened:
    from dtgd_edge.runtime.sessions.openvino import compile_graph, floats_of, latency_settings

    settings = latency_settings(threads)
    if runtime == OPENVINO:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = compile_graph(contestant.graph, contestant.name, settings, contestant.feed.shape)
    request, feed = compiled.create_infer_request(), {0: contestant.feed}
    return Opened(contestant, runtime, _PRECISIONS[floats_of(compiled)], lambda: request.infer(feed))


def noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A ready picture of noise, float32 in [0, 1)."""
    return np.random.default_rng(0).random(shape, np.float32)
