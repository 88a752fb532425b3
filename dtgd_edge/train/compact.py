"""The compact graph: a full checkpoint in, a thin one out that finds what it finds in a fraction of the time.

It is the same DTGD, thin: a half-width teacher that learned to see as the full one's does, a student that
begins with the teacher's first stage instead of computing its own, and a quarter-width decoder. What it
reports is still the discrepancy of the two, so that it does not only know synthetic defects.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.backbones import backbone_spec
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.distributed import joined
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import Progress, train
from dtgd_edge.train.recipe import Recipe, TeacherRecipe
from dtgd_edge.train.run_trial import held_out_metrics
from dtgd_edge.workspace import COMPARISON

TEACHER, ENCODER, DECODER = "resnet18_half", "resnet10_half", "resnet18_quarter"
LEARNING_RATE = 3e-4  # of the thin teacher; 1e-4 is slower, 1e-3 restless with batch norms that stay
# What a compact graph may lose on the held-out synthetic family and still be preferred, in points of 100.
MOST_AUROC_POINTS, MOST_AUPRO_POINTS = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Full and compact graph on the judging frames, whose synthetic family neither was trained on.

    Attributes:
        weights_sha256: of the compact checkpoint that was measured.
        full_image_auroc, full_aupro: of the graph that was distilled.
        image_auroc, aupro: of the compact one.
        holds: whether it loses little enough to be preferred.
    """

    weights_sha256: str
    full_image_auroc: float
    full_aupro: float
    image_auroc: float
    aupro: float
    holds: bool


def compact_recipe(full: Recipe, steps: int | None = None) -> Recipe:
    """Make the recipe of a compact checkpoint from that of the full one.

    Args:
        full: resolved.
        steps: None: as many as the full one.
    """
    thin = backbone_spec(TEACHER)
    backbone, encoder, decoder = TEACHER, ENCODER, DECODER
    if backbone_spec(full.teacher.backbone).channels(1) <= thin.channels(1):  # thin already
        backbone = encoder = decoder = full.teacher.backbone
    same = backbone == full.teacher.backbone
    return replace(
        full,
        teacher=TeacherRecipe(backbone, full.teacher.weights if same else "shipped", "thin", LEARNING_RATE),
        student=replace(
            full.student,
            backbone=encoder,
            start="teacher",
            shares="stage1",
            decoder=decoder,
            decoder_blocks=1,
        ),
        optimiser=replace(full.optimiser, steps=steps or full.optimiser.steps),
        # In INT8 the memory is a tenth of the full graph's time, but would be a quarter of the compact one's.
        memory=replace(full.memory, components=max(1, full.memory.components // 2)),
    )


def train_compact(
    full: Checkpoint,
    data: DataSet,
    folder: Path,
    *,
    steps: int | None = None,
    device: str = "auto",
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Checkpoint, Comparison]:
    """Distil a full checkpoint into a compact one, and measure what that cost.

    A run that was stopped goes on with `resume`, as training does.

    Args:
        full: is only read.
        data: the good pictures that it was trained on.
        folder: receives the compact checkpoint and comparison.json.
        steps: None: as many as the full one.
        device: "auto", "cpu" or "cuda".
        resume: continue the checkpoint in `folder`, if there is one.
        report: is called after each step.

    Raises:
        ConfigError: `full` is compact, another run is to be resumed, or torchrun started several processes.
        DataError: as train.
    """
    if full.record.graph == "compact":
        raise ConfigError(
            f"{full.folder} is a compact checkpoint already; expected a full one to distil; "
            "name one from dtgd-edge train"
        )
    with joined(device) as world:
        if world.size > 1:
            raise ConfigError(
                f"torchrun started {world.size} processes to distil; expected one; "
                "train with torchrun, then call dtgd-edge distil without"
            )
    recipe = compact_recipe(full.record.recipe, steps)
    checkpoint = train(data, recipe, folder, device=device, resume=resume, report=report, full=full)
    comparison = compared(full, checkpoint)
    with written_whole(folder / COMPARISON, DataError) as file:
        file.write(msgspec.json.format(msgspec.json.encode(mapping_from_record(comparison))))
    return checkpoint, comparison


def compared(full: Checkpoint, compact: Checkpoint) -> Comparison:
    """Score the full checkpoint's judging frames with both graphs."""
    frames = full.frames()
    before, after = (held_out_metrics(distil(checkpoint).score, frames) for checkpoint in (full, compact))
    assert before.image_auroc is not None and before.aupro is not None
    assert after.image_auroc is not None and after.aupro is not None
    return Comparison(
        compact.record.weights_sha256,
        before.image_auroc,
        before.aupro,
        after.image_auroc,
        after.aupro,
        holds=100 * (before.image_auroc - after.image_auroc) <= MOST_AUROC_POINTS
        and 100 * (before.aupro - after.aupro) <= MOST_AUPRO_POINTS,
    )
