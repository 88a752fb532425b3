"""Checkpoint to bundle: distil, convert, choose the threshold, prove parity, seal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from dtgd_edge.appearance import FrameStatistics, statistics_of
from dtgd_edge.bundle import SUFFIX, Bundle, Golden, Precision
from dtgd_edge.errors import ConfigError, ParityError
from dtgd_edge.export import parity
from dtgd_edge.export.calibration import calibration_frames, require_pictures
from dtgd_edge.export.certificate import Judge, Judgement
from dtgd_edge.export.draft import bundle_name, draft_bundle
from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import onnx_from_graph
from dtgd_edge.export.precision import first_overflow, fp16_graph, fp16_rounded_graph
from dtgd_edge.export.qat import conv_input_ranges, fine_tuned
from dtgd_edge.export.sensitivity import growing_choices, module_shares, ranked
from dtgd_edge.export.target import LimitsTarget, Target
from dtgd_edge.runtime.choice import choose_backend
from dtgd_edge.runtime.session import SESSIONS, open_session, score_all
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.data import Part
from dtgd_edge.train.graph import ScoringGraph, distil
from dtgd_edge.verdict import Scores
from dtgd_edge.workspace import BUNDLES

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
GOLDEN_FRAMES = 4  # of each kind, good and defective


@dataclass(frozen=True, slots=True)
class PrecisionRule:
    """What a precision is held to.

    Attributes:
        flip_limit: share of verdicts that may differ from the trained graph's; a target may set another
            for INT8.
        golden_tolerance: allowed difference of a golden score on another machine, as a share of the
            threshold: other processors round and sum in another order.
    """

    flip_limit: float
    golden_tolerance: float


RULES: dict[Precision, PrecisionRule] = {
    "fp32": PrecisionRule(0.0, 1e-3),
    "fp16": PrecisionRule(0.0, 1e-2),
    "int8": PrecisionRule(LimitsTarget().flip_share, 1e-1),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle and where it was written."""

    bundle: Bundle
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A converted graph that was judged and is not written yet."""

    draft: Bundle
    judgements: tuple[Judgement, ...]

    def refusal(self) -> str | None:
        return next(filter(None, (parity.refusal(j.record) for j in self.judgements)), None)


class Exporter:
    """Exports one checkpoint in several precisions; the trained graph is scored once.

    Args:
        checkpoint: an opened checkpoint.
        say: is told what is being done.
        target: what INT8 is made for; None: the CPU.
        calibration: folder of pictures for INT8, in place of the checkpoint's own frames.
        test: test pictures that metrics are compared on; none: they are not.
        tune_steps: fine-tune the student for INT8 with so many steps, if it loses verdicts without.
        session: backend that will run the bundles; threshold, parity and golden scores are its own.
        batch: fixed number of frames that the graphs take at once, of cameras that share a session.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        say: Callable[[str], None] = lambda text: None,
        target: Target | None = None,
        calibration: Path | None = None,
        test: Sequence[Part] = (),
        tune_steps: int = 0,
        session: str = "ort",
        batch: int = 1,
    ) -> None:
        self._batch = batch
        self._checkpoint = checkpoint
        self._say = say
        self._target = target or Target()
        self._calibration = calibration
        self._tune_steps = tune_steps
        self._session = judging_session(session)
        say("distilling the checkpoint into its scoring graph")
        self._frames = checkpoint.frames()
        self._graph = distil(checkpoint, self._frames)
        recipe = checkpoint.record.recipe
        say(f"scoring {len(self._frames.normals) + len(self._frames.defects)} frames with the trained graph")
        self._judge = Judge(self._graph, self._frames, recipe.geometry, recipe.scoring, test)

    @property
    def name(self) -> str:
        """What the bundles are called after: the folder that was trained on."""
        return bundle_name(self._checkpoint.record)

    def export(self, precision: Precision, out: Path | None = None, workspace: Path = Path(".")) -> Exported:
        """Write one bundle.

        Args:
            precision: "fp32", "fp16" or "int8".
            out: the bundle's path; None: bundles/<name>-<precision>.dtgd in the workspace.
            workspace: see `out`.

        Raises:
            ParityError: its verdicts are not the trained graph's; nothing is written.
            BackendError: it cannot be converted or opened.
            BundleError: the disk refused.
        """
        candidate = self._int8() if precision == "int8" else self._floating(precision)
        self._require(candidate)
        judged = candidate.judgements[0]
        manifest = replace(
            candidate.draft.manifest,
            threshold=judged.threshold,
            statistics=self._statistics,
            parity=tuple(j.record for j in candidate.judgements),
            golden_tolerance=RULES[precision].golden_tolerance * max(1.0, abs(judged.threshold.value)),
        )
        bundle = Bundle(manifest, candidate.draft.graph, self._golden(judged.scores))
        path = out or workspace / BUNDLES / f"{manifest.name}-{precision}{SUFFIX}"
        bundle.save(path)
        return Exported(bundle, path)

    def _floating(self, precision: Precision) -> _Candidate:
        model = self._float_model if precision == "fp32" else self._half_model
        draft = draft_bundle(
            self._checkpoint,
            model.SerializeToString(),
            precision,
            "float",
            session=self._session,
            batch=self._batch,
        )
        self._say(f"{precision}: scoring the same frames in {SESSIONS[self._session].title}")
        limits = replace(LimitsTarget(), flip_share=RULES[precision].flip_limit)
        judgements = [self._judged(draft, limits)]
        if precision == "fp16":
            self._say("fp16: scoring the same frames with float16 rounding")
            rounded = fp16_rounded_graph(self._graph)
            # Rounding is judged by verdicts: the metrics of test pictures follow from ONNX Runtime's.
            judgements.append(
                self._judge.judge("float16 rounding", rounded.score, limits, with_metrics=False)
            )
        return _Candidate(draft, tuple(judgements))

    def _int8(self) -> _Candidate:
        quantiser = self._quantiser(self._graph, self._float_model)
        candidate = self._int8_candidate(quantiser)
        if candidate.refusal() is None:
            if self._tune_steps:
                self._say("int8: its verdicts hold without fine-tuning, so --qat was not needed")
            return candidate
        if self._tune_steps:
            self._say(f"int8: {_loss(candidate)}; fine-tuning the student for {self._tune_steps} steps")
            quantiser = self._tuned(quantiser)
            candidate = self._int8_candidate(quantiser)
        if candidate.refusal() is None or not self._target.sensitivity.search:
            return candidate
        return self._searched(quantiser, candidate)

    def _tuned(self, quantiser: Quantiser) -> Quantiser:
        """The same for a student that was fine-tuned for these ranges."""
        inputs = conv_input_ranges(quantiser.model, quantiser.ranges)
        graph = fine_tuned(
            self._graph,
            inputs,
            self._checkpoint.record.recipe,
            self._frames,
            self._tune_steps,
            self._say_step,
        )
        return self._quantiser(graph, onnx_from_graph(graph, self._batch))

    def _say_step(self, step: int, loss: float) -> None:
        if step % 20 == 0:
            self._say(f"int8: fine-tuning step {step} of {self._tune_steps}, loss {loss:.4f}")

    def _searched(self, quantiser: Quantiser, candidate: _Candidate) -> _Candidate:
        """Keep more and more of the modules to blame in float, until the limits hold."""
        shares = module_shares(quantiser.model)
        self._say(f"int8: {_loss(candidate)}; measuring which of {len(shares)} modules is to blame")
        suspects = ranked(
            shares,
            lambda module: self._score_error(self._int8_draft(quantiser, (module,))),
            self._score_error(candidate.draft),
        )
        for modules in growing_choices(suspects, self._target.sensitivity):
            self._say(f"int8: {_loss(candidate)}; keeping {modules[-1]} in float")
            candidate = self._int8_candidate(quantiser, modules)
            if candidate.refusal() is None:
                break
        return candidate

    def _int8_candidate(self, quantiser: Quantiser, float_modules: tuple[str, ...] = ()) -> _Candidate:
        draft = self._int8_draft(quantiser, float_modules)
        return _Candidate(draft, (self._judged(draft, self._target.limits),))

    def _int8_draft(self, quantiser: Quantiser, float_modules: tuple[str, ...]) -> Bundle:
        content = quantiser.quantised(float_modules).SerializeToString()
        return draft_bundle(
            self._checkpoint,
            content,
            "int8",
            self._target.placement,
            float_modules,
            self._session,
            self._batch,
        )

    def _quantiser(self, graph: ScoringGraph, model: ModelProto) -> Quantiser:
        frames, origin = self._calibration_frames
        self._say(f"int8: calibrating on {min(len(frames), self._target.calibration.frames)} frames")
        half = onnx_from_graph(fp16_graph(graph), self._batch) if self._target.rest == "fp16" else None
        return Quantiser(model, self._target, frames, self._frames.normals, half, origin, graph.level_rule)

    @cached_property
    def _calibration_frames(self) -> tuple[NDArray[np.uint8], str]:
        if self._calibration is None:
            return self._frames.fitted, "the checkpoint"
        frames = calibration_frames(self._calibration, self._checkpoint.record.recipe.geometry)
        require_pictures(frames, str(self._calibration))
        return frames, str(self._calibration)

    @cached_property
    def _statistics(self) -> FrameStatistics | None:
        return statistics_of(self._frames.normals)

    @cached_property
    def _float_model(self) -> ModelProto:
        self._say("fp32: exporting ONNX")
        return onnx_from_graph(self._graph, self._batch)

    @cached_property
    def _half_model(self) -> ModelProto:
        self._say("fp16: exporting ONNX")
        return onnx_from_graph(fp16_graph(self._graph), self._batch)

    def _judged(self, draft: Bundle, limits: LimitsTarget) -> Judgement:
        with open_session(draft, self._session) as session:
            return self._judge.judge(
                SESSIONS[self._session].title, lambda frames: score_all(session, frames), limits
            )

    def _score_error(self, draft: Bundle) -> float:
        with open_session(draft, self._session) as session:
            return self._judge.score_error(lambda frames: score_all(session, frames))

    def _require(self, candidate: _Candidate) -> None:
        """Refuse what must not ship, and name the cause where it can be found.

        Raises:
            ParityError: with the reason.
        """
        if (reason := candidate.refusal()) is None:
            return
        manifest = candidate.draft.manifest
        overflows = manifest.precision == "fp16" and any(j.record.non_finite for j in candidate.judgements)
        if overflows and (module := first_overflow(self._graph, self._judge.everything)):
            raise ParityError(
                f"float16 overflows in {module}, the first convolution whose output exceeds 65504; expected "
                "finite features; export with --precision fp32, or train with smaller weights"
            )
        if manifest.precision == "int8":
            _, origin = self._calibration_frames
            kept = f", with {', '.join(manifest.float_modules)} in float" if manifest.float_modules else ""
            reason += f" (calibrated on frames of {origin}{kept}; try other --calibration pictures or --qat)"
        raise ParityError(reason)

    def _golden(self, scores: Scores) -> Golden:
        first_defect, frames = self._judge.normals, self._judge.frames
        rows = [*range(min(GOLDEN_FRAMES, first_defect))]
        rows += range(first_defect, min(first_defect + GOLDEN_FRAMES, len(frames)))
        return Golden(frames[rows], scores.score[rows])


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


def _loss(candidate: _Candidate) -> str:
    """What an INT8 graph loses, in a few words."""
    record = candidate.judgements[0].record
    if record.flips > parity.flips_allowed(record.flip_limit, record.frames) or record.metrics is None:
        return f"{record.flips} of {record.frames} verdicts flip"
    metrics = record.metrics
    auroc = parity.points_lost(metrics.image_auroc, metrics.reference_image_auroc)
    aupro = parity.points_lost(metrics.aupro, metrics.reference_aupro)
    return f"{auroc:.2f} points of image AUROC and {aupro:.2f} of AUPRO are lost"
