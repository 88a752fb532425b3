"""How many multiplications a graph needs: those of its convolutions and matrix products."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from dtgd_edge.errors import DataError
from dtgd_edge.runtime.session import first_line

# Per kind of node, the places of its two factors among the inputs: what flows, and the weights.
_FACTORS = {
    "Conv": (0, 1),
    "ConvTranspose": (0, 1),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearConv": (0, 3),
    "QLinearMatMul": (0, 3),
}
_INTEGER = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiplications with their additions, for one call of a graph.

    Attributes:
        floating: in float32 or float16.
        integer: of 8-bit values: integer nodes, and those between DequantizeLinear nodes.
    """

    floating: int
    integer: int

    @property
    def total(self) -> int:
        return self.floating + self.integer


def macs_of_model(model: ModelProto, feed: NDArray[np.generic]) -> Macs:
    """Count Conv, ConvTranspose, MatMul, Gemm and their quantised forms; padding counts as pixels do.

    The graph is run once: shapes that are computed from other shapes are beyond ONNX's own inference.
    Bodies of If, Loop and Scan are not looked into.

    Args:
        model: with one input.
        feed: what to put in.

    Raises:
        DataError: ONNX Runtime cannot run it.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    counted = [node for node in model.graph.node if node.op_type in _FACTORS]
    shapes = _shapes(model, feed, {name for node in counted for name in _tensors(node)})
    floating = integer = 0
    for node in counted:
        names = [*_tensors(node)]
        count = _macs_of_node(node, *(shapes[name] for name in names))
        kinds = [made_by[name].op_type if name in made_by else "" for name in names[:2]]
        if node.op_type in _INTEGER or kinds == ["DequantizeLinear"] * 2:
            integer += count
        else:
            floating += count
    return Macs(floating, integer)


def _tensors(node: NodeProto) -> Iterator[str]:
    """What flows in, the weights, and what comes out."""
    yield from (node.input[place] for place in _FACTORS[node.op_type])
    yield node.output[0]


def _macs_of_node(node: NodeProto, flow: Sequence[int], weights: Sequence[int], made: Sequence[int]) -> int:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "ConvTranspose":
        return prod(flow) * prod(weights[1:])  # weights [C, M / groups, *kernel]: each value goes so far
    if node.op_type == "Gemm":
        return prod(made) * flow[0 if attributes.get("transA") else 1]
    if "MatMul" in node.op_type:
        return prod(made) * flow[-1]
    return prod(made) * prod(weights[1:])  # weights [M, C / groups, *kernel]: each value comes from so many


def _shapes(model: ModelProto, feed: NDArray[np.generic], names: set[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, as they are when the graph is run."""
    shapes = {i.name: tuple(i.dims) for i in model.graph.initializer}
    [entrance] = [i.name for i in model.graph.input if i.name not in shapes]
    shapes[entrance] = feed.shape
    if not (wanted := sorted(names - shapes.keys())):
        return shapes
    opened = copy.deepcopy(model)
    del opened.graph.output[:]
    opened.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is said below
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(wanted, {entrance: feed})
    # ONNX Runtime's error classes share no base of their own.
    except Exception as exc:
        raise DataError(
            f"the graph's multiplications cannot be counted, since ONNX Runtime cannot run it "
            f"({first_line(exc)}); expected a graph of standard operators; export it again"
        ) from exc
    return {**shapes, **{name: value.shape for name, value in zip(wanted, values, strict=True)}}
