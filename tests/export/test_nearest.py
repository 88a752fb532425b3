"""The memory's search as matrix products: another graph, the same distances, or nearly so in integers."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

import dtgd_edge.export.nearest
from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.levels import memory_edge
from dtgd_edge.export.nearest import FINE, STEPS, with_nearest_products
from dtgd_edge.export.onnx import node_scopes, onnx_from_graph
from dtgd_edge.export.probe import probed
from dtgd_edge.export.target import Target
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.graph import ScoringGraph, distil
from tests.export.graphs import outputs

FAR = 1e6  # an edge of normal so far away that any rounding is fine


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> JudgingFrames:
    return Checkpoint.open(tiny_checkpoint).frames()


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path) -> ScoringGraph:
    return distil(Checkpoint.open(tiny_checkpoint))


@pytest.fixture(scope="module", params=[1, 3])
def model(request: pytest.FixtureRequest, graph: ScoringGraph) -> ModelProto:
    return onnx_from_graph(graph, request.param)


def test_in_floats_scores_and_maps_are_the_same(model: ModelProto, frames: JudgingFrames) -> None:
    changed = with_nearest_products(model)
    onnx.checker.check_model(changed, full_check=True)
    shown = frames.defects[: model.graph.input[0].type.tensor_type.shape.dim[0].dim_value]
    for before, after in zip(outputs(model, shown), outputs(changed, shown), strict=True):
        assert before.shape == after.shape
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_in_integers_distances_are_right_to_what_was_rounded(
    model: ModelProto, graph: ScoringGraph, frames: JudgingFrames
) -> None:
    changed = with_nearest_products(model, FAR)
    onnx.checker.check_model(changed, full_check=True)
    # Half a step in each direction, of patch and prototype.
    most = _step(graph) * _prototypes(graph).shape[1] ** 0.5
    scopes = node_scopes(model)
    (distance,) = (n.output[0] for n in model.graph.node if (n.op_type, scopes[n.name]) == ("Sqrt", "memory"))
    shown = np.concatenate([frames.normals[:2], frames.defects[:2]])
    pairs = zip(probed(model, [distance], shown), probed(changed, [distance], shown), strict=True)
    for (before,), (after,) in pairs:
        assert before.shape == after.shape
        assert 0 < np.abs(after - before).max() <= most
        assert np.corrcoef(after.ravel(), before.ravel())[0, 1] > 0.9


def test_integers_are_for_memories_whose_good_parts_lie_many_steps_apart(
    model: ModelProto, graph: ScoringGraph
) -> None:
    kinds = {}
    for edge in (0.99 * FINE * _step(graph), 1.01 * FINE * _step(graph)):
        changed = with_nearest_products(model, edge)
        stored = {i.name: numpy_helper.to_array(i).dtype for i in changed.graph.initializer}
        kinds[edge] = next(dtype for name, dtype in stored.items() if name.startswith("nearest_kernels_0"))
    assert list(kinds.values()) == [np.float32, np.int8]


def test_the_edge_is_what_the_levels_were_calibrated_to(model: ModelProto, graph: ScoringGraph) -> None:
    assert graph.memory is not None
    assert memory_edge(model, graph.level_rule) == pytest.approx(
        float(graph.tail.scale[-1]) * graph.memory.weight
    )


@pytest.mark.parametrize("edge", [0.0, FAR])
def test_prototypes_are_searched_in_groups(
    model: ModelProto, frames: JudgingFrames, monkeypatch: pytest.MonkeyPatch, edge: float
) -> None:
    whole = with_nearest_products(model, edge)
    monkeypatch.setattr(dtgd_edge.export.nearest, "CACHED_VALUES", 1 << 12)
    grouped = with_nearest_products(model, edge)
    kinds = [Counter(node.op_type for node in m.graph.node) for m in (whole, grouped)]
    assert kinds[0]["Gemm"] == 1 and kinds[1]["Gemm"] > 2
    (a,), (b,) = (next(probed(m, ["nearest_least"], frames.defects[:1])) for m in (whole, grouped))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_memory_keeps_its_projections_and_no_constant_is_left_over(model: ModelProto) -> None:
    changed = with_nearest_products(model, FAR)
    scopes = node_scopes(changed)
    kinds = Counter(node.op_type for node in changed.graph.node if scopes[node.name] == "memory")
    assert kinds["Conv"] == 2 and "Slice" not in kinds
    used = {name for node in changed.graph.node for name in node.input}
    assert {i.name for i in changed.graph.initializer} <= used


def test_a_graph_without_a_search_stays_as_it_is(model: ModelProto) -> None:
    once = with_nearest_products(model)
    assert with_nearest_products(once) == once


@pytest.mark.parametrize(("float_modules", "is_integer"), [((), True), (("memory",), False)])
def test_the_memory_can_stay_float(
    graph: ScoringGraph,
    frames: JudgingFrames,
    monkeypatch: pytest.MonkeyPatch,
    float_modules: tuple[str, ...],
    is_integer: bool,
) -> None:
    monkeypatch.setattr(dtgd_edge.export.nearest, "FINE", 0.01)
    quantiser = Quantiser(onnx_from_graph(graph), Target(), frames.fitted[:4], rule=graph.level_rule)
    made = quantiser.quantised(float_modules)
    assert ("nearest_step" in {i.name for i in made.graph.initializer}) == is_integer


def _prototypes(graph: ScoringGraph) -> NDArray[np.float32]:
    assert graph.memory is not None
    return graph.memory.prototypes.numpy()


def _step(graph: ScoringGraph) -> float:
    return float(np.abs(_prototypes(graph)).max()) / STEPS
