"""One trial: train a recipe, or go on with it, then judge its scoring graph."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import DataError
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames, device_from_name
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.evaluate import ScoreFrames, evaluate
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import SAVE_EVERY_STEPS, Progress, train
from dtgd_edge.train.metrics import Metrics, pooled_metrics
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.trial import Trial
from dtgd_edge.workspace import CHECKPOINT

CLOCK = "clock.json"


def run_trial(
    data: DataSet,
    recipe: Recipe,
    folder: Path,
    *,
    device: str = "auto",
    report: Callable[[Progress], None] = lambda progress: None,
    scored: Callable[[int, int], None] = lambda done, total: None,
) -> Trial:
    """Train to the recipe's last step, resuming what is in the folder, and measure the result.

    Args:
        data: pictures to train on and to test with.
        recipe: what to train.
        folder: receives the checkpoint.
        device: "auto", "cpu" or "cuda".
        report: is called after each step.
        scored: is called with the number of test pictures scored and of all.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the training early; the checkpoint can be resumed.
        ConfigError, DataError: as train and evaluate.
    """
    where = device_from_name(device)
    earlier_s = _seconds_so_far(folder)
    began = time.monotonic()

    def elapsed_s() -> float:
        return earlier_s + time.monotonic() - began

    def timed(progress: Progress) -> None:
        report(progress)
        # The loop saves after this call: no checkpoint is ever older than its clock.
        if progress.step % SAVE_EVERY_STEPS == 0:
            _note(folder, _Clock(progress.step, elapsed_s()))

    checkpoint = train(data, recipe, folder, device=device, resume=True, report=timed)
    record = checkpoint.record
    seconds = elapsed_s()
    _note(folder, _Clock(record.step, seconds))
    if record.step < recipe.optimiser.steps:
        raise KeyboardInterrupt
    frames = checkpoint.frames()
    graph = distil(checkpoint, frames).to(where)
    return Trial(
        test=evaluate(graph.score, data.test, recipe.geometry, progress=scored).native,
        held_out=held_out_metrics(graph.score, frames),
        minutes=seconds / 60,
        steps=record.step,
        teacher=record.teacher,
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
    )


def held_out_metrics(score: ScoreFrames, frames: JudgingFrames) -> Metrics:
    """Measure a graph on the frames that were kept out of training.

    Args:
        score: takes uint8 [N, H, W, 3] frames.
        frames: a checkpoint's.

    Raises:
        DataError: a score or a map holds NaN or infinity.
    """
    scores = score(np.concatenate([frames.normals, frames.defects]))
    nowhere = np.zeros(frames.normals.shape[:3], np.bool_)
    labels = [False] * len(frames.normals) + [True] * len(frames.defects)
    return pooled_metrics(list(scores.map), [*nowhere, *frames.masks], scores.score, labels)


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long the steps of a run took, over all its sessions."""

    step: int
    seconds: float


def _seconds_so_far(folder: Path) -> float:
    """Seconds that led to the checkpoint in a folder; what came after it is lost, and so not counted."""
    if not ((folder / CHECKPOINT).exists() and (folder / CLOCK).exists()):
        return 0.0
    clock = msgspec.json.decode((folder / CLOCK).read_bytes(), type=_Clock)
    return clock.seconds * Checkpoint.open(folder).record.step / clock.step


def _note(folder: Path, clock: _Clock) -> None:
    with written_whole(folder / CLOCK, DataError) as file:
        file.write(msgspec.json.encode(clock))
