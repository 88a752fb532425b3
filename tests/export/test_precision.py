"""Precision inside the graph: float16 with a float32 island, INT8 around convolutions only."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from dtgd_edge.bundle import Precision
from dtgd_edge.errors import BackendError
from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import node_scopes
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.export.precision import fp16_graph, fp16_rounded_graph
from dtgd_edge.export.target import Target
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.runtime.session import open_session, score_all
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph, distil

Bundles = dict[Precision, Exported]
Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path) -> ScoringGraph:
    return distil(Checkpoint.open(tiny_checkpoint))


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> Frames:
    """Good and defective frames, in turn."""
    judging = Checkpoint.open(tiny_checkpoint).frames()
    return np.concatenate([judging.normals, judging.defects[:18]])


@pytest.fixture(scope="module")
def models(tiny_bundles: Bundles) -> dict[Precision, ModelProto]:
    return {precision: onnx.load_from_string(e.bundle.graph) for precision, e in tiny_bundles.items()}


def _types(model: ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {
        v.name: v.type.tensor_type.elem_type
        for v in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    return values | {i.name: i.data_type for i in inferred.initializer}


def _producers(model: ModelProto) -> dict[str, NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def test_float16_convolutions_have_float16_weights(models: dict[Precision, ModelProto]) -> None:
    model = models["fp16"]
    types, scopes = _types(model), node_scopes(model)
    convolutions = [
        n for n in model.graph.node if n.op_type == "Conv" and scopes[n.name].startswith("network.")
    ]
    assert len(convolutions) > 50
    assert {types[name] for n in convolutions for name in n.input} == {TensorProto.FLOAT16}
    assert {types[output.name] for output in model.graph.output} == {TensorProto.FLOAT}


def test_float16_weights_are_half_as_large(models: dict[Precision, ModelProto]) -> None:
    half, full = (models[p].ByteSize() for p in ("fp16", "fp32"))  # type: ignore[index]
    assert half < 0.65 * full


def test_no_square_is_summed_in_float16(models: dict[Precision, ModelProto]) -> None:
    model = models["fp16"]
    types, made_by = _types(model), _producers(model)
    sums = [n for n in model.graph.node if n.op_type == "ReduceSum"]
    assert len(sums) == 19  # three per cosine: three levels, in TNR and in the tail; one in the memory
    for node in sums:
        assert types[node.input[0]] == types[node.output[0]] == TensorProto.FLOAT
        square = made_by[node.input[0]]
        assert square.op_type == "Mul"
        assert {types[name] for name in square.input} == {TensorProto.FLOAT}


def test_the_tail_is_float32(models: dict[Precision, ModelProto]) -> None:
    model = models["fp16"]
    types, scopes = _types(model), node_scopes(model)
    outputs = [o for n in model.graph.node if scopes[n.name] in ("memory", "tail") for o in n.output]
    assert len(outputs) > 50
    assert {types[name] for name in outputs} == {TensorProto.FLOAT}


def test_float16_ranks_frames_as_float32_does(tiny_bundles: Bundles, frames: Frames) -> None:
    scores = []
    for precision in ("fp32", "fp16"):
        with open_session(tiny_bundles[precision].bundle, "ort") as session:
            scores.append(score_all(session, frames).score)
    assert rank_correlation(*scores) > 0.999


def test_rounding_in_software_is_rounding_in_float16(graph: ScoringGraph, frames: Frames) -> None:
    """The rounded graph errs about as much as true float16 convolutions do, and in the same places."""
    exact, rounded, true = (
        g.score(frames[:8]).map for g in (graph, fp16_rounded_graph(graph), fp16_graph(graph))
    )
    errors = [float(np.abs(m - exact).mean()) for m in (rounded, true)]
    assert 0 < errors[0] < 4 * errors[1] and errors[1] < 4 * errors[0]
    assert errors[0] < 0.02


def test_rounding_in_software_shows_overflow(graph: ScoringGraph, frames: Frames) -> None:
    loud = copy.deepcopy(graph)
    with torch.no_grad():
        loud.network.teacher.conv1.weight.mul_(1e5)
    assert np.isfinite(loud.score(frames[:1]).score).all()
    assert not np.isfinite(fp16_rounded_graph(loud).score(frames[:1]).map).all()


def test_converting_leaves_the_graph_alone(graph: ScoringGraph, frames: Frames) -> None:
    before = graph.score(frames[:2]).map
    fp16_graph(graph)
    fp16_rounded_graph(graph)
    np.testing.assert_array_equal(graph.score(frames[:2]).map, before)


def test_int8_wraps_convolutions_and_leaves_out_what_decides_the_last_digits(
    models: dict[Precision, ModelProto],
) -> None:
    scopes = node_scopes(models["fp32"])
    model = models["int8"]
    made_by = _producers(model)
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    wrapped = 0
    for node in model.graph.node:
        scope = scopes.get(node.name)
        sources = [made_by[name].op_type for name in node.input if name in made_by]
        if node.op_type == "Conv" and scope is not None:
            is_wrapped = sources[:2] == ["DequantizeLinear", "DequantizeLinear"]
            assert not (is_wrapped and scope == "tail")
            wrapped += is_wrapped
        if scope == "tail":
            followers = [user.op_type for output in node.output for user in users.get(output, [])]
            assert "QuantizeLinear" not in followers, node.name
    assert wrapped > 50


def test_int8_weights_are_signed_and_per_channel_and_activations_unsigned(
    models: dict[Precision, ModelProto],
) -> None:
    model = models["int8"]
    initializers = {i.name: i for i in model.graph.initializer}
    made_by = _producers(model)
    for node in model.graph.node:
        if node.op_type != "Conv" or made_by.get(node.input[1]) is None:
            continue
        weight, scale, _ = (initializers[name] for name in made_by[node.input[1]].input)
        assert weight.data_type == TensorProto.INT8
        assert list(scale.dims) == [weight.dims[0]]
    zeros = {n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert {initializers[name].data_type for name in zeros} == {TensorProto.UINT8}


def test_int8_ranks_frames_nearly_as_float32_does(tiny_bundles: Bundles, frames: Frames) -> None:
    scores = []
    for precision in ("fp32", "int8"):
        with open_session(tiny_bundles[precision].bundle, "ort") as session:
            scores.append(score_all(session, frames).score)
    assert rank_correlation(*scores) > 0.9


def test_int8_conversion_leaves_the_model_alone(models: dict[Precision, ModelProto], frames: Frames) -> None:
    before = models["fp32"].SerializeToString(deterministic=True)
    Quantiser(models["fp32"], Target(), frames[:2]).quantised()
    assert models["fp32"].SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("grey", [0, 255, None])
def test_frames_without_light_cannot_calibrate(models: dict[Precision, ModelProto], grey: int | None) -> None:
    count = 0 if grey is None else 3
    dark = np.full((count, 64, 64, 3), grey or 0, np.uint8)
    with pytest.raises(BackendError, match=f"the {count} calibration frames are empty or of one colour"):
        Quantiser(models["fp32"], Target(), dark).quantised()
