"""What a converted graph is judged by: the same frames, stress frames and test pictures for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import ParityRecord, Threshold
from dtgd_edge.export import parity
from dtgd_edge.export.target import LimitsTarget
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.checkpoint import JudgingFrames
from dtgd_edge.train.data import Part
from dtgd_edge.train.evaluate import Evaluation, evaluate
from dtgd_edge.train.graph import ScoringGraph
from dtgd_edge.train.recipe import ScoringRecipe
from dtgd_edge.train.threshold import chosen_threshold
from dtgd_edge.verdict import Scores

ScoreFrames = Callable[[NDArray[np.uint8]], Scores]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What came out of judging a graph.

    Attributes:
        scores: of the judged frames.
        threshold: of this graph: the trained one's, carried over; value 0 when the scores are not finite.
        record: the comparison with the trained graph.
    """

    scores: Scores
    threshold: Threshold
    record: ParityRecord


class Judge:
    """Judges converted graphs against the trained one, which is scored once.

    Args:
        graph: the trained graph, float32.
        frames: of the checkpoint.
        geometry: of the graph.
        recipe: for the threshold.
        test: test pictures; none: metrics are not compared.
    """

    def __init__(
        self,
        graph: ScoringGraph,
        frames: JudgingFrames,
        geometry: Geometry,
        recipe: ScoringRecipe,
        test: Sequence[Part] = (),
    ) -> None:
        self.frames = np.concatenate([frames.normals, frames.defects])
        self.normals = len(frames.normals)
        self._graph = graph
        self._geometry = geometry
        self._test = tuple(test)
        self._stress = parity.stress_frames(geometry.size_hw)
        self.everything = np.concatenate([self.frames, self._stress])
        self.reference = graph.score(self.frames)
        self.reference_threshold = chosen_threshold(self.reference.score, self.normals, recipe)

    def judge(
        self, session: str, score: ScoreFrames, limits: LimitsTarget, with_metrics: bool = True
    ) -> Judgement:
        """Score everything and compare.

        Args:
            session: what scores, for people.
            score: takes uint8 [N, H, W, 3] frames, any N.
            limits: written into the record.
            with_metrics: also score the test pictures, if there are any.
        """
        scores, stress = score(self.frames), score(self._stress)
        threshold = self._carried_over(scores)
        metrics = None
        if self._test and with_metrics and not parity.non_finite(scores):
            metrics = parity.compare_metrics(self._measured(score), self._reference_metrics, limits)
        record = parity.compare(
            session,
            scores,
            threshold.value,
            self.reference,
            self.reference_threshold.value,
            limits.flip_share,
            stress,
            metrics,
        )
        return Judgement(scores, threshold, record)

    def score_error(self, score: ScoreFrames) -> float:
        """How far a graph's margins are from the trained one's, on the frames that decide.

        Returns:
            Mean absolute difference of (score - threshold) over the good frames and the defective ones
            nearest to the threshold, as a share of the threshold; infinite when a score is not finite.
        """
        rows = self._deciding_rows
        scores, wanted = score(self.frames[rows]).score, self.reference_threshold.value
        if not np.isfinite(scores).all():
            return float("inf")
        differences = scores - self.reference.score[rows]
        return float(np.abs(differences - np.median(differences)).mean() / wanted)

    @cached_property
    def _deciding_rows(self) -> NDArray[np.int64]:
        distance = np.abs(self.reference.score[self.normals :] - self.reference_threshold.value)
        nearest = self.normals + np.sort(np.argsort(distance)[: max(self.normals, 8)])
        return np.concatenate([np.arange(self.normals), nearest])

    @cached_property
    def _reference_metrics(self) -> Evaluation:
        return self._measured(self._graph.score)

    def _measured(self, score: ScoreFrames) -> Evaluation:
        return evaluate(score, self._test, self._geometry)

    def _carried_over(self, scores: Scores) -> Threshold:
        """The trained graph's threshold, moved as the scores near to it have moved.

        A threshold from this graph's own good parts would move by the rounding of the one that scores
        highest, and a few good parts are all that there may be; the defects around it are many.
        """
        trained = self.reference_threshold
        nearest = np.argsort(np.abs(self.reference.score - trained.value))[: (len(self.frames) + 1) // 2]
        shift = float(np.median((scores.score - self.reference.score)[nearest]))
        if not np.isfinite(shift):
            return Threshold(0.0, "scores are not finite", 0)
        return replace(trained, value=trained.value + shift)
