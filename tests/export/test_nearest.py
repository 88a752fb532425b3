"""The memory's search as one product: another graph, the same distances."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from dtgd_edge.export.nearest import with_nearest_product
from dtgd_edge.export.onnx import node_scopes, onnx_from_graph
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.graph import distil
from tests.export.graphs import outputs


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> JudgingFrames:
    return Checkpoint.open(tiny_checkpoint).frames()


@pytest.fixture(scope="module", params=[1, 3])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> ModelProto:
    return onnx_from_graph(distil(Checkpoint.open(tiny_checkpoint)), request.param)


def test_scores_and_maps_are_the_same(model: ModelProto, frames: JudgingFrames) -> None:
    count = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    changed = with_nearest_product(model)
    onnx.checker.check_model(changed, full_check=True)
    for before, after in zip(
        outputs(model, frames.defects[:count]), outputs(changed, frames.defects[:count]), strict=True
    ):
        assert before.shape == after.shape
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_the_memory_searches_in_one_product(model: ModelProto) -> None:
    changed = with_nearest_product(model)
    scopes = node_scopes(changed)
    kinds = Counter(node.op_type for node in changed.graph.node if scopes[node.name] == "memory")
    assert kinds["Gemm"] == kinds["ReduceMin"] == 1 and kinds["Conv"] == 2  # the two projections
    assert not {"Slice", "Min"} & set(kinds)
    used = {name for node in changed.graph.node for name in node.input}
    assert {i.name for i in changed.graph.initializer} <= used


def test_a_graph_without_a_memory_stays_as_it_is(model: ModelProto) -> None:
    once = with_nearest_product(model)
    assert with_nearest_product(once) == once
