"""The exported graph: fixed names, shapes and types, and the trained graph's numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dtgd_edge.bundle import Precision
from dtgd_edge.errors import BackendError
from dtgd_edge.export.onnx import OPSET, checked, node_scopes, onnx_from_graph, tensor_specs
from dtgd_edge.export.pipeline import PRECISIONS, Exported
from dtgd_edge.runtime.session import open_session, score_all
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph, calibrate_levels, distil
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import Fusion, ScoringRecipe, StudentRecipe, TNRForm

Bundles = dict[Precision, Exported]


@pytest.fixture(scope="module")
def model(tiny_bundles: Bundles) -> onnx.ModelProto:
    return onnx.load_from_string(tiny_bundles["fp32"].bundle.graph)


SWITCHES: list[tuple[TNRForm, bool, Fusion]] = [
    ("off", False, "calibrated"),
    ("subtract", True, "sum"),
    ("inject", False, "product"),
]


@pytest.fixture(scope="module", params=SWITCHES, ids=str)
def other_graph(request: pytest.FixtureRequest) -> ScoringGraph:
    """Untrained, not square and with the mean of the largest pixels as its score."""
    tnr, skips, fusion = request.param
    torch.manual_seed(0)
    quarter = "resnet18_quarter"
    network = DTGD(ResNet(backbone_spec(quarter)), StudentRecipe(quarter, tnr, skips))
    graph = ScoringGraph(network, (32, 64), ScoringRecipe(fusion=fusion, top=5)).eval()
    calibrate_levels(graph, np.random.default_rng(1).integers(0, 256, (4, 32, 64, 3), np.uint8))
    return graph


@pytest.mark.parametrize("precision", PRECISIONS)
def test_names_shapes_and_types_are_fixed(tiny_bundles: Bundles, precision: Precision) -> None:
    graph = onnx.load_from_string(tiny_bundles[precision].bundle.graph)
    onnx.checker.check_model(graph, full_check=True)
    assert {o.domain: o.version for o in graph.opset_import}[""] == OPSET
    found = [
        (
            value.name,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            tuple(d.dim_value for d in value.type.tensor_type.shape.dim),
        )
        for value in (*graph.graph.input, *graph.graph.output)
    ]
    frames, outputs = tensor_specs((64, 64))
    assert found == [(s.name, s.dtype, s.shape) for s in (frames, *outputs)]
    assert found[0] == ("frames", "uint8", (1, 64, 64, 3))
    assert found[1:] == [("score", "float32", (1,)), ("map", "float32", (1, 64, 64))]


def test_onnx_runtime_gives_pytorchs_scores_and_maps(tiny_bundles: Bundles, tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    frames = checkpoint.frames()
    chosen = np.concatenate([frames.normals, frames.defects[:8]])
    expected = distil(checkpoint).score(chosen)
    with open_session(tiny_bundles["fp32"].bundle, "ort") as session:
        found = score_all(session, chosen)
    np.testing.assert_allclose(found.score, expected.score, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=1e-4)


def test_hard_frames_never_give_nan(tiny_bundles: Bundles) -> None:
    even = [np.full((64, 64, 3), grey, np.uint8) for grey in (0, 128, 255)]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for exported in tiny_bundles.values():
        with open_session(exported.bundle, "ort") as session:
            scores = score_all(session, np.stack([*even, noise]))
        assert np.isfinite(scores.score).all() and np.isfinite(scores.map).all()


def test_no_batch_norm_and_no_training_is_left(model: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "Dropout", "Identity", "If", "Loop", "Shape"}
    assert {"Conv", "Resize", "ReduceMax"} <= kinds
    assert len(model.functions) == 0 and {o.domain for o in model.opset_import} == {""}


def test_frames_are_cast_before_they_are_transposed(model: onnx.ModelProto) -> None:
    (first,) = (n for n in model.graph.node if "frames" in n.input)
    assert first.op_type == "Cast"


def test_weights_lie_inside_of_the_file(model: onnx.ModelProto) -> None:
    assert not any(i.external_data for i in model.graph.initializer)


def test_every_node_knows_its_module(model: onnx.ModelProto) -> None:
    scopes = node_scopes(model)
    assert len(scopes) == len(model.graph.node)
    by_kind = {n.op_type: scopes[n.name] for n in model.graph.node}
    assert by_kind["ReduceMax"] == "tail"
    assert "network.teacher.conv1" in scopes.values()
    assert "network.student.tnr.2.gate" in scopes.values()


def test_other_sizes_batches_and_switches(other_graph: ScoringGraph) -> None:
    model = checked(onnx_from_graph(other_graph, batch=2))
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run(["score", "map"], {"frames": frames})
    expected = other_graph.score(frames)
    assert score.shape == (2,) and anomaly_map.shape == (2, 32, 64)
    np.testing.assert_allclose(score, expected.score, rtol=0, atol=1e-4)
    np.testing.assert_allclose(anomaly_map, expected.map, rtol=0, atol=1e-4)


def test_a_refusal_of_the_exporter_is_one_error(
    other_graph: ScoringGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("unsupported\nand a long trace")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(BackendError, match=r"cannot be written as ONNX \(unsupported\)"):
        onnx_from_graph(other_graph)
