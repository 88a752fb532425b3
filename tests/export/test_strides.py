"""Stems over pixels laid together: another form of the same sums."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from dtgd_edge.export.onnx import onnx_from_graph
from dtgd_edge.export.stem import RAW, with_raw_stems
from dtgd_edge.export.strides import with_folded_strides
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.graph import distil
from tests.export.graphs import outputs


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> JudgingFrames:
    return Checkpoint.open(tiny_checkpoint).frames()


@pytest.fixture(scope="module", params=[1, 2])
def raw(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> ModelProto:
    return with_raw_stems(onnx_from_graph(distil(Checkpoint.open(tiny_checkpoint)), request.param), set())


def test_scores_and_maps_are_the_same(raw: ModelProto, frames: JudgingFrames) -> None:
    count = raw.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    folded = with_folded_strides(raw)
    onnx.checker.check_model(folded, full_check=True)
    shown = frames.defects[:count]
    for before, after in zip(outputs(raw, shown), outputs(folded, shown), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_stems_take_four_pixels_at_a_time(raw: ModelProto) -> None:
    folded = with_folded_strides(raw)
    weights = {i.name: numpy_helper.to_array(i) for i in folded.graph.initializer}
    stems = [n for n in folded.graph.node if n.op_type == "Conv" and n.input[0] == RAW]
    assert len(stems) == 2
    for stem in stems:
        form = {a.name: list(a.ints) for a in stem.attribute if a.ints}
        assert (form["kernel_shape"], form["strides"], form["pads"]) == ([4, 4], [1, 1], [0, 0, 0, 0])
        kernels = weights[stem.input[1]]
        assert kernels.shape[1:] == (12, 4, 4)
        # Seven by seven of the eight by eight places; the first pixel's first channel begins the row.
        assert np.count_nonzero(kernels[0]) == 147
        before = next(i for i in raw.graph.initializer if i.name == stem.input[1])
        assert kernels[0, 0, 0, 0] == numpy_helper.to_array(before)[0, 0, 0, 0]


def test_a_graph_whose_stems_are_not_raw_stays_as_it_is(raw: ModelProto) -> None:
    folded = with_folded_strides(raw)
    assert with_folded_strides(folded) == folded
