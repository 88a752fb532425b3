"""What another program's ONNX file is, and what is refused."""

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from dtgd_edge.errors import DataError
from dtgd_edge.export.macs import Macs
from dtgd_edge.export.peer import read_peer
from tests.export.graphs import convolution, model_of


def _saved(model: ModelProto, folder: Path, **options: object) -> Path:
    path = folder / "peer.onnx"
    onnx.save(model, path, **options)
    return path


def test_a_batch_of_any_size_is_one(tmp_path: Path) -> None:
    path = _saved(convolution(3, 8, 32), tmp_path)
    peer = read_peer(path)
    assert (peer.path, peer.shape) == (path, (1, 3, 32, 32))
    assert peer.macs == Macs(3 * 8 * 9 * 32 * 32, 0)
    assert peer.size_bytes == path.stat().st_size


def test_weights_in_a_file_of_their_own_count(tmp_path: Path) -> None:
    path = _saved(
        convolution(64, 64, 8), tmp_path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    peer = read_peer(path)
    assert peer.size_bytes == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert peer.size_bytes > 64 * 64 * 9 * 4
    assert peer.macs.total == 64 * 64 * 9 * 64
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(DataError, match=r"weights\.bin"):
        read_peer(path)


def test_what_is_no_peer(tmp_path: Path) -> None:
    path = tmp_path / "peer.onnx"
    with pytest.raises(DataError, match="cannot be read"):
        read_peer(path)
    path.write_bytes(b"no graph")
    with pytest.raises(DataError, match=r"peer\.onnx cannot be read .*; expected an ONNX file"):
        read_peer(path)
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(DataError, match=r"takes 'x' uint8 \[1, 3\]; expected one float32 tensor"):
        read_peer(_saved(model_of(relu, [1, 3], {}, TensorProto.UINT8), tmp_path))
    with pytest.raises(DataError, match=r"takes 'x' float \[1, 3, H, W\]; expected .* of fixed size"):
        read_peer(_saved(model_of(relu, [1, 3, "H", "W"], {}), tmp_path))
    two = model_of([helper.make_node("Add", ["x", "b"], ["y"])], [1, 3], {})
    two.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3]))
    with pytest.raises(DataError, match=r"takes 'x' .*, 'b' "):
        read_peer(_saved(two, tmp_path))


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    """As old exporters did."""
    model = convolution(3, 8, 32)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 3, 3, 3]))
    assert read_peer(_saved(model, tmp_path)).shape == (1, 3, 32, 32)
