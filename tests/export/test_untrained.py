"""Untrained graphs have the shapes and the precisions of trained ones, and run."""

import numpy as np
import onnx

from dtgd_edge.benchmarks.takt import Candidate
from dtgd_edge.benchmarks.takt_times import time_bundles
from dtgd_edge.export.target import target_from_name
from dtgd_edge.export.untrained import UntrainedGraphs
from dtgd_edge.geometry import Geometry
from dtgd_edge.runtime.session import open_session, score_all
from dtgd_edge.train.recipe import Recipe


def quantised(content: bytes) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(content).graph.node)


def test_every_precision_runs_and_can_be_timed(tiny_recipe: Recipe) -> None:
    geometry = Geometry(size_hw=(96, 64), tiles=(2, 1), margin=16)
    graphs = UntrainedGraphs(tiny_recipe, target_from_name("cpu"))
    made = graphs.bundles(geometry, ["fp32", "int8"])
    assert [b.manifest.placement for b in made.values()] == ["float", "cpu"]
    assert [quantised(b.graph) for b in made.values()] == [False, True]
    for bundle in made.values():
        assert bundle.manifest.geometry == geometry
        with open_session(bundle, "ort", 1) as session:
            scores = score_all(session, bundle.golden.frames)
            assert bool(np.isfinite(scores.score).all())
            # Every frame is good: whatever is outlined would be timed too.
            assert bool((scores.score < bundle.manifest.threshold.value).all())
        assert scores.map.shape == (3, 96, 64)
    pairs = [(Candidate("full", precision, geometry), bundle) for precision, bundle in made.items()]
    for timing in time_bundles(pairs, (48, 64), backend="ort", threads=1, frames=4):
        assert timing.p50_ms > timing.loop_ms > 0


def test_tensorrt_s_int8_has_a_float16_rest(tiny_recipe: Recipe) -> None:
    graphs = UntrainedGraphs(tiny_recipe, target_from_name("tensorrt"))
    made = graphs.bundles(Geometry(size_hw=(64, 64)), ["fp16", "int8"])
    assert [b.manifest.placement for b in made.values()] == ["float", "tensorrt"]
    half = onnx.TensorProto.FLOAT16
    for bundle in made.values():
        assert any(i.data_type == half for i in onnx.load_from_string(bundle.graph).graph.initializer)


def test_the_memory_is_searched_in_integers_as_a_trained_one_is() -> None:
    graphs = UntrainedGraphs(Recipe(), target_from_name("cpu"), "compact")
    bundle = graphs.bundles(Geometry(size_hw=(64, 64)), ["int8"])["int8"]
    constants = {i.name: i.data_type for i in onnx.load_from_string(bundle.graph).graph.initializer}
    assert onnx.TensorProto.INT8 in {kind for name, kind in constants.items() if "nearest_kernels" in name}


def test_the_default_networks_have_their_full_width() -> None:
    graphs = UntrainedGraphs(Recipe(), target_from_name("cpu"))
    bundle = graphs.bundles(Geometry(size_hw=(64, 32)), ["fp32"])["fp32"]
    weights = {tuple(i.dims) for i in onnx.load_from_string(bundle.graph).graph.initializer}
    assert (512, 256, 3, 3) in weights  # the last stage of a ResNet-18
    assert bundle.manifest.provenance.teacher == "random weights"


def test_a_compact_graph_is_lighter() -> None:
    sizes = []
    for graph in ("full", "compact"):
        made = UntrainedGraphs(Recipe(), target_from_name("cpu"), graph)
        sizes.append(len(made.bundles(Geometry(size_hw=(64, 32)), ["fp32"])["fp32"].graph))
    assert sizes[1] < sizes[0] / 4
