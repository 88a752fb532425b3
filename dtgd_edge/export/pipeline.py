"""Checkpoint to bundle: distil, convert, choose the threshold, prove parity, seal."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from onnx import ModelProto

from dtgd_edge.bundle import (
    SCHEMA,
    SUFFIX,
    Bundle,
    Golden,
    Manifest,
    ParityRecord,
    Placement,
    Precision,
    Provenance,
    Threshold,
)
from dtgd_edge.errors import ConfigError
from dtgd_edge.export import parity
from dtgd_edge.export.onnx import onnx_from_graph, tensor_specs
from dtgd_edge.export.precision import fp16_graph, fp16_rounded_graph, int8_onnx
from dtgd_edge.runtime.choice import choose_backend
from dtgd_edge.runtime.session import SESSIONS, open_session, score_all
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import distil
from dtgd_edge.train.threshold import threshold_from_normals
from dtgd_edge.verdict import Scores
from dtgd_edge.workspace import BUNDLES

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
GOLDEN_FRAMES = 4  # of each kind, good and defective


@dataclass(frozen=True, slots=True)
class PrecisionRule:
    """What a precision is held to.

    Attributes:
        flip_limit: share of verdicts that may differ from the trained graph's.
        golden_tolerance: allowed difference of a golden score on another machine, as a share of the
            threshold: other processors round and sum in another order.
    """

    flip_limit: float
    golden_tolerance: float


RULES: dict[Precision, PrecisionRule] = {
    "fp32": PrecisionRule(0.0, 1e-3),
    "fp16": PrecisionRule(0.0, 1e-2),
    "int8": PrecisionRule(0.01, 1e-1),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle and where it was written."""

    bundle: Bundle
    path: Path


class Exporter:
    """Exports one checkpoint in several precisions; the trained graph is scored once.

    Args:
        checkpoint: an opened checkpoint.
        say: is told what is being done.
    """

    def __init__(self, checkpoint: Checkpoint, say: Callable[[str], None] = lambda text: None) -> None:
        self._checkpoint = checkpoint
        self._say = say
        say("distilling the checkpoint into its scoring graph")
        self._frames = checkpoint.frames()
        self._graph = distil(checkpoint, self._frames)
        self._judged = np.concatenate([self._frames.normals, self._frames.defects])
        say(f"scoring {len(self._judged)} frames with the trained graph")
        self._reference = self._graph.score(self._judged)
        self._reference_threshold = self._threshold(self._reference)
        self._float_model: ModelProto | None = None

    def export(
        self,
        precision: Precision,
        out: Path | None = None,
        workspace: Path = Path("."),
        session: str = "ort",
    ) -> Exported:
        """Write one bundle.

        Args:
            precision: "fp32", "fp16" or "int8".
            out: the bundle's path; None: bundles/<name>-<precision>.dtgd in the workspace.
            workspace: see `out`.
            session: the backend that will run it; threshold, golden scores and parity are its own.

        Raises:
            ConfigError: that backend is unknown, or computes nothing.
            BackendUnavailable: it cannot run on this machine.
            ParityError: its verdicts are not the trained graph's; nothing is written.
            BackendError: it cannot be converted or opened.
            BundleError: the disk refused.
        """
        session = judging_session(session)
        model, placement = self._converted(precision)
        draft = self._draft(model, precision, placement, session)
        title = SESSIONS[session].title
        self._say(f"{precision}: scoring the same frames in {title}")
        with open_session(draft, session) as opened:
            scores = score_all(opened, self._judged)
        threshold = self._threshold(scores)
        records = [self._compared(title, scores, threshold, precision)]
        if precision == "fp16":
            records.append(self._rounded_to_float16())
        for record in records:
            parity.require(record)
        manifest = replace(
            draft.manifest,
            threshold=threshold,
            parity=tuple(records),
            golden_tolerance=RULES[precision].golden_tolerance * max(1.0, abs(threshold.value)),
        )
        bundle = Bundle(manifest, draft.graph, self._golden(scores))
        path = out or workspace / BUNDLES / f"{manifest.name}-{precision}{SUFFIX}"
        bundle.save(path)
        return Exported(bundle, path)

    def _converted(self, precision: Precision) -> tuple[ModelProto, Placement]:
        if precision == "fp16":
            self._say("fp16: exporting ONNX")
            return onnx_from_graph(fp16_graph(self._graph)), "float"
        if self._float_model is None:
            self._say(f"{precision}: exporting ONNX")
            self._float_model = onnx_from_graph(self._graph)
        if precision == "fp32":
            return self._float_model, "float"
        self._say(f"int8: calibrating on {len(self._frames.fitted)} frames")
        return int8_onnx(self._float_model, self._frames.fitted), "cpu"

    def _draft(self, model: ModelProto, precision: Precision, placement: Placement, session: str) -> Bundle:
        """A bundle that can be opened, with threshold and parity still open."""
        record = self._checkpoint.record
        content = model.SerializeToString()
        frames, outputs = tensor_specs(record.recipe.geometry.size_hw)
        manifest = Manifest(
            schema=SCHEMA,
            name=Path(record.data).resolve().name or "part",
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
            provenance=_provenance(self._checkpoint),
            session=session,
        )
        return Bundle(manifest, content, Golden(self._judged[:0], np.zeros(0, np.float32)))

    def _rounded_to_float16(self) -> ParityRecord:
        """Score with float16's rounding and overflow, which ONNX Runtime's CPU does not show."""
        self._say("fp16: scoring the same frames with float16 rounding")
        scores = fp16_rounded_graph(self._graph).score(self._judged)
        return self._compared("float16 rounding", scores, self._threshold(scores), "fp16")

    def _compared(
        self, session: str, scores: Scores, threshold: Threshold, precision: Precision
    ) -> ParityRecord:
        return parity.compare(
            session,
            scores,
            threshold.value,
            self._reference,
            self._reference_threshold.value,
            RULES[precision].flip_limit,
        )

    def _threshold(self, scores: Scores) -> Threshold:
        normals = scores.score[: len(self._frames.normals)]
        return threshold_from_normals(normals, self._checkpoint.record.recipe.scoring)

    def _golden(self, scores: Scores) -> Golden:
        first_defect = len(self._frames.normals)
        rows = [*range(min(GOLDEN_FRAMES, first_defect))]
        rows += range(first_defect, min(first_defect + GOLDEN_FRAMES, len(self._judged)))
        return Golden(self._judged[rows], scores.score[rows])


def known_precision(name: str) -> Precision:
    """Check a precision's name.

    Raises:
        ConfigError: it is none.
    """
    for precision in PRECISIONS:
        if name == precision:
            return precision
    raise ConfigError(f"precision {name!r} is not known; expected one of {', '.join(PRECISIONS)}")


def judging_session(name: str) -> str:
    """Check the name of the backend that a bundle is to be judged on; "auto" becomes what it is here.

    Raises:
        ConfigError: it is unknown, or computes nothing.
    """
    if name == "auto":
        return choose_backend().backend
    known = [backend for backend in SESSIONS if backend != "null"]
    if name not in known:
        raise ConfigError(f"session {name!r} cannot judge a bundle; expected one of auto, {', '.join(known)}")
    return name


def _provenance(checkpoint: Checkpoint) -> Provenance:
    record = checkpoint.record
    packages = ("dtgd-edge", "torch", "onnx", "onnxruntime", "numpy", "opencv-python")
    return Provenance(
        checkpoint_sha256=record.weights_sha256,
        data=record.data,
        steps=record.step,
        teacher=record.teacher,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in packages},
    )
