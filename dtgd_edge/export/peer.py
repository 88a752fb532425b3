"""What another program's ONNX file is: its input, its multiplications, its size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, external_data_helper

from dtgd_edge.errors import DataError
from dtgd_edge.export.macs import Macs, macs_of_model


@dataclass(frozen=True, slots=True)
class Peer:
    """An ONNX file with one float32 input.

    Attributes:
        path: of the file.
        shape: of its input; a batch of any size is one of 1.
        macs: multiplications per call.
        size_bytes: of the file and of those that hold its weights.
    """

    path: Path
    shape: tuple[int, ...]
    macs: Macs
    size_bytes: int


def read_peer(path: Path) -> Peer:
    """Read an ONNX file.

    Raises:
        DataError: it is none, its input is not one float32 tensor of fixed size, or it does not run.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        parts = {path, *(path.parent / part for part in _external_files(model))}
        size = sum(part.stat().st_size for part in parts)
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as exc:
        raise DataError(f"{path} cannot be read ({exc}); expected an ONNX file; export it again") from exc
    shape = _input_shape(path, model)
    feed = np.random.default_rng(0).random(shape, np.float32)
    return Peer(path, shape, macs_of_model(model, feed), size)


def macs_of_bundle_graph(graph: bytes, frames: NDArray[np.uint8]) -> Macs:
    """Multiplications of a bundle's graph.

    Args:
        graph: ONNX.
        frames: uint8 [N, H, W, 3], a batch as the graph takes it.

    Raises:
        DataError: it does not run.
    """
    return macs_of_model(onnx.load_from_string(graph), frames)


def _external_files(model: ModelProto) -> set[str]:
    return {
        entry.value
        for initializer in model.graph.initializer
        if initializer.data_location == TensorProto.EXTERNAL
        for entry in initializer.external_data
        if entry.key == "location"
    }


def _input_shape(path: Path, model: ModelProto) -> tuple[int, ...]:
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    tensors = [i.type.tensor_type for i in inputs]
    if [tensor.elem_type for tensor in tensors] == [TensorProto.FLOAT]:
        sides = [d.dim_value for d in tensors[0].shape.dim]
        if sides and all(sides[1:]):
            return (sides[0] or 1, *sides[1:])
    found = ", ".join(f"{i.name!r} {_tensor_text(i.type.tensor_type)}" for i in inputs) or "nothing"
    raise DataError(
        f"{path} takes {found}; expected one float32 tensor of fixed size; export it with a fixed input size"
    )


def _tensor_text(tensor: onnx.TypeProto.Tensor) -> str:
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    return f"{kind} [{', '.join(str(d.dim_value or d.dim_param or '?') for d in tensor.shape.dim)}]"
