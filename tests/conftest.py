"""Fixtures that tests of several packages share."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, Golden, Manifest, ParityRecord, Provenance, TensorSpec, Threshold
from dtgd_edge.geometry import Geometry

# Before anything imports torch: what a few dozen steps come to hangs on the order of sums, and two processes
# of one thread each are quicker than one of two.
os.environ["OMP_NUM_THREADS"] = "1"

if TYPE_CHECKING:
    from dtgd_edge.bundle import Precision
    from dtgd_edge.export.pipeline import Exported, Exporter
    from dtgd_edge.train.recipe import Recipe


@pytest.fixture(scope="session")
def tiny_graph() -> bytes:
    """ONNX: map = |mean over colours - 128| / 32, score = its maximum; grey is 0, black 4, white 3.97."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["frames"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "colours"], ["grey"], keepdims=0),
        helper.make_node("Sub", ["grey", "middle"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Div", ["distance", "scale"], ["map"]),
        helper.make_node("ReduceMax", ["map", "pixels"], ["score"], keepdims=0),
    ]
    constants = {
        "colours": np.array([3]),
        "pixels": np.array([1, 2]),
        "middle": np.float32(128.0),
        "scale": np.float32(32.0),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, 64, 64, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 64, 64]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def tiny_manifest(tiny_graph: bytes) -> Manifest:
    """Of the tiny graph; any frame size, threshold 2 (a grey below 64 or above 192 is NG)."""
    return Manifest(
        schema=1,
        name="tiny",
        precision="fp32",
        placement="float",
        graph_sha256=hashlib.sha256(tiny_graph).hexdigest(),
        input=TensorSpec("frames", "uint8", (1, 64, 64, 3)),
        outputs=(TensorSpec("score", "float32", (1,)), TensorSpec("map", "float32", (1, 64, 64))),
        geometry=Geometry(size_hw=(64, 64)),
        threshold=Threshold(2.0, "set by hand", 3),
        parity=(
            ParityRecord(
                session="ONNX Runtime CPU",
                reference="itself",
                frames=3,
                flips=0,
                smallest_margin=0.4,
                rank_correlation=1.0,
                score_difference=0.0,
                map_difference=0.0,
                non_finite=0,
                flip_limit=0.01,
            ),
        ),
        golden_tolerance=1e-3,
        frame_size_hw=None,
        provenance=Provenance("0" * 64, "nowhere", 0, "none", "2026-01-01T00:00:00+00:00"),
    )


@pytest.fixture
def tiny_bundle(tiny_graph: bytes, tiny_manifest: Manifest) -> Bundle:
    """A bundle made without torch; scores in microseconds."""
    frames = np.stack([np.full((64, 64, 3), grey, np.uint8) for grey in (128, 160, 255)])
    return Bundle(tiny_manifest, tiny_graph, Golden(frames, np.array([0.0, 1.0, 127 / 32], np.float32)))


@pytest.fixture
def tiny_bundle_path(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """The tiny bundle as a file."""
    path = tmp_path / "tiny.dtgd"
    tiny_bundle.save(path)
    return path


@pytest.fixture(scope="session")
def pretend_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set of the pretend line in the MVTec AD layout; read only."""
    from dtgd_edge.pretend import write_dataset

    folder = tmp_path_factory.mktemp("data") / "pretend"
    write_dataset(folder, parts=24, size=64)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe() -> "Recipe":
    """The smallest training run that still learns something: 64 px, random weights, 4 s."""
    from dtgd_edge.train.recipe import OptimiserRecipe, Recipe, StudentRecipe, TeacherRecipe

    return Recipe(
        geometry=Geometry(size_hw=(64, 64)),
        teacher=TeacherRecipe("resnet18_quarter", "random"),
        student=StudentRecipe("resnet18_quarter"),
        optimiser=OptimiserRecipe(steps=40, batch=8, learning_rate=5e-3),
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(
    pretend_data: Path, tiny_recipe: "Recipe", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A trained checkpoint's folder; read only."""
    from dtgd_edge.train.data import read_data
    from dtgd_edge.train.loop import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(read_data(pretend_data), tiny_recipe, folder, device="cpu")
    return folder


@pytest.fixture(scope="session")
def tiny_exporter(tiny_checkpoint: Path) -> "Exporter":
    """Of the tiny checkpoint; exporting fp32 or int8 a second time is quick."""
    from dtgd_edge.export.pipeline import Exporter
    from dtgd_edge.export.target import LimitsTarget, Target
    from dtgd_edge.train.checkpoint import Checkpoint

    # After 40 steps many defects lie near the threshold, and INT8 moves a few across it.
    target = Target(limits=LimitsTarget(flip_share=0.1))
    return Exporter(Checkpoint.open(tiny_checkpoint), target=target)


@pytest.fixture(scope="session")
def tiny_bundles(
    tiny_exporter: "Exporter", tmp_path_factory: pytest.TempPathFactory
) -> "dict[Precision, Exported]":
    """The tiny checkpoint's bundles, one per precision; read only."""
    from dtgd_edge.export.pipeline import PRECISIONS

    workspace = tmp_path_factory.mktemp("workspace")
    return {precision: tiny_exporter.export(precision, workspace=workspace) for precision in PRECISIONS}
