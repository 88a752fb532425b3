"""The memory's nearest prototype by one matrix product, whose rows ONNX Runtime's CPU searches quickest.

As a convolution and a tree of minima, the form that TensorRT can run on every GPU, values are laid out anew
and cut in halves several times: a quarter of the time on a CPU. The same numbers are multiplied and compared.
"""

import copy
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from dtgd_edge.export.onnx import drop_unused_constants

KERNELS = "memory.kernels"
_SEARCH = ("Slice", "Min", "ReduceMin")


def with_nearest_product(model: ModelProto) -> ModelProto:
    """Replace the search among prototypes; a model without a memory stays as it is.

    Args:
        model: float32, from `onnx_from_graph`.
    """
    changed = copy.deepcopy(model)
    graph = changed.graph
    search = _search(graph.node)
    if not search:
        return changed
    conv, last = search[0], search[-1]
    inferred = onnx.shape_inference.infer_shapes(changed).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.value_info}
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    kernels = constants[KERNELS][:, :, 0, 0]  # [P, C]
    new = {
        "nearest_matrix": np.ascontiguousarray(kernels.T),
        "nearest_patches": np.array([-1, kernels.shape[1]]),
        "nearest_axis": np.array([1]),
        "nearest_shape": np.array(shapes[last.output[0]]),  # [N, 1, H, W]
    }
    nodes = [
        helper.make_node("Transpose", [conv.input[0]], ["nearest_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["nearest_last", "nearest_patches"], ["nearest_rows"]),
        # The exporter leaves out a bias of zeros, which an untrained memory has.
        helper.make_node("Gemm", ["nearest_rows", "nearest_matrix", *conv.input[2:]], ["nearest_all"]),
        helper.make_node("ReduceMin", ["nearest_all", "nearest_axis"], ["nearest_least"], keepdims=0),
        helper.make_node("Reshape", ["nearest_least", "nearest_shape"], list(last.output)),
    ]
    for node in nodes:
        node.name = f"{node.output[0]}_{node.op_type.lower()}"
        node.metadata_props.extend(conv.metadata_props)
    removed = {node.name for node in search}
    place = next(i for i, node in enumerate(graph.node) if node.name == conv.name)
    kept = [node for node in graph.node if node.name not in removed]
    del graph.node[:]
    graph.node.extend([*kept[:place], *nodes, *kept[place:]])
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in new.items())
    drop_unused_constants(changed)
    return changed


def _search(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """The convolution with the prototypes and all that looks for its smallest channel, the first first."""
    found, values = [], set[str]()
    for node in nodes:
        if node.op_type == "Conv" and node.input[1] == KERNELS:
            found, values = [node], set(node.output)
        elif node.op_type in _SEARCH and values & set(node.input):
            found.append(node)
            values |= set(node.output)
    return found
