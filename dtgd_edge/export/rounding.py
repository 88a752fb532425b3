"""Round weights so that what INT8 does to them averages out.

A weight's rounding error is the same in every place and every frame, so behind a Relu, where all values
have one sign, it shifts a whole feature. Two remedies, neither of which costs time on the line:

- Where errors add up over a kernel, some weights are rounded the other way, until the kernel's sum is right
  to half a step: neighbouring values are much alike, so that the sum is what counts.
- What is left at the usual value of each channel goes into the bias (bias correction: Nagel et al.,
  "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2; the
  usual values are means over real frames here).
"""

import copy

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from dtgd_edge.export.probe import probed

MOST_STEPS = 127  # from 0 to an output channel's largest weight
Means = dict[str, NDArray[np.float64]]  # mean of each channel, [C], by the tensor's name


def channel_means(model: ModelProto, frames: NDArray[np.uint8]) -> Means:
    """Run frames through a float32 graph and note what its convolutions usually see.

    Args:
        model: from `onnx_from_graph`.
        frames: uint8 [K, H, W, 3].
    """
    names = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    rows = [
        [values.mean((0, 2, 3), dtype=np.float64) for values in tensors]
        for tensors in probed(model, names, frames)
    ]
    columns = (np.mean(column, axis=0) for column in zip(*rows, strict=True))
    return dict(zip(names, columns, strict=True))


def with_centred_rounding(model: ModelProto, means: Means, float_nodes: set[str]) -> ModelProto:
    """Round the weights of convolutions to what INT8 can hold, and put the rest into their biases.

    A quantiser finds the same scales again, one for each output channel, and changes nothing more.

    Args:
        model: float32 or float16, before Q/DQ nodes are placed.
        means: of what the convolutions read.
        float_nodes: names of nodes that stay as they are.

    Returns:
        A copy.
    """
    rounded = copy.deepcopy(model)
    places = {initializer.name: initializer for initializer in rounded.graph.initializer}
    wanted = {name: numpy_helper.to_array(place) for name, place in places.items()}
    for node in rounded.graph.node:
        if node.op_type != "Conv" or node.name in float_nodes:
            continue
        weight = wanted[node.input[1]]
        held = _held(weight.astype(np.float64))
        error = ((held - weight).sum((2, 3)) * _means_read(weight.shape, means[node.input[0]])).sum(1)
        if len(node.input) == 2:
            node.input.append(f"{node.name}_bias")
            places[node.input[2]] = rounded.graph.initializer.add()
            wanted[node.input[2]] = np.zeros(len(weight), weight.dtype)
        for name, values in ((node.input[1], held), (node.input[2], wanted[node.input[2]] - error)):
            places[name].CopyFrom(numpy_helper.from_array(values.astype(wanted[name].dtype), name))
    return rounded


def _held(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """A weight [O, I, H, W] in whole steps, with the sum over each kernel right to half a step."""
    peaks = np.abs(weight).max((1, 2, 3), keepdims=True)
    scale = np.where(peaks > 0, peaks, 1.0) / MOST_STEPS
    wanted = (weight / scale).reshape(*weight.shape[:2], -1)
    steps = np.rint(wanted)
    errors = steps - wanted
    surplus = np.rint(errors.sum(2, keepdims=True))
    for sign in (1, -1):
        # Those that lie nearest to the middle turn; never the largest weight, which the scale hangs on.
        order = np.argsort(-sign * errors, axis=2)
        rank = np.argsort(order, axis=2)
        turned = (rank < sign * surplus) & (sign * errors > 0) & (np.abs(steps) < MOST_STEPS)
        steps -= sign * turned
    return steps.reshape(weight.shape) * scale


def _means_read(shape: tuple[int, ...], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of the channels that each output reads, [O, I]; in a grouped convolution, those of its group."""
    groups = mean.reshape(-1, shape[1])
    return np.repeat(groups, shape[0] // len(groups), axis=0)
