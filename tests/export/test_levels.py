"""Calibrating the tail's levels again after a conversion, whatever the fusion."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.levels import with_calibrated_levels
from dtgd_edge.export.onnx import INPUT, onnx_from_graph
from dtgd_edge.export.target import target_from_name
from dtgd_edge.ranks import rank_correlation
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.graph import ScoringGraph, calibrate_levels
from dtgd_edge.train.levels import LevelRule
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import Fusion, ScoringRecipe, StudentRecipe, TNRForm

Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Grounds of different roughness, some with a square."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (24, 64, 64, 3)) * np.linspace(0.05, 1, 24)[:, None, None, None]
    pictures[::3, 16:40, 16:40] = 255
    return pictures.astype(np.uint8)


def _graph(frames: Frames, tnr: TNRForm, skips: bool, fusion: Fusion) -> ScoringGraph:
    """Untrained, calibrated."""
    torch.manual_seed(0)
    quarter = "resnet18_quarter"
    network = DTGD(ResNet(backbone_spec(quarter)), StudentRecipe(quarter, tnr, skips))
    graph = ScoringGraph(network, (64, 64), ScoringRecipe(fusion=fusion)).eval()
    calibrate_levels(graph, frames[:8])
    return graph


def _scores(model: ModelProto, frames: Frames) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(["score"], {INPUT: frame[None]})[0] for frame in frames])


@pytest.mark.parametrize("fusion", ["calibrated", "sum", "product"])
def test_levels_that_drifted_are_put_right(frames: Frames, fusion: Fusion) -> None:
    graph = _graph(frames, "subtract", False, fusion)
    drifted = copy.deepcopy(graph)
    drifted.tail.centre += 0.1 * (drifted.tail.centre != 0)
    drifted.tail.scale *= 1.5
    model = onnx_from_graph(drifted)
    wanted = graph.score(frames).score
    assert np.abs(_scores(model, frames) - wanted).max() > 0.1
    righted = with_calibrated_levels(model, model, frames[:8], LevelRule(fusion))
    np.testing.assert_allclose(_scores(righted, frames), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("target", "tnr", "skips", "fusion"),
    [
        ("cpu", "inject", True, "product"),
        ("tensorrt", "inject", True, "product"),
        ("cpu", "off", True, "sum"),
    ],
)
def test_int8_ranks_frames_as_float32_does_with_every_switch(
    frames: Frames, target: str, tnr: TNRForm, skips: bool, fusion: Fusion
) -> None:
    graph = _graph(frames, tnr, skips, fusion)
    half = onnx_from_graph(copy.deepcopy(graph).half())
    made = Quantiser(
        onnx_from_graph(graph), target_from_name(target), frames, frames[:8], half, rule=graph.level_rule
    ).quantised()
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("DequantizeLinear") > 50
    assert rank_correlation(_scores(made, frames), graph.score(frames).score) > 0.9
