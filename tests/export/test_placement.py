"""INT8 for TensorRT and for the CPU: where the Q/DQ nodes sit, and that the scores survive."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, numpy_helper

from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import INPUT, node_scopes, onnx_from_graph
from dtgd_edge.export.placement import is_within
from dtgd_edge.export.precision import fp16_graph
from dtgd_edge.export.rounding import channel_means, with_centred_rounding
from dtgd_edge.export.sums import with_channel_products
from dtgd_edge.export.target import Target, target_from_name
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.graph import ScoringGraph, distil


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> JudgingFrames:
    return Checkpoint.open(tiny_checkpoint).frames()


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path) -> ScoringGraph:
    return distil(Checkpoint.open(tiny_checkpoint))


@pytest.fixture(scope="module")
def floating(graph: ScoringGraph) -> ModelProto:
    return onnx_from_graph(graph)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def for_tensorrt(
    request: pytest.FixtureRequest, graph: ScoringGraph, floating: ModelProto, frames: JudgingFrames
) -> ModelProto:
    target = replace(target_from_name("tensorrt"), rest=request.param)
    half = onnx_from_graph(fp16_graph(graph))
    return Quantiser(floating, target, frames.fitted, frames.normals, half).quantised()


@pytest.fixture(scope="module")
def for_cpu(floating: ModelProto, frames: JudgingFrames) -> ModelProto:
    return Quantiser(floating, Target(), frames.fitted, frames.normals).quantised()


def _scores(model: ModelProto, frames: np.ndarray, literal: bool = True) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1" if literal else "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(["score"], {INPUT: frame[None]})[0] for frame in frames])


def _made_by(model: ModelProto) -> dict[str, NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def test_tensorrt_gets_symmetric_int8_and_no_quantised_bias(for_tensorrt: ModelProto) -> None:
    onnx.checker.check_model(for_tensorrt, full_check=True)
    values = {i.name: numpy_helper.to_array(i) for i in for_tensorrt.graph.initializer}
    pairs = [n for n in for_tensorrt.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 100
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
    made_by = _made_by(for_tensorrt)
    for node in for_tensorrt.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            assert node.input[2] not in made_by  # a plain float bias


def test_tensorrt_rounds_inputs_of_convolutions_and_skips_but_no_outputs(for_tensorrt: ModelProto) -> None:
    scopes, made_by = node_scopes(for_tensorrt), _made_by(for_tensorrt)

    def is_rounded(name: str) -> bool:
        return name in made_by and made_by[name].op_type == "DequantizeLinear"

    floats = (
        "network.teacher.conv1",
        "network.teacher.layer1",
        "network.student.encoder.conv1",
        "memory",
        "tail",
    )
    skips = 0
    for node in for_tensorrt.graph.node:
        scope = scopes.get(node.name, "")
        if node.op_type == "Conv":
            is_float = is_within(scope, floats) or ".gate" in scope
            assert is_rounded(node.input[0]) is is_rounded(node.input[1]) is not is_float, scope
        if node.op_type == "Add" and scope not in ("memory", "tail"):
            rounded = [is_rounded(name) for name in node.input]
            skips += sum(rounded)
            assert sum(rounded) <= 1
        if node.op_type == "QuantizeLinear" and made_by[node.input[0]].op_type == "Conv":
            # Only a shortcut that changes the size, and the mixing convolution that has no Relu.
            assert any(part in scopes[made_by[node.input[0]].name] for part in ("downsample", ".mix.1"))
    assert skips >= 8


def test_no_weight_is_lost_to_a_scale_too_small_for_float16(
    graph: ScoringGraph, floating: ModelProto, frames: JudgingFrames
) -> None:
    target, half = target_from_name("tensorrt"), onnx_from_graph(fp16_graph(graph))
    model = Quantiser(floating, target, frames.fitted, None, half).quantised()
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    original = {i.name: numpy_helper.to_array(i) for i in floating.graph.initializer}
    weights = [name.removesuffix("_q") for name in values if name.endswith("weight_q")]
    assert len(weights) > 50
    for name in weights:
        scale = values[f"{name}_scale"]
        assert scale.dtype == np.float16
        again = values[f"{name}_q"] * scale.astype(np.float32).reshape(-1, 1, 1, 1)
        assert np.abs(again - original[name]).max() <= 0.02 * np.abs(original[name]).max() + 1e-7


def test_scores_survive_both_placements(
    floating: ModelProto, for_tensorrt: ModelProto, for_cpu: ModelProto, frames: JudgingFrames
) -> None:
    judged = np.concatenate([frames.normals, frames.defects[:18]])
    wanted = _scores(floating, judged)
    assert rank_correlation(_scores(for_tensorrt, judged), wanted) > 0.9
    assert rank_correlation(_scores(for_cpu, judged, literal=False), wanted) > 0.9


def test_the_cpus_stems_read_the_frames_bytes(for_cpu: ModelProto) -> None:
    made_by = _made_by(for_cpu)
    values = {i.name: numpy_helper.to_array(i) for i in for_cpu.graph.initializer}
    stems = [n for n in for_cpu.graph.node if n.op_type == "Conv" and "_raw_weight" in n.input[1]]
    assert len(stems) == 2
    dequantised = made_by[stems[0].input[0]]
    source = made_by[dequantised.input[0]]
    assert (dequantised.op_type, source.op_type) == ("DequantizeLinear", "Transpose")
    assert values[dequantised.input[1]] == 1 and values[dequantised.input[2]] == 0
    # The rim is the mean colour, which is 0 after normalisation.
    assert values["rim_y"][0, 0, 0].tolist() == [124, 116, 104]


def test_rounded_stem_weights_do_not_tint_a_frame_of_the_usual_colour(
    for_cpu: ModelProto, floating: ModelProto, frames: JudgingFrames
) -> None:
    """Bytes around 200 times the rounding errors of 147 weights are no small matter."""
    values = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in for_cpu.graph.initializer}
    weights = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in floating.graph.initializer}
    colour = frames.fitted.mean((0, 1, 2))
    gain, offset = weights["gain"].reshape(3), weights["offset"].reshape(3)
    stems = {n.name: n for n in floating.graph.node if n.op_type == "Conv" and n.input[0] == "add"}
    assert len(stems) == 2
    for name, stem in stems.items():
        weight = weights[stem.input[1]].sum((2, 3))
        bias = weights[stem.input[2]] if len(stem.input) == 3 else 0.0
        wanted = weight @ (colour * gain + offset) + bias
        # Twelve channels: those of four pixels.
        kernels = values[f"{name}_raw_weight_quantized"].sum((2, 3)).reshape(-1, 4, 3).sum(1)
        rounded = kernels @ colour
        scale = values[f"{name}_raw_weight_scale"]
        found = scale * (rounded + values[f"{name}_raw_bias_quantized"])
        np.testing.assert_allclose(found, wanted, atol=2 * scale.max())
        # And hardly one of any other even colour: sums over a kernel are kept.
        sums = kernels * scale[:, None]
        np.testing.assert_allclose(sums, weight * gain, atol=0.51 * scale.max())


def test_quantisers_add_no_rounding_of_their_own(
    for_cpu: ModelProto, for_tensorrt: ModelProto, floating: ModelProto, frames: JudgingFrames
) -> None:
    means = channel_means(floating, frames.fitted[:2])
    rounded = with_centred_rounding(floating, means, set())
    wanted = {i.name: numpy_helper.to_array(i) for i in rounded.graph.initializer}
    for model, quantised in ((for_cpu, "_quantized"), (for_tensorrt, "_q")):
        values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        weights = [n for n in wanted if n.endswith("weight") and f"{n}{quantised}" in values]
        assert len(weights) > 40
        for name in weights:
            scale = values[f"{name}_scale"].reshape(-1, 1, 1, 1)
            # Weights that float16 moved over the middle between two steps may be rounded the other way.
            steps = 1.1 if scale.dtype == np.float16 else 0.1
            found = values[f"{name}{quantised}"] * scale.astype(np.float64)
            np.testing.assert_allclose(found, wanted[name], rtol=1e-3, atol=steps * scale.max())


def test_means_are_of_what_convolutions_read(floating: ModelProto, frames: JudgingFrames) -> None:
    means = channel_means(floating, frames.fitted)
    values = {i.name: numpy_helper.to_array(i) for i in floating.graph.initializer}
    normalised = frames.fitted.mean((0, 1, 2)) * values["gain"].reshape(3) + values["offset"].reshape(3)
    np.testing.assert_allclose(means["add"], normalised, atol=1e-4)
    assert {n.input[0] for n in floating.graph.node if n.op_type == "Conv"} == set(means)


def test_sums_as_products_change_nothing(floating: ModelProto, frames: JudgingFrames) -> None:
    changed = with_channel_products(floating)
    assert not [n for n in changed.graph.node if n.op_type == "ReduceSum"]
    np.testing.assert_allclose(_scores(changed, frames.normals), _scores(floating, frames.normals), atol=1e-4)


def test_named_modules_and_nodes_stay_float(floating: ModelProto, frames: JudgingFrames) -> None:
    target = Target(float_modules=(".noise",), float_nodes=("node_conv2d_1",))
    model = Quantiser(floating, target, frames.fitted[:4]).quantised(("network.teacher.layer3",))
    scopes, made_by = node_scopes(floating), _made_by(model)
    for node in model.graph.node:
        if node.op_type == "Conv" and node.name in scopes:
            scope = scopes[node.name]
            is_float = node.input[1] not in made_by
            wanted = (
                is_within(scope, ("network.teacher.layer3", ".noise", ".gate", "memory", "tail"))
                or node.name == "node_conv2d_1"
            )
            assert is_float == wanted, scope


def test_a_module_is_within_itself_and_not_within_its_namesake() -> None:
    assert is_within("network.teacher.layer1.0.conv1", ("network.teacher.layer1",))
    assert not is_within("network.teacher.layer10", ("network.teacher.layer1",))
    assert is_within("network.student.tnr.0.gate", (".gate",))
    assert not is_within("network.gateway", (".gate",))
