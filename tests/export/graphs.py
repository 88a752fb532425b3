"""ONNX graphs of a few nodes."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dtgd_edge.export.onnx import INPUT

Constants = dict[str, NDArray[np.generic]]


def model_of(
    nodes: list[NodeProto], shape: list[int | str], constants: Constants, kind: int = TensorProto.FLOAT
) -> ModelProto:
    """A model from "x" of this shape to the last node's first output."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def convolution(channels: int = 3, made: int = 8, side: int = 32) -> ModelProto:
    """A 3 x 3 convolution and a maximum: channels x made x 9 x side x side multiplications."""
    weights = np.random.default_rng(0).standard_normal((made, channels, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    return model_of(nodes, ["N", channels, side, side], {"w": weights})


def integer_convolution(channels: int = 16, made: int = 16, side: int = 32) -> ModelProto:
    """A 3 x 3 convolution of 8-bit values between Q/DQ nodes."""
    weights = np.random.default_rng(0).integers(-127, 128, (made, channels, 3, 3), np.int8)
    constants: Constants = {
        "w": weights,
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["yd"]),
    ]
    return model_of(nodes, [1, channels, side, side], constants)


def outputs(model: ModelProto, frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Score and map that ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {INPUT: frames}))
