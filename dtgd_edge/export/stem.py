"""Feed the stems with the frame's own bytes: a uint8 frame is quantised already.

Normalising it in float and rounding it again costs a tenth of an INT8 graph's time on a CPU and half a
grey level of accuracy. The normalisation goes into the stem convolutions' weights and biases instead.
"""

import copy

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dtgd_edge.export.onnx import INPUT, drop_unused, integers

RAW = "frames_as_values"  # float32 [N, 3, H, W], 0 to 255, with the rim around it
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
    rims = {rim for stem in stems for rim in integers(stem, "pads")}
    if len(rims) != 1:
        return raw
    for stem in stems:
        _fold(raw, stem, values, gain, offset)
    source, cuts = _cut_bytes(raw, normalised)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    means = np.clip(np.rint(-offset / gain), 0, 255).astype(np.uint8)
    front = [*cuts, *_rim(raw, source, shapes[normalised], rims.pop(), means)]
    for place, node in enumerate(front):
        graph.node.insert(place, node)
    drop_unused(raw)  # the normalisation, and its cutting of tiles
    return raw


def front_nodes(model: ModelProto) -> set[str]:
    """Names of the nodes that make RAW of the frames' bytes; none where the stems are not raw."""
    return {node.name for node in _before(model, RAW)}


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


def _cut_bytes(model: ModelProto, normalised: str) -> tuple[str, list[NodeProto]]:
    """Copies of the nodes between cast and transposition, which cut tiles, for the frames before the cast.

    Returns:
        The name of the bytes that the stems are to see, and the copies: none where the frame is not cut.
    """
    (turned,) = (n for n in _before(model, normalised) if n.op_type == "Transpose")
    names, copies = {}, []
    for node in _before(model, turned.input[0]):
        if node.op_type == "Cast":
            names[node.output[0]] = INPUT
            continue
        copies.append(copy.deepcopy(node))
        copies[-1].name = f"{node.name}_bytes"
        copies[-1].input[:] = [names.get(name, name) for name in node.input]
        names |= {name: f"{name}_bytes" for name in node.output}
        copies[-1].output[:] = [names[name] for name in node.output]
    return names[turned.input[0]], copies


def _before(model: ModelProto, name: str) -> list[NodeProto]:
    """Nodes that a tensor is made by, the first first."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    found, wanted = {}, [name]
    while wanted:
        if (node := made_by.get(wanted.pop())) is not None:
            found[node.name] = node
            wanted += node.input
    return [node for node in model.graph.node if node.name in found]


def _rim(model: ModelProto, source: str, shape: list[int], width: int, colour: np.ndarray) -> list[NodeProto]:
    """Nodes that lay a rim of one colour around bytes [N, H, W, 3] and bring the channels to the front.

    Args:
        model: receives the rims.
        source: name of the bytes.
        shape: what the stems took, [N, 3, H, W].
        width: of the rim, pixels.
        colour: uint8 [3].
    """
    count, _, height, across = shape
    for name, size in (
        ("rim_y", (count, width, across, 3)),
        ("rim_x", (count, height + 2 * width, width, 3)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.broadcast_to(colour, size).copy(), name))
    return [
        helper.make_node("Concat", ["rim_y", source, "rim_y"], ["rimmed_y"], "rim_above_and_below", axis=1),
        helper.make_node("Concat", ["rim_x", "rimmed_y", "rim_x"], ["rimmed"], "rim_at_the_sides", axis=2),
        helper.make_node("Transpose", ["rimmed"], [_BYTES], "channels_first", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [_BYTES], [RAW], "values_of_bytes", to=TensorProto.FLOAT),
    ]
