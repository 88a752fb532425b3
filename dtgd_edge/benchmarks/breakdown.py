"""Where the time goes inside of a graph: ONNX Runtime's profile, operator by operator, in groups."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dtgd_edge.benchmarks.contestant import Contestant

# What ONNX Runtime's CPU calls its operators, once it has fused what it can.
GROUPS = {
    "convolutions": (
        "Conv FusedConv NhwcFusedConv QLinearConv ConvInteger ConvTranspose QLinearConvTranspose "
        "MatMul FusedMatMul QLinearMatMul MatMulInteger MatMulIntegerToFloat DynamicQuantizeMatMul "
        "Gemm FusedGemm QGemm"
    ),
    "quantise": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "resize": "Resize Upsample",
    "elementwise": (
        "Add Sub Mul Div Neg Abs Sqrt Pow Exp Log Min Max Clip Sum Reciprocal Where "
        "Equal Greater Less GreaterOrEqual LessOrEqual Not And Or "
        "Relu LeakyRelu Sigmoid HardSigmoid Tanh Erf Gelu QuickGelu Softmax "
        "ReduceSum ReduceMean ReduceMax ReduceMin ReduceL2 ReduceSumSquare LpNormalization TopK "
        "BatchNormalization InstanceNormalization LayerNormalization "
        "QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearSoftmax QLinearReduceMean"
    ),
    "layout": (
        "ReorderInput ReorderOutput Transpose Reshape Flatten Squeeze Unsqueeze Concat QLinearConcat "
        "Split Slice Pad Expand Tile Gather Cast Identity Shape Constant ConstantOfShape"
    ),
}
OTHER = "other"
COLUMNS = (*GROUPS, OTHER)
_GROUP_OF = {operator: group for group, names in GROUPS.items() for operator in names.split()}


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What a call's time consists of, in ONNX Runtime.

    Attributes:
        name: of the contestant.
        ms: sum over the operators. What a call takes beyond that is not in the profile: from one operator to
            the next, most of the time is the profiler's own.
        shares: of that sum, by COLUMNS: convolutions and matrix products; Q/DQ nodes that stand alone;
            resizes; elementwise and reducing operators, the cosine tail among them; what only moves values;
            the others, pooling for instance.
        operators: shares by operator, the largest first.
    """

    name: str
    ms: float
    shares: dict[str, float]
    operators: dict[str, float]


def breakdown(contestant: Contestant, threads: int, calls: int = 10) -> Breakdown:
    """Profile a contestant in ONNX Runtime.

    Args:
        contestant: what.
        threads: as it was timed with.
        calls: each node counts with the median of its times.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    from dtgd_edge.runtime.sessions.ort import open_graph

    nodes = _profile(contestant, threads, calls, open_graph)
    medians = np.median([*nodes.values()], axis=1)  # microseconds
    total = float(medians.sum())
    operators: dict[str, float] = defaultdict(float)
    for (operator, _), median in zip(nodes, medians, strict=True):
        operators[operator] += float(median) / total
    shares = dict.fromkeys(COLUMNS, 0.0)
    for operator, share in operators.items():
        shares[_GROUP_OF.get(operator, OTHER)] += share
    ordered = sorted(operators.items(), key=lambda pair: pair[1], reverse=True)
    return Breakdown(contestant.name, total / 1e3, shares, dict(ordered))


def nodes_on_gpu(contestant: Contestant, threads: int) -> int:
    """Count the nodes that one call starts in ONNX Runtime on a GPU; their times there are not a profile's.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
        BackendUnavailable: its CUDA provider cannot run here.
    """
    from dtgd_edge.runtime.sessions.ort import open_graph_on_cuda

    return len(_profile(contestant, threads, 1, open_graph_on_cuda))


def _profile(
    contestant: Contestant, threads: int, calls: int, open_with: Callable[..., Any]
) -> dict[tuple[str, str], list[int]]:
    """Microseconds of each node, call by call, by operator and name."""
    from dtgd_edge.runtime.sessions.ort import keeps_qdq, latency_options

    bundle = contestant.bundle
    options = latency_options(threads, keeps_qdq=bundle is not None and keeps_qdq(bundle.manifest))
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="dtgd-profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_with(contestant.graph, contestant.name, options)
        feed = {session.get_inputs()[0].name: contestant.feed}
        for _ in range(calls):
            session.run(None, feed)
        content = Path(session.end_profiling()).read_bytes()
    nodes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in msgspec.json.decode(content, type=list[_Event]):
        if event.cat == "Node" and event.name.endswith("_kernel_time"):
            nodes[event.args.op_name, event.name].append(event.dur)
    return nodes


class _Arguments(msgspec.Struct):
    op_name: str = ""


class _Event(msgspec.Struct):
    """An event of the profile, a Chrome trace; times are in microseconds."""

    cat: str
    name: str
    dur: int = 0
    args: _Arguments = msgspec.field(default_factory=_Arguments)
