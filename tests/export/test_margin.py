"""A graph that adds a mirrored margin is exported like any other, and scores what it would without one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import INPUT, onnx_from_graph
from dtgd_edge.export.precision import fp16_graph
from dtgd_edge.export.target import CalibrationTarget, target_from_name
from dtgd_edge.runtime.trt.builder import BuildRequest, plan_from_onnx
from dtgd_edge.runtime.trt.library import library_for_build
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph, calibrate_levels, distil
from tests.runtime.fakes import has_rtx

HAS_RTX, WHY_NOT = has_rtx()


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> np.ndarray:
    return Checkpoint.open(tiny_checkpoint).frames().normals[:6]


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path, frames: np.ndarray) -> ScoringGraph:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    recipe = checkpoint.record.recipe
    made = ScoringGraph(checkpoint.network(), recipe.geometry.size_hw, recipe.scoring, margin=16).eval()
    calibrate_levels(made, frames)
    return made


@pytest.fixture(scope="module")
def models(graph: ScoringGraph, frames: np.ndarray) -> dict[str, onnx.ModelProto]:
    floating, half = onnx_from_graph(graph), onnx_from_graph(fp16_graph(graph))
    made = {"fp32": floating, "fp16": half}
    for name in ("cpu", "tensorrt"):
        target = replace(target_from_name(name), calibration=CalibrationTarget("minmax"))
        made[name] = Quantiser(
            floating, target, frames, frames, half if name == "tensorrt" else None
        ).quantised()
    return made


@pytest.mark.parametrize("name", ["fp32", "fp16", "cpu", "tensorrt"])
def test_onnx_runtime_gives_the_trained_graphs_maps(
    models: dict[str, onnx.ModelProto], graph: ScoringGraph, frames: np.ndarray, name: str
) -> None:
    options = onnxruntime.SessionOptions()
    # What the TensorRT placement gives when every Q/DQ pair rounds, as there.
    options.add_session_config_entry("session.disable_quant_qdq", "1" if name == "tensorrt" else "0")
    session = onnxruntime.InferenceSession(
        models[name].SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = np.concatenate([session.run(["map"], {INPUT: frame[None]})[0] for frame in frames])
    wanted = graph.score(frames).map
    assert found.shape == frames.shape[:3]
    if name == "fp32":
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9


@pytest.mark.skipif(not HAS_RTX, reason=WHY_NOT)
@pytest.mark.parametrize("name", ["fp16", "tensorrt"])
def test_tensorrt_for_rtx_builds_it(models: dict[str, onnx.ModelProto], name: str) -> None:
    rtx = library_for_build("rtx", has_gpu=False)
    plan = plan_from_onnx(rtx, models[name].SerializeToString(), BuildRequest(("8.9",)))
    assert [spec.shape for spec in plan.inputs] == [(1, 64, 64, 3)]


def test_the_network_sees_the_picture_go_on(tiny_checkpoint: Path, graph: ScoringGraph) -> None:
    """A picture that is mirrored by hand and one with a margin have the same features."""
    plain = distil(Checkpoint.open(tiny_checkpoint))
    frame = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8))
    mirrored = torch.from_numpy(np.pad(frame.numpy(), ((0, 0), (16, 16), (16, 16), (0, 0)), "reflect"))
    with torch.inference_mode():
        by_hand = plain.features(mirrored)[0][0][:, :, 4:-4, 4:-4]
        torch.testing.assert_close(graph.features(frame)[0][0], by_hand, atol=1e-4, rtol=1e-4)
