"""A graph that cuts its frames into tiles goes the way of any other: bundle, session, verdicts, engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from dtgd_edge.bundle import Precision
from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import INPUT, onnx_from_graph
from dtgd_edge.export.pipeline import PRECISIONS, Exported, Exporter
from dtgd_edge.export.precision import fp16_graph
from dtgd_edge.export.qat import conv_input_ranges, fine_tuned
from dtgd_edge.export.stem import with_raw_stems
from dtgd_edge.export.target import CalibrationTarget, LimitsTarget, Target, target_from_name
from dtgd_edge.export.triton import write_repository
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import read_picture
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.session import open_session, score_all
from dtgd_edge.runtime.trt.builder import BuildRequest, plan_from_onnx
from dtgd_edge.runtime.trt.library import library_for_build
from dtgd_edge.train import loop
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.data import DataSet, read_data
from dtgd_edge.train.evaluate import evaluate
from dtgd_edge.train.graph import ScoringGraph, distil
from dtgd_edge.train.recipe import Recipe
from tests.runtime.fakes import has_rtx

HAS_RTX, WHY_NOT = has_rtx()
SIZE = (96, 128)
GEOMETRY = Geometry(SIZE, tiles=(2, 3))  # of 64 px, half of which is shared


@pytest.fixture(scope="module")
def data(pretend_data: Path) -> DataSet:
    return read_data(pretend_data)


@pytest.fixture(scope="module")
def checkpoint(data: DataSet, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    recipe = replace(tiny_recipe, geometry=GEOMETRY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "MOST_DEFECTS", 24)
        patch.setattr(loop, "MOST_FITTED", 6)
        return loop.train(data, recipe, tmp_path_factory.mktemp("runs") / "tiled", device="cpu")


@pytest.fixture(scope="module")
def frames(checkpoint: Checkpoint) -> JudgingFrames:
    return checkpoint.frames()


@pytest.fixture(scope="module")
def graph(checkpoint: Checkpoint) -> ScoringGraph:
    return distil(checkpoint)


@pytest.fixture(scope="module")
def floating(graph: ScoringGraph) -> onnx.ModelProto:
    return onnx_from_graph(graph)


@pytest.fixture(scope="module")
def for_tensorrt(graph: ScoringGraph, floating: onnx.ModelProto, frames: JudgingFrames) -> onnx.ModelProto:
    half = onnx_from_graph(fp16_graph(graph))
    target = replace(target_from_name("tensorrt"), calibration=CalibrationTarget("minmax"))  # the quickest
    return Quantiser(floating, target, frames.fitted, frames.normals, half).quantised()


@pytest.fixture(scope="module")
def bundles(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Exported]:
    # After 40 steps many defects lie near the threshold, and INT8 moves some across it.
    exporter = Exporter(checkpoint, target=Target(limits=LimitsTarget(flip_share=0.2)))
    workspace = tmp_path_factory.mktemp("workspace")
    return {precision: exporter.export(precision, workspace=workspace) for precision in PRECISIONS}


def _run(model: onnx.ModelProto, frames: np.ndarray, literal: bool = False) -> tuple[np.ndarray, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1" if literal else "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    scores, maps = zip(
        *(session.run(["score", "map"], {INPUT: frame[None]}) for frame in frames), strict=True
    )
    return np.concatenate(scores), np.concatenate(maps)


def test_judging_frames_are_whole_frames(frames: JudgingFrames) -> None:
    for kept in (frames.normals, frames.defects, frames.fitted):
        assert kept.shape[1:] == (*SIZE, 3)
    assert frames.masks.shape[1:] == SIZE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_onnx_runtime_gives_pytorchs_scores_and_maps(
    bundles: dict[Precision, Exported], graph: ScoringGraph, frames: JudgingFrames, precision: Precision
) -> None:
    manifest = bundles[precision].bundle.manifest
    assert manifest.input.shape == (1, *SIZE, 3) and manifest.geometry == GEOMETRY
    chosen = np.concatenate([frames.normals, frames.defects[:8]])
    expected = graph.score(chosen)
    with open_session(bundles[precision].bundle, "ort") as session:
        found = score_all(session, chosen)
    tolerance = 1e-4 if precision == "fp32" else 0.05
    np.testing.assert_allclose(found.score, expected.score, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=tolerance)


def test_int8_gives_nearly_the_same_maps_in_both_placements(
    bundles: dict[Precision, Exported],
    floating: onnx.ModelProto,
    for_tensorrt: onnx.ModelProto,
    frames: JudgingFrames,
) -> None:
    chosen = np.concatenate([frames.normals, frames.defects])
    _, wanted = _run(floating, chosen)
    _, for_cpu = _run(onnx.load_from_string(bundles["int8"].bundle.graph), chosen)
    _, for_gpu = _run(for_tensorrt, chosen, literal=True)
    for found in (for_cpu, for_gpu):
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9


def test_the_cpus_stems_read_the_bytes_of_tiles(floating: onnx.ModelProto, frames: JudgingFrames) -> None:
    raw = with_raw_stems(floating, set())
    (cut,) = (n for n in raw.graph.node if n.op_type == "Concat" and n.name.endswith("_bytes"))
    assert len(cut.input) == 6
    read = {name for node in raw.graph.node for name in node.input} | {o.name for o in raw.graph.output}
    assert all(read & set(node.output) for node in raw.graph.node), "the floats' own cutting is left over"
    wanted, found = _run(floating, frames.defects[:4]), _run(raw, frames.defects[:4])
    # The rim is the mean colour to a fraction of a grey level.
    np.testing.assert_allclose(found[1], wanted[1], rtol=0, atol=0.02 * np.ptp(wanted[1]))


def test_only_fixed_slices_and_sums_are_added(floating: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in floating.graph.node}
    assert {"Slice", "Concat", "Pad"} <= kinds
    assert not kinds & {"Shape", "Gather", "ScatterND", "Loop", "If", "Split", "SplitToSequence"}


def test_it_is_inspected_and_measured_like_any_other(
    bundles: dict[Precision, Exported], graph: ScoringGraph, data: DataSet
) -> None:
    reached = {}
    for name, exported in bundles.items():
        with Inspector.open(exported.path, "ort") as inspector:
            verdict = inspector.inspect(read_picture(data.test[0].path))
            assert verdict.map is not None and verdict.map.shape == (64, 64)  # of the picture
        with open_session(exported.bundle, "ort") as session:
            reached[name] = evaluate(lambda f, s=session: score_all(s, f), data.test, GEOMETRY).native
    trained = evaluate(graph.score, data.test, GEOMETRY).native
    for metrics in reached.values():
        assert metrics.image_auroc == pytest.approx(trained.image_auroc, abs=0.05)
        assert metrics.pixel_auroc == pytest.approx(trained.pixel_auroc, abs=0.05)


def test_a_server_gets_it_with_its_own_fixed_batch(
    bundles: dict[Precision, Exported], tmp_path: Path
) -> None:
    bundle = bundles["fp32"].bundle
    (folder,) = write_repository(bundle, tmp_path)
    assert (folder / "1" / "model.onnx").read_bytes() == bundle.graph
    config = (folder / "config.pbtxt").read_text()
    assert "max_batch_size: 0" in config and "dims: [1, 96, 128, 3]" in config
    assert "dynamic_batching" not in config


def test_fine_tuning_for_int8_sees_tiles(
    graph: ScoringGraph, floating: onnx.ModelProto, frames: JudgingFrames, checkpoint: Checkpoint
) -> None:
    quantiser = Quantiser(floating, Target(), frames.fitted)
    inputs = conv_input_ranges(quantiser.model, quantiser.ranges)
    losses: list[float] = []
    tuned = fine_tuned(
        graph, inputs, checkpoint.record.recipe, frames, 3, lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert tuned.score(frames.normals[:1]).map.shape == (1, *SIZE)


@pytest.mark.skipif(not HAS_RTX, reason=WHY_NOT)
@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_tensorrt_for_rtx_builds_it(graph: ScoringGraph, for_tensorrt: onnx.ModelProto, kind: str) -> None:
    model = for_tensorrt if kind == "int8" else onnx_from_graph(fp16_graph(graph))
    plan = plan_from_onnx(
        library_for_build("rtx", has_gpu=False), model.SerializeToString(), BuildRequest(("8.9",))
    )
    assert [spec.shape for spec in plan.inputs] == [(1, *SIZE, 3)]
    assert {spec.shape for spec in plan.outputs} == {(1,), (1, *SIZE)}
