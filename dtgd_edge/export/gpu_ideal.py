"""Ideal graphs for a GPU: work for some milliseconds, made on the device, of which one number comes back.

What a CPU's ideal graphs have to do (export/ideal.py) is done in less time than a GPU needs to start it. Here
the one input is a single number and so is the output, lest the way to the device be what is timed.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dtgd_edge.export.onnx import INPUT, OPSET, checked

CHANNELS, SIDE, BATCH = 512, 64, 8
MATRIX_SIDE = 4096
# Of each arithmetic, so that all take some milliseconds on a large GPU.
COUNTS = {"fp32": 4, "fp16": 16}
COPIES, COPIED_VALUES = 16, 1 << 26
LAUNCHES = (1, 101)

_TYPES = {"fp32": np.float32, "fp16": np.float16}


@dataclass(frozen=True, slots=True, eq=False)
class GpuIdeal:
    """An ideal graph for a GPU.

    Attributes:
        name: its shape, for people.
        kind: "ideal" only multiplies, "copy" only moves values, "launch" only starts tiny nodes.
        precision: "fp32" or "fp16".
        graph: ONNX; its input is float32 [1].
        macs: multiplications of an ideal.
        moved_bytes: of a copy, to and from the device's memory.
        nodes: of a launch.
    """

    name: str
    kind: Literal["ideal", "copy", "launch"]
    precision: str
    graph: bytes
    macs: int = 0
    moved_bytes: int = 0
    nodes: int = 0


def gpu_ideal_graphs() -> list[GpuIdeal]:
    """All of them: multiplications in each precision, a copy, and launches of few and of many nodes."""
    made = [make(precision) for precision in COUNTS for make in (_convolutions, _products)]
    return [*made, _copy(), *(_launch(nodes) for nodes in LAUNCHES)]


def _convolutions(precision: str) -> GpuIdeal:
    count = COUNTS[precision]
    chain = _Chain(precision)
    # Different everywhere, since equal numbers cost a GPU less power.
    chain.node("Add", chain.noise(1, CHANNELS, SIDE, 1))
    chain.node("Add", chain.noise(BATCH, 1, 1, SIDE))
    weights = chain.noise(CHANNELS, CHANNELS, 3, 3, scale=(CHANNELS * 9) ** -0.5)
    for _ in range(count):
        chain.node("Conv", weights, pads=[1, 1, 1, 1])
    macs = count * BATCH * CHANNELS * CHANNELS * 9 * SIDE * SIDE
    name = f"{count} convolutions 3 x 3, {CHANNELS} channels, {SIDE} x {SIDE}, batch {BATCH}"
    return GpuIdeal(name, "ideal", precision, chain.graph(rank=4), macs=macs)


def _products(precision: str) -> GpuIdeal:
    count = COUNTS[precision]
    chain = _Chain(precision)
    weights = chain.noise(MATRIX_SIDE, MATRIX_SIDE, scale=MATRIX_SIDE**-0.5)
    chain.node("Add", weights)
    for _ in range(count):
        chain.node("MatMul", weights)
    name = f"{count} matrix products, {MATRIX_SIDE} x {MATRIX_SIDE}"
    return GpuIdeal(name, "ideal", precision, chain.graph(rank=2), macs=count * MATRIX_SIDE**3)


def _copy() -> GpuIdeal:
    chain = _Chain("fp32")
    chain.node("Expand", chain.constant(np.array([COPIED_VALUES], np.int64)))
    for _ in range(COPIES):
        chain.node("Add", chain.noise(1))
    moved = (1 + 2 * COPIES) * COPIED_VALUES * 4  # written once, then read and written
    name = f"{COPIES} sums with one number, {COPIED_VALUES >> 18} MiB"
    return GpuIdeal(name, "copy", "fp32", chain.graph(rank=1), moved_bytes=moved)


def _launch(nodes: int) -> GpuIdeal:
    chain = _Chain("fp32")
    for _ in range(nodes):
        chain.node("Add", chain.noise(1))
    return GpuIdeal(f"sums of one number, {nodes}", "launch", "fp32", chain.graph(rank=0), nodes=nodes)


class _Chain:
    """A graph that grows node by node."""

    def __init__(self, precision: str) -> None:
        self._type = _TYPES[precision]
        self._rng = np.random.default_rng(0)
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._last = INPUT
        if precision == "fp16":
            self.node("Cast", to=TensorProto.FLOAT16)

    def node(self, kind: str, *others: str, **attributes: Any) -> None:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, [self._last, *others], [name], name, **attributes))
        self._last = name

    def noise(self, *shape: int, scale: float = 1.0) -> str:
        values = self._rng.standard_normal(shape, np.float32) * np.float32(scale)
        return self.constant(values.astype(self._type))

    def constant(self, values: NDArray[Any]) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(values, name))
        return name

    def graph(self, rank: int) -> bytes:
        """The graph, with the first number of a tensor of that rank as its output; of rank 0 as it is."""
        if rank:
            starts, ends = (self.constant(np.full(rank, at, np.int64)) for at in (0, 1))
            self.node("Slice", starts, ends)
        self.node("Cast", to=TensorProto.FLOAT)
        shapes = [1], [1] * max(rank, 1)
        ends_of_graph = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip((INPUT, self._last), shapes, strict=True)
        ]
        graph = helper.make_graph(
            self._nodes, "ideal", ends_of_graph[:1], ends_of_graph[1:], self._initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        serialized: bytes = checked(model).SerializeToString()
        return serialized
