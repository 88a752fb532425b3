"""The memory's nearest prototype by matrix products, whose rows ONNX Runtime's CPU searches quickest.

As a convolution and a tree of minima, the form that TensorRT can run on every GPU, values are laid out anew
and cut in halves several times. Here the search is a few products, each no larger than what stays in the
cache until its smallest is looked for. Where good parts lie far enough apart they are products of 8-bit
integers, which take a third of the time: patches and prototypes are rounded, and the distances between what
they were rounded to are exact.
"""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from dtgd_edge.export.onnx import checked, drop_unused

KERNELS = "memory.kernels"
_SEARCH = ("Slice", "Min", "ReduceMin")
STEPS, ZERO = 127, 128  # to each side of the middle, in uint8
FINE = 8  # steps that fit between a usual good part and the edge of normal, or rounding would blur it
CACHED_VALUES = 1 << 18  # float32 that one product may write: a MiB, about what a core has for itself


def with_nearest_products(model: ModelProto, edge: float = 0.0) -> ModelProto:
    """Replace the search among prototypes; a model without a memory stays as it is.

    Args:
        model: for ONNX Runtime's CPU; its memory is in float32 as `onnx_from_graph` wrote it.
        edge: how much farther from the memory the edge of normal is than a usual good part. Where a step of
            the rounding is more than an eighth of that, the products are of floats; as with 0.
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
    kernels = constants[KERNELS][:, :, 0, 0]
    # The exporter leaves out a bias of zeros, which prototypes at 0 have.
    squares = constants[conv.input[2]] if len(conv.input) == 3 else np.zeros(len(kernels), np.float32)
    made = _Search(conv.input[0], last.output[0], kernels, squares, shapes[last.output[0]], edge)
    for node in made.nodes:
        node.metadata_props.extend(conv.metadata_props)
    removed = {node.name for node in search}
    place = next(i for i, node in enumerate(graph.node) if node.name == conv.name)
    kept = [node for node in graph.node if node.name not in removed]
    for node in kept[place:]:  # |y|^2 is of the same patches
        node.input[:] = [made.patches if name == conv.input[0] else name for name in node.input]
    del graph.node[:]
    graph.node.extend([*kept[:place], *made.nodes, *kept[place:]])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in made.constants.items())
    drop_unused(changed)
    return checked(changed)


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


class _Search:
    """The nodes from patches to |p|^2 - 2 y p of the nearest prototype, and their constants.

    Args:
        patches: name of the tensor, float32 [N, C, H, W].
        nearest: name of the result, float32 [N, 1, H, W].
        kernels: -2 p of the prototypes, [P, C].
        squares: |p|^2, [P].
        shape: of the result.
        edge: see with_nearest_products.

    Attributes:
        patches: name of the patches as they were compared.
    """

    def __init__(
        self,
        patches: str,
        nearest: str,
        kernels: NDArray[np.float32],
        squares: NDArray[np.float32],
        shape: list[int],
        edge: float,
    ) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self._constant("nearest_form", np.array([-1, kernels.shape[1]]))
        self._constant("nearest_axis", np.array([1]))
        self._constant("nearest_shape", np.array(shape))
        # No part's coordinate was seen beyond the prototypes' largest; there, far is far enough.
        step = float(np.abs(kernels).max()) / 2 / STEPS
        is_rounded = 0 < step <= edge / FINE
        self.patches, values = patches, patches
        if is_rounded:
            pair = "nearest_step", "nearest_zero"
            self._constant(pair[0], np.float32(step))
            self._constant(pair[1], np.uint8(ZERO))
            values = self._node("QuantizeLinear", [patches, *pair], "nearest_patches")
            self.patches = self._node("DequantizeLinear", [values, *pair], "nearest_rounded")
            kernels = np.rint(kernels / (2 * step))
            squares = np.rint(np.square(kernels).sum(1) / 2)  # in steps of both
        last = self._node("Transpose", [values], "nearest_last", perm=[0, 2, 3, 1])
        rows = self._node("Reshape", [last, "nearest_form"], "nearest_rows")
        if is_rounded:
            rows = self._node("DequantizeLinear", [rows, *pair], "nearest_row_values")
        found = []
        group = max(1, CACHED_VALUES // int(np.prod(shape)))
        for start in range(0, len(kernels), group):
            some = slice(start, start + group)
            names = f"nearest_kernels_{start}", f"nearest_squares_{start}"
            if is_rounded:
                self._stored(names[0], kernels[some].T.astype(np.int8), 2 * step)
                self._stored(names[1], squares[some].astype(np.int32), 2 * step * step)
            else:
                self._constant(names[0], kernels[some].T)
                self._constant(names[1], squares[some])
            products = self._node("Gemm", [rows, *names], f"nearest_all_{start}")
            least = self._node("ReduceMin", [products, "nearest_axis"], f"nearest_least_{start}", keepdims=0)
            found.append(least)
        least = self._node("Min", found, "nearest_least")
        self._node("Reshape", [least, "nearest_shape"], nearest)

    def _stored(self, name: str, steps: NDArray[np.generic], step: float) -> None:
        """A constant kept in whole steps, to be read as its values."""
        self._constant(f"{name}_steps", steps)
        self._constant(f"{name}_step", np.float32(step))
        self._constant(f"{name}_zero", np.zeros((), steps.dtype))
        self._node("DequantizeLinear", [f"{name}_steps", f"{name}_step", f"{name}_zero"], name)

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        self.constants[name] = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        node = helper.make_node(kind, inputs, [output], f"{output}_{kind.lower()}", **attributes)
        self.nodes.append(node)
        return output
