"""Feed the stems with the frame's own bytes: a uint8 frame is quantised already.

Normalising it in float and rounding it again costs a tenth of an INT8 graph's time on a CPU and half a
grey level of accuracy. The normalisation goes into the stem convolutions' weights and biases instead.
"""

import copy

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dtgd_edge.export.onnx import INPUT

RAW = "frames_as_values"  # float32 [N, 3, H, W], 0 to 255, with the rim around it
RIM_NODES = ("rim_above_and_below", "rim_at_the_sides", "channels_first", "values_of_bytes")
_BYTES = "frames_as_bytes"


def with_raw_stems(model: ModelProto, float_nodes: set[str]) -> ModelProto:
    """Let the quantised stem convolutions read the frame without normalisation.

    A convolution pads with 0, which is the mean colour after normalisation; here the rim is laid around
    the frame as bytes of that colour, so that only the mean's fraction of a grey level is lost.

    Args:
        model: float32, from `onnx_from_graph`.
        float_nodes: names of nodes that stay as they are.

    Returns:
        A copy whose stems read RAW; unchanged where the stems do not all look alike.
    """
    raw = copy.deepcopy(model)
    graph = raw.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    gain, offset = values["gain"].reshape(3), values["offset"].reshape(3)
    normalised = next(n.output[0] for n in graph.node if n.op_type == "Add" and "offset" in n.input)
    stems = [n for n in graph.node if n.op_type == "Conv" and n.input[0] == normalised]
    stems = [n for n in stems if n.name not in float_nodes]
    rims = {rim for stem in stems for rim in _attribute(stem, "pads")}
    if len(rims) != 1:
        return raw
    for stem in stems:
        _fold(raw, stem, values, gain, offset)
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    unused = {i.name for i in graph.initializer} - {name for node in graph.node for name in node.input}
    for initializer in [i for i in graph.initializer if i.name in unused]:
        graph.initializer.remove(initializer)
    means = np.clip(np.rint(-offset / gain), 0, 255).astype(np.uint8)
    front = _rim(raw, shape, rims.pop(), means)
    for place, node in enumerate(front):
        graph.node.insert(place, node)
    return raw


def without_rounding(model: ModelProto) -> ModelProto:
    """Take out the cast and the quantisation of RAW, which change nothing: scale 1, zero point 0."""
    graph = model.graph
    rounds = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == RAW]
    for node in rounds:
        for user in graph.node:
            for place, name in enumerate(user.input):
                if name == node.output[0]:
                    user.input[place] = _BYTES
        graph.node.remove(node)
    for node in [n for n in graph.node if list(n.output) == [RAW]]:
        graph.node.remove(node)
    return model


def _fold(
    model: ModelProto, stem: NodeProto, values: dict[str, np.ndarray], gain: np.ndarray, offset: np.ndarray
) -> None:
    """Put x * gain + offset into a convolution's weight and bias; it reads RAW from then on."""
    weight = values[stem.input[1]]
    # The exporter leaves a bias out where batch norm folded to zero.
    bias = values[stem.input[2]] if len(stem.input) == 3 else np.zeros(len(weight), np.float32)
    folded = {
        f"{stem.name}_raw_weight": weight * gain.reshape(1, 3, 1, 1),
        f"{stem.name}_raw_bias": bias + (weight * offset.reshape(1, 3, 1, 1)).sum((1, 2, 3)),
    }
    for name, content in folded.items():
        model.graph.initializer.append(numpy_helper.from_array(content.astype(np.float32), name))
    stem.input[:] = [RAW, *folded]
    for attribute in stem.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [0, 0, 0, 0]


def _rim(model: ModelProto, shape: list[int], width: int, colour: np.ndarray) -> list[NodeProto]:
    """Nodes that lay a rim of one colour around the frames and bring the channels to the front."""
    count, height, across, _ = shape
    for name, size in (
        ("rim_y", (count, width, across, 3)),
        ("rim_x", (count, height + 2 * width, width, 3)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.broadcast_to(colour, size).copy(), name))
    above, sides, first, cast = RIM_NODES
    return [
        helper.make_node("Concat", ["rim_y", INPUT, "rim_y"], ["rimmed_y"], above, axis=1),
        helper.make_node("Concat", ["rim_x", "rimmed_y", "rim_x"], ["rimmed"], sides, axis=2),
        helper.make_node("Transpose", ["rimmed"], [_BYTES], first, perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [_BYTES], [RAW], cast, to=TensorProto.FLOAT),
    ]


def _attribute(node: NodeProto, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])
