"""Multiplications: by hand for every kind of node, and by PyTorch's own count for the trained graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, NodeProto, helper
from torch.utils.flop_counter import FlopCounterMode

from dtgd_edge.errors import DataError
from dtgd_edge.export import gpu_ideal
from dtgd_edge.export.ideal import ideal_graphs
from dtgd_edge.export.macs import Macs, macs_of_model
from dtgd_edge.export.peer import macs_of_bundle_graph
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.manifest import Precision
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import distil
from tests.export.graphs import Constants, convolution, integer_convolution, model_of


def _ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def _macs(model: ModelProto, *shape: int) -> Macs:
    return macs_of_model(model, _ones(*shape))


@pytest.mark.parametrize(
    ("node", "shape", "constants", "expected"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"]), [1, 3, 8, 8], {"w": _ones(5, 3, 3, 3)}, 6 * 6 * 5 * 27),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
            [1, 8, 8, 8],
            {"w": _ones(8, 2, 3, 3)},
            4 * 4 * 8 * 2 * 9,
        ),
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            [1, 6, 4, 4],
            {"w": _ones(6, 5, 2, 2)},
            4 * 4 * 6 * 5 * 4,
        ),
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2),
            [1, 6, 4, 4],
            {"w": _ones(6, 5, 2, 2)},
            4 * 4 * 6 * 5 * 4,
        ),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), [2, 3, 4], {"w": _ones(4, 5)}, 2 * 3 * 4 * 5),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), [2, 3, 4], {"w": _ones(1, 3)}, 2 * 3 * 4),
        (helper.make_node("Gemm", ["x", "w"], ["y"]), [3, 4], {"w": _ones(4, 5)}, 3 * 4 * 5),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), [4, 3], {"w": _ones(4, 5)}, 3 * 4 * 5),
        (helper.make_node("Relu", ["x"], ["y"]), [3, 4], {}, 0),
    ],
)
def test_by_hand(node: NodeProto, shape: list[int | str], constants: Constants, expected: int) -> None:
    sides = [int(side) for side in shape]
    assert _macs(model_of([node], shape, constants), *sides) == Macs(expected, 0)


def test_shapes_that_are_computed_from_shapes() -> None:
    """As exporters write a padding: beyond ONNX's own inference."""
    nodes = [
        helper.make_node("Shape", ["pads"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
        helper.make_node("Cast", ["zeros"], ["whole"], to=onnx.TensorProto.INT64),
        helper.make_node("Add", ["whole", "pads"], ["amounts"]),
        helper.make_node("Pad", ["x", "amounts"], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["y"]),
    ]
    constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": _ones(1, 1, 3, 3)}
    assert _macs(model_of(nodes, ["N", 1, 8, 8], constants), 1, 1, 8, 8) == Macs(8 * 8 * 9, 0)


def test_integers_are_told_from_floats() -> None:
    assert _macs(convolution(3, 8, 32), 1, 3, 32, 32) == Macs(3 * 8 * 9 * 32 * 32, 0)
    assert _macs(integer_convolution(16, 16, 32), 1, 16, 32, 32) == Macs(0, 16 * 16 * 9 * 32 * 32)


def test_integer_nodes() -> None:
    numbers = {"s": np.float32(0.1), "z": np.uint8(0), "wz": np.int8(0)}
    quantise = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    weights = {**numbers, "w": np.ones((5, 3, 3, 3), np.int8)}
    linear = helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["y"])
    assert _macs(model_of([quantise, linear], [1, 3, 8, 8], weights), 1, 3, 8, 8) == Macs(0, 36 * 5 * 27)
    product = helper.make_node("MatMulInteger", ["q", "w"], ["y"])
    weights = {**numbers, "w": np.ones((4, 5), np.int8)}
    assert _macs(model_of([quantise, product], [3, 4], weights), 3, 4) == Macs(0, 60)


def test_the_trained_graph_as_pytorch_counts_it(
    tiny_checkpoint: Path, tiny_bundles: dict[Precision, Exported]
) -> None:
    graph = distil(Checkpoint.open(tiny_checkpoint))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        graph(torch.zeros((1, *graph.tail.size_hw, 3), dtype=torch.uint8))
    bundle = tiny_bundles["fp32"].bundle
    found = macs_of_bundle_graph(bundle.graph, bundle.golden.frames[:1])
    assert found == Macs(counter.get_total_flops() // 2, 0)
    int8 = tiny_bundles["int8"].bundle
    quantised = macs_of_bundle_graph(int8.graph, int8.golden.frames[:1])
    assert quantised.integer > 0.8 * found.total


def test_ideal_graphs_for_a_gpu_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"CHANNELS": 16, "SIDE": 8, "BATCH": 2, "MATRIX_SIDE": 64, "COPIES": 2, "COPIED_VALUES": 1 << 10}
    for name, size in sizes.items():
        monkeypatch.setattr(gpu_ideal, name, size)
    made = gpu_ideal.gpu_ideal_graphs()
    for ideal in made:
        model = onnx.load_from_string(ideal.graph)
        assert macs_of_model(model, np.ones(1, np.float32)) == Macs(ideal.macs, 0), ideal.name
        sums = sum(node.op_type == "Add" for node in model.graph.node)
        assert ideal.kind != "launch" or sums == ideal.nodes
    assert {(ideal.kind, ideal.precision) for ideal in made} >= {
        ("ideal", "fp32"),
        ("ideal", "fp16"),
        ("copy", "fp32"),
        ("launch", "fp32"),
    }
    copy = next(ideal for ideal in made if ideal.kind == "copy")
    assert copy.moved_bytes == 5 * 4096


def test_ideal_graphs_are_what_they_say() -> None:
    for ideal in ideal_graphs():
        model = onnx.load_from_string(ideal.graph)
        macs = macs_of_model(model, np.random.default_rng(0).random(ideal.shape, np.float32))
        assert macs == (Macs(0, ideal.macs) if ideal.is_integer else Macs(ideal.macs, 0)), ideal.name
        assert 1.2e9 <= ideal.macs / (4 if ideal.is_integer else 1) < 1.21e9


def test_what_does_not_run_is_refused() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    with pytest.raises(DataError, match="cannot be counted"):
        _macs(model_of([node], [1, 3, 8, 8], {"w": _ones(5, 4, 3, 3)}), 1, 3, 8, 8)
