"""Ideal graphs: nothing but large multiplications, to see how fast this machine's CPU can do them at all.

Each is a chain of 3 x 3 convolutions in one of the shapes of a ResNet, or of square matrix products with as
many multiplications, in float32 or between Q/DQ nodes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dtgd_edge.export.onnx import INPUT, OPSET, checked

CHANNELS_AND_SIDES = ((64, 64), (128, 32), (256, 16))
CONVOLUTIONS = 8
MATRIX_SIDE, PRODUCTS = 512, 9
# Integers are so many times as fast: both shall take about as long, lest foreign load hit one only.
INTEGER_LENGTH = 4
# Of 8-bit values, so that what flows neither vanishes nor saturates.
FLOW_SCALE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Ideal:
    """An ideal graph.

    Attributes:
        name: its shape, for people.
        is_integer: whether it multiplies 8-bit values.
        graph: ONNX.
        shape: of its one float32 input.
        macs: multiplications.
    """

    name: str
    is_integer: bool
    graph: bytes
    shape: tuple[int, ...]
    macs: int


def ideal_graphs() -> list[Ideal]:
    """All of them; each has 1.2 billion multiplications, and INTEGER_LENGTH times as many of integers."""
    kinds = (False, True)
    made = [_convolutions(*size, integer) for size in CHANNELS_AND_SIDES for integer in kinds]
    return [*made, *(_products(integer) for integer in kinds)]


def _convolutions(channels: int, side: int, is_integer: bool) -> Ideal:
    count = CONVOLUTIONS * (INTEGER_LENGTH if is_integer else 1)
    name = f"{count} convolutions 3 x 3, {channels} channels, {side} x {side}"
    weights, shape = (channels, channels, 3, 3), (1, channels, side, side)
    chain = _Chain(is_integer, channels * 9)
    for _ in range(count):
        chain.multiply("Conv", weights, pads=[1, 1, 1, 1])
    return chain.ideal(name, shape, count * channels * channels * 9 * side * side)


def _products(is_integer: bool) -> Ideal:
    count = PRODUCTS * (INTEGER_LENGTH if is_integer else 1)
    name = f"{count} matrix products, {MATRIX_SIDE} x {MATRIX_SIDE}"
    shape = (MATRIX_SIDE, MATRIX_SIDE)
    chain = _Chain(is_integer, MATRIX_SIDE)
    for _ in range(count):
        chain.multiply("MatMul", shape)
    return chain.ideal(name, shape, count * MATRIX_SIDE**3)


class _Chain:
    """A graph that grows node by node."""

    def __init__(self, is_integer: bool, summands: int) -> None:
        self._is_integer = is_integer
        self._spread = 1 / np.sqrt(summands)  # keeps the variance of what flows
        self._rng = np.random.default_rng(0)
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._last = INPUT
        if is_integer:
            self._flow = [
                self._constant("scale", np.float32(FLOW_SCALE)),
                self._constant("zero", np.uint8(128)),
            ]
            self._weights = [
                self._constant("weight_scale", np.float32(3 * self._spread / 127)),
                self._constant("weight_zero", np.int8(0)),
            ]
            self._last = self._rounded(self._last)

    def multiply(self, kind: str, shape: tuple[int, ...], **attributes: Any) -> None:
        weights = np.clip(self._rng.standard_normal(shape, np.float32), -3, 3)
        if self._is_integer:
            name = self._constant("weights", np.round(weights / 3 * 127).astype(np.int8))
            name = self._node("DequantizeLinear", [name, *self._weights])
        else:
            name = self._constant("weights", weights * np.float32(self._spread))
        self._last = self._node(kind, [self._last, name], **attributes)
        if self._is_integer:
            self._last = self._rounded(self._last)

    def ideal(self, name: str, shape: tuple[int, ...], macs: int) -> Ideal:
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape) for end in (INPUT, self._last)]
        graph = helper.make_graph(self._nodes, "ideal", ends[:1], ends[1:], self._initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return Ideal(name, self._is_integer, checked(model).SerializeToString(), shape, macs)

    def _rounded(self, source: str) -> str:
        return self._node(
            "DequantizeLinear", [self._node("QuantizeLinear", [source, *self._flow]), *self._flow]
        )

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _constant(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        name = f"{name}_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name
