"""Where the Q/DQ nodes sit: one placement for ONNX Runtime's CPU, one for TensorRT."""

import copy
import logging
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from dtgd_edge.errors import BackendError
from dtgd_edge.export.calibration import OPERATIONS, Ranges
from dtgd_edge.export.onnx import checked

MEMORY = "memory"  # its search is rounded on its own, see nearest.py
# The tail, the memory's projection and the gates decide the score's last digits and weigh little.
ALWAYS_FLOAT = ("tail", MEMORY, ".gate")
# TensorRT: the stems see the widest values of all, the 1 x 1 heads feed the cosine directly, and what the
# teacher's first stage loses to symmetric rounding is in every distance and in the memory's too.
TENSORRT_FLOAT = (
    "network.teacher.conv1",
    "network.teacher.layer1",
    "network.student.encoder.conv1",
    ".decoded_heads",
)


def is_within(scope: str, modules: tuple[str, ...]) -> bool:
    """Whether a node's scope lies in one of these modules; ".gate" matches wherever it occurs."""
    return any(
        f"{module}." in f"{scope}." if module.startswith(".") else f"{scope}.".startswith(f"{module}.")
        for module in modules
    )


def cpu_placed(model: ModelProto, ranges: Ranges, float_nodes: set[str]) -> ModelProto:
    """Quantise for ONNX Runtime's CPU: uint8 activations in and out, int8 weights per channel.

    Whatever an integer kernel exists for is wrapped, since a float operation between two of them would
    cost a round trip.

    Args:
        model: float32, from `onnx_from_graph`.
        ranges: of its tensors.
        float_nodes: names of nodes that stay as they are.

    Raises:
        BackendError: the quantiser refuses the model.
    """
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)  # its advice to simplify the graph first does not apply to ours
        quantizer = QDQQuantizer(
            copy.deepcopy(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(
                CalibrationMethod.MinMax,
                {n: TensorData(lowest=np.float32(a), highest=np.float32(b)) for n, (a, b) in ranges.items()},
            ),
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(float_nodes),
            op_types_to_quantize=OPERATIONS,
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    except (RuntimeError, ValueError) as exc:
        raise BackendError(f"the graph cannot be quantised ({str(exc).splitlines()[0]})") from exc
    finally:
        logging.disable(disabled)
    return checked(quantizer.model.model)


def tensorrt_placed(model: ModelProto, ranges: Ranges, float_nodes: set[str]) -> ModelProto:
    """Quantise for TensorRT: symmetric int8 on the inputs of Conv and MaxPool and on residual skips.

    No bias and no convolution's output is quantised: a symmetric range would spend half its steps on
    what the following Relu throws away, and TensorRT's parser refuses int32 biases and zero points.

    Args:
        model: float32 or with float16 convolutions; the names of its tensors are those of `ranges`.
        ranges: of the float32 graph, since scales found in float16 would be too coarse.
        float_nodes: names of nodes that stay as they are.

    Raises:
        BackendError: a tensor has no range.
    """
    quantised = copy.deepcopy(model)
    made_by = {output: node for node in quantised.graph.node for output in node.output}
    wrapper = _Wrapper(quantised, ranges)
    for node in [n for n in quantised.graph.node if n.name not in float_nodes]:
        if node.op_type in ("Conv", "MaxPool"):
            node.input[0] = wrapper.activation(node.input[0])
        if node.op_type == "Conv":
            node.input[1] = wrapper.weight(node.input[1])
        if node.op_type == "Add" and (skip := _skip_side(node, made_by)) is not None:
            node.input[skip] = wrapper.activation(node.input[skip])
    return checked(wrapper.finished())


def _skip_side(add: NodeProto, made_by: dict[str, NodeProto]) -> int | None:
    """Which input of a residual Add is the shortcut; None: it is no residual Add."""
    makers = [made_by.get(name) for name in add.input]
    convolved = [maker is not None and maker.op_type == "Conv" for maker in makers]
    if sum(convolved) == 1:
        return convolved.index(False)
    # Both sides end in a convolution where the shortcut changes the size; BasicBlock adds it second.
    return 1 if all(convolved) else None


class _Wrapper:
    """Puts Q/DQ pairs into a model; each tensor is quantised once, however often it is used."""

    def __init__(self, model: ModelProto, ranges: Ranges) -> None:
        self._model = model
        self._ranges = ranges
        self._weights = {i.name: i for i in model.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._types = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
        self._made: dict[str, str] = {}
        self._pairs: dict[str, list[NodeProto]] = {}

    def activation(self, name: str) -> str:
        """Name of the tensor after a Q/DQ pair."""
        if name not in self._made:
            if name not in self._ranges:
                raise BackendError(
                    f"tensor {name!r} was not calibrated; expected a range for it; "
                    "export with --precision fp16"
                )
            low, high = self._ranges[name]
            kind = self._types[name]
            self._scale(name, np.array(max(-low, high) / 127), kind)
            self._constant(f"{name}_zero", np.zeros((), np.int8))
            inputs = [f"{name}_scale", f"{name}_zero"]
            self._pairs[name] = [
                helper.make_node("QuantizeLinear", [name, *inputs], [f"{name}_q"], f"{name}_Q"),
                helper.make_node("DequantizeLinear", [f"{name}_q", *inputs], [f"{name}_dq"], f"{name}_DQ"),
            ]
            self._made[name] = f"{name}_dq"
        return self._made[name]

    def weight(self, name: str) -> str:
        """Store a weight as int8 per output channel; name of the tensor after its DequantizeLinear."""
        if name not in self._made:
            tensor = self._weights[name]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            column = (-1, *[1] * (values.ndim - 1))
            peaks = np.abs(values).reshape(len(values), -1).max(1)
            scale = self._scale(name, peaks / 127, tensor.data_type).astype(np.float32)
            steps = np.clip(np.rint(values / scale.reshape(column)), -127, 127).astype(np.int8)
            self._constant(f"{name}_zero", np.zeros(len(values), np.int8))
            self._constant(f"{name}_q", steps)
            self._pairs[name] = [
                helper.make_node(
                    "DequantizeLinear",
                    [f"{name}_q", f"{name}_scale", f"{name}_zero"],
                    [f"{name}_dq"],
                    f"{name}_DQ",
                    axis=0,
                )
            ]
            self._model.graph.initializer.remove(tensor)
            self._made[name] = f"{name}_dq"
        return self._made[name]

    def finished(self) -> ModelProto:
        """The model with its pairs, sorted: weights first, each activation's pair behind its maker."""
        nodes = [pair[0] for name, pair in self._pairs.items() if name in self._weights]
        if first := self._pairs.get(self._model.graph.input[0].name):
            nodes += first
        for node in self._model.graph.node:
            nodes.append(node)
            for output in node.output:
                nodes += self._pairs.get(output, [])
        del self._model.graph.node[:]
        self._model.graph.node.extend(nodes)
        return self._model

    def _scale(self, name: str, values: NDArray[np.float64], kind: int) -> NDArray[np.floating[Any]]:
        """Store a scale in the tensor's own type; where all is zero any scale will do."""
        dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
        scale = np.asarray(values, dtype)
        scale = np.where(scale > 0, scale, np.ones_like(scale))
        self._constant(f"{name}_scale", scale)
        return scale

    def _constant(self, name: str, values: NDArray[np.generic]) -> None:
        self._model.graph.initializer.append(numpy_helper.from_array(values, name))
