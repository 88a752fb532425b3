"""A bundle that can be opened, with threshold and parity still open."""

import hashlib
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from dtgd_edge.bundle import (
    SCHEMA,
    Bundle,
    Golden,
    Manifest,
    Placement,
    Pooling,
    Precision,
    Provenance,
    Threshold,
)
from dtgd_edge.export.onnx import tensor_specs
from dtgd_edge.train.checkpoint import Checkpoint, CheckpointRecord
from dtgd_edge.train.graph import MAP_STRIDE
from dtgd_edge.versions import installed_versions

PACKAGES = (
    "dtgd-edge",
    "torch",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
)


def bundle_name(record: CheckpointRecord) -> str:
    """What the bundles of a checkpoint are called after: the folder that was trained on, and the graph."""
    name = Path(record.data).resolve().name or "part"
    return name if record.graph == "full" else f"{name}-{record.graph}"


def draft_bundle(
    checkpoint: Checkpoint,
    content: bytes,
    precision: Precision,
    placement: Placement,
    float_modules: tuple[str, ...] = (),
    session: str = "ort",
    batch: int = 1,
) -> Bundle:
    """Put an ONNX graph into a bundle without threshold, parity and golden frames.

    Args:
        checkpoint: that it comes from.
        content: the ONNX file.
        precision: of the graph.
        placement: of its Q/DQ nodes.
        float_modules: what INT8 left in float because of its verdicts.
        session: backend that will judge it.
        batch: frames that the graph takes at once.
    """
    record = checkpoint.record
    height, width = record.recipe.geometry.size_hw
    frames, outputs = tensor_specs((height, width), batch)
    manifest = Manifest(
        schema=SCHEMA,
        name=bundle_name(record),
        precision=precision,
        placement=placement,
        graph_sha256=hashlib.sha256(content).hexdigest(),
        input=frames,
        outputs=outputs,
        geometry=record.recipe.geometry,
        threshold=Threshold(0.0, "not chosen yet", 0),
        parity=(),
        golden_tolerance=0.0,
        frame_size_hw=record.frame_size_hw,
        provenance=_provenance(record),
        float_modules=float_modules,
        session=session,
        pooling=Pooling(MAP_STRIDE, record.recipe.scoring.top),
    )
    none = np.zeros((0, height, width, 3), np.uint8)
    return Bundle(manifest, content, Golden(none, np.zeros(0, np.float32)))


def _provenance(record: CheckpointRecord) -> Provenance:
    return Provenance(
        checkpoint_sha256=record.weights_sha256,
        data=record.data,
        steps=record.step,
        teacher=record.teacher,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=installed_versions(PACKAGES),
    )
