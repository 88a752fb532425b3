"""Precision lives in the graph: float16 weights with a float32 island, or INT8 as Q/DQ nodes."""

import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn

from dtgd_edge.errors import BackendError
from dtgd_edge.export.onnx import INPUT, checked, node_scopes
from dtgd_edge.train.graph import ScoringGraph

# What ONNX Runtime's CPU runs as integer kernels; a float operation between two of them would cost
# a round trip.
CPU_OPERATIONS = ["Conv", "Add", "MaxPool", "Concat", "Resize", "Relu"]
# Modules that stay float: the tail and the gates decide the score's last digits and weigh nothing; the
# teacher's stem and first stage are what every later difference is measured against (left in INT8, the
# scores of good parts moved by 3.7 % instead of 2.0 %, for a tenth of the time).
FLOAT_MODULES = ("tail", ".gate", "network.teacher.conv1", "network.teacher.layer1")
FLOAT_SCOPES = ("", "network.teacher")  # operations of these modules themselves: input, stem


def fp16_graph(graph: ScoringGraph) -> ScoringGraph:
    """Copy a graph with its convolutions in float16; cosines and tail stay float32."""
    return copy.deepcopy(graph).half()


def fp16_rounded_graph(graph: ScoringGraph) -> ScoringGraph:
    """Copy a graph that computes in float32 but rounds as float16 hardware does.

    Each convolution's weights, inputs and outputs are rounded to float16, and overflow to infinity
    there; sums are kept in float32, as tensor cores keep them. ONNX Runtime's CPU shows neither
    (it computes float16 graphs in float32), and true float16 convolutions on a CPU take 20 times as long.
    """
    rounded = copy.deepcopy(graph)
    for module in rounded.network.modules():
        if isinstance(module, nn.Conv2d):
            module.half().float()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].half().float(),))
            module.register_forward_hook(lambda _, __, output: output.half().float())
    return rounded


def int8_onnx(model: ModelProto, frames: NDArray[np.uint8]) -> ModelProto:
    """Quantise a float32 model for the CPU: uint8 activations, int8 weights per channel.

    Args:
        model: from `onnx_from_graph`.
        frames: uint8 [K, H, W, 3], good and corrupted training frames; they set the ranges.

    Raises:
        BackendError: no frame carries any light, or the quantiser refuses the model.
    """
    if len(frames) == 0 or int(frames.max()) - int(frames.min()) < 2:
        raise BackendError(
            f"the {len(frames)} calibration frames are empty or of one colour; expected pictures of real "
            "parts; train again with other pictures"
        )
    floats = [name for name, scope in node_scopes(model).items() if _stays_float(scope)]
    with tempfile.TemporaryDirectory() as folder:
        # The quantiser writes its scratch files beside its output.
        path = Path(folder) / "int8.onnx"
        try:
            logging.disable(logging.WARNING)  # its advice to simplify the graph first does not apply to ours
            quantize_static(
                copy.deepcopy(model),
                path,
                _Frames(frames),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=CPU_OPERATIONS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=floats,
            )
        except (RuntimeError, ValueError) as exc:
            raise BackendError(f"the graph cannot be quantised ({str(exc).splitlines()[0]})") from exc
        finally:
            logging.disable(logging.NOTSET)
        return checked(onnx.load(path))


def _stays_float(scope: str) -> bool:
    return scope in FLOAT_SCOPES or any(module in scope for module in FLOAT_MODULES)


class _Frames(CalibrationDataReader):  # type: ignore[misc]  # the base class is untyped
    """Feeds frames one at a time, as the line does."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._frames: Iterator[NDArray[np.uint8]] = iter(frames)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        frame = next(self._frames, None)
        return None if frame is None else {INPUT: frame[None]}
