"""Stems of stride 2 as ones of stride 1, over 2 x 2 pixels laid together.

Seven by seven pixels of three channels are collected three bytes at a time, which costs a CPU more than
multiplying them. Over 2 x 2 pixels laid together the stem becomes 4 x 4 over twelve channels: the same
products, and some with 0, in two thirds of the time.
"""

import copy

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from dtgd_edge.export.onnx import integers
from dtgd_edge.export.stem import RAW

_SIDE = 2  # pixels laid together, down and across: the stride


def with_folded_strides(model: ModelProto) -> ModelProto:
    """Lay the frame's pixels together for the stems that read RAW.

    Args:
        model: float32, from `with_raw_stems`, its weights rounded or not; unchanged where a stem has another
            stride.
    """
    folded = copy.deepcopy(model)
    graph = folded.graph
    stems = [n for n in graph.node if n.op_type == "Conv" and n.input[0] == RAW]
    if not stems or any(integers(stem, "strides") != [_SIDE, _SIDE] for stem in stems):
        return folded
    weights = {i.name: i for i in graph.initializer}
    for stem in stems:
        weight = weights[stem.input[1]]
        kernels = _laid_together(numpy_helper.to_array(weight))
        weight.CopyFrom(numpy_helper.from_array(kernels, weight.name))
        form = {"strides": (1, 1), "kernel_shape": kernels.shape[2:]}
        for attribute in stem.attribute:
            if attribute.name in form:
                attribute.ints[:] = form[attribute.name]
    _lay_pixels_together(folded)
    return folded


def _laid_together(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels for single pixels, [O, 3, K, K], to those for fours, [O, 12, K / 2, K / 2] rounded up."""
    made, channels, side, _ = kernels.shape
    half = -(-side // _SIDE)
    filled = np.zeros((made, channels, half, _SIDE, half, _SIDE), kernels.dtype)
    filled.reshape(made, channels, half * _SIDE, half * _SIDE)[:, :, :side, :side] = kernels
    return np.ascontiguousarray(filled.transpose(0, 3, 5, 1, 2, 4).reshape(made, -1, half, half))


def _lay_pixels_together(model: ModelProto) -> None:
    """Between the rim and the transposition, bytes [N, H, W, 3] become [N, H / 2, W / 2, 12]."""
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    cast = made_by[RAW]
    turn = made_by[cast.input[0]]
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    shape = next(v.type.tensor_type.shape.dim for v in values if v.name == turn.input[0])
    count, height, width, channels = (d.dim_value for d in shape)
    rows, columns, pair = height // _SIDE, width // _SIDE, _SIDE * channels
    constants = {
        "pairs_shape": np.array([count, rows, _SIDE, columns, pair]),
        "fours_shape": np.array([count, rows, columns, _SIDE * pair]),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nodes = [
        helper.make_node("Reshape", [turn.input[0], "pairs_shape"], ["pairs"], "pixels_in_pairs"),
        helper.make_node("Transpose", ["pairs"], ["together"], "pairs_together", perm=[0, 1, 3, 2, 4]),
        helper.make_node("Reshape", ["together", "fours_shape"], ["fours"], "pixels_in_fours"),
    ]
    turn.input[0] = "fours"
    place = next(i for i, node in enumerate(graph.node) if node.name == turn.name)
    for node in reversed(nodes):
        graph.node.insert(place, node)
