"""Look at the tensors inside of a graph while it scores frames."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from dtgd_edge.export.onnx import INPUT, batch_of


def probed(
    model: ModelProto, names: Sequence[str], frames: NDArray[np.uint8]
) -> Iterator[list[NDArray[np.generic]]]:
    """Run frames one by one, in every row of the batch, as the line does.

    Args:
        model: in float or with Q/DQ nodes.
        names: of tensors.
        frames: uint8 [K, H, W, 3].

    Yields:
        For each frame, those tensors.
    """
    opened = copy.deepcopy(model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # What the graph says, not what ONNX Runtime would make of its Q/DQ nodes (see sessions/ort.py).
    options.add_session_config_entry("session.disable_quant_qdq", "1" if _is_symmetric(model) else "0")
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for frame in frames:
        yield session.run(None, {INPUT: np.repeat(frame[None], batch_of(model), axis=0)})


def _is_symmetric(model: ModelProto) -> bool:
    """Whether activations are int8, as TensorRT wants them."""
    kinds = {i.name: i.data_type for i in model.graph.initializer}
    zeros = [n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    return bool(zeros) and kinds.get(zeros[0]) == onnx.TensorProto.INT8
