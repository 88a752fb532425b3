"""The training loop: pictures to checkpoint."""

import contextlib
import functools
import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.acceleration import autocast, check_compiler, tuned_convolutions
from dtgd_edge.train.backbones import IMAGENET_MEAN, IMAGENET_STD, ResNet
from dtgd_edge.train.batches import Batch, BatchMaker, calibration_frames, judging_defects
from dtgd_edge.train.checkpoint import (
    SCHEMA,
    Checkpoint,
    CheckpointRecord,
    JudgingFrames,
    optimiser_tensors,
    save_checkpoint,
    save_frames,
)
from dtgd_edge.train.data import DataSet, read_frames, split_normals
from dtgd_edge.train.distributed import World, joined, mean_over_processes
from dtgd_edge.train.graph import distil
from dtgd_edge.train.losses import dtgd_losses
from dtgd_edge.train.margin import with_margin, without_margin
from dtgd_edge.train.memory import Change, Memory, memory_of
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.resume import restore, same_recipe, same_teacher
from dtgd_edge.train.stitching import cut
from dtgd_edge.train.symmetry import with_symmetry
from dtgd_edge.train.teacher import Teacher, load_teacher, resolved
from dtgd_edge.train.teaching import Teaching, average_into
from dtgd_edge.train.thinning import Thinning
from dtgd_edge.train.tuning import Tuning
from dtgd_edge.workspace import CHECKPOINT

LOGGER = logging.getLogger(__name__)

SAVE_EVERY_STEPS = 200
MOST_NORMALS = 64
MOST_DEFECTS = 112
MOST_FITTED = 32
CHANGED_PICTURES = 96
MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """What is reported after each step.

    Attributes:
        step, steps: done, and to do.
        loss: all that the step lowered.
        consistency, dissimilarity, gate: the student's terms, unweighted.
        teacher: the part of a learning teacher; 0 while none learns.
        agreement: the student's difference from what it is distilled from, unweighted; 0 without that.
    """

    step: int
    steps: int
    loss: float
    consistency: float
    dissimilarity: float
    gate: float
    teacher: float
    agreement: float


@dataclass(frozen=True, slots=True)
class _Calls:
    """The network's parts as a step calls them: those that learn are wrapped where processes share them."""

    teacher: nn.Module
    student: nn.Module


def train(
    data: DataSet,
    recipe: Recipe,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    compiled: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    save_every_steps: int = SAVE_EVERY_STEPS,
    full: Checkpoint | None = None,
) -> Checkpoint:
    """Train DTGD on good pictures.

    The first Ctrl-C ends the run after the step in progress and leaves a usable checkpoint. With `resume` a
    run that was killed goes on from its last checkpoint to the same weights as an uninterrupted one.

    Processes that torchrun started share each batch and come to the weights of one process, up to rounding;
    they must see the same folders. The first one reports and writes.

    Args:
        data: good pictures in data.train.
        recipe: everything else that decides the result.
        folder: receives the checkpoint.
        device: "auto", "cpu" or "cuda"; each of several processes takes a GPU of its own.
        resume: continue the checkpoint in `folder`, if there is one.
        compiled: run the networks through torch.compile; on CUDA only. It takes its time before the first
            step, so that it can only pay in long runs; whether it does depends on the GPU and has to be
            tried there.
        report: is called after each step.
        save_every_steps: how often a checkpoint is written on the way.
        full: what a compact checkpoint is distilled from; its recipe must ask for a thin teacher then.

    Returns:
        The checkpoint, opened.

    Raises:
        ConfigError: the device or its compiler is not there, the processes cannot share the batch evenly,
            or the recipe differs from that of the resumed run.
        DataError: pictures, weights or the disk are not usable.
        ProcessLost: another of the processes failed.
    """
    with joined(device) as world, tuned_convolutions(world.device):
        return _train(data, recipe, folder, world, resume, compiled, report, save_every_steps, full)


def _train(
    data: DataSet,
    recipe: Recipe,
    folder: Path,
    world: World,
    resume: bool,
    compiled: bool,
    report: Callable[[Progress], None],
    save_every_steps: int,
    full: Checkpoint | None,
) -> Checkpoint:
    where, places = world.device, world.places(recipe.optimiser.batch)
    if compiled:
        check_compiler(where)
    fit, held_out = split_normals(data.train, recipe.holdout, recipe.seed)
    frames = read_frames(fit, recipe.geometry)
    torch.manual_seed(recipe.seed)
    earlier = Checkpoint.open(folder) if resume and (folder / CHECKPOINT).exists() else None
    if earlier is None:
        with world.first_goes_first():
            teacher = _first_teacher(recipe, full, LOGGER.info if world.is_first else LOGGER.debug)
        plan = resolved(recipe, teacher.backbone)
        recipe = world.from_first(lambda: with_symmetry(plan, frames, LOGGER.info))
    else:
        teacher, recipe = same_teacher(earlier), same_recipe(earlier, recipe, data, full)
    network = DTGD(teacher.network, recipe.student)
    if recipe.student.start == "teacher":
        network.start_encoder()
    network.to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teaching = _teaching(network, recipe, full, where)
    if compiled:  # at their first call; names stay
        for part in {network.teacher, network.student, teaching.normal}:
            part.compile()
    optimiser = torch.optim.Adam(network.student.parameters(), recipe.optimiser.learning_rate, (0.5, 0.999))
    average = {k: v.detach().clone() for k, v in network.student.state_dict().items()}
    first, loss = 0, math.nan
    if earlier is not None:
        first, loss = restore(earlier, network, average, optimiser, teaching)
    elif world.is_first:
        save_frames(folder, _judging_frames(frames, read_frames(held_out, recipe.geometry), recipe))
    learns = recipe.teacher.variant != "frozen"
    calls = _Calls(
        world.shared(network.teacher) if learns else network.teacher, world.shared(network.student)
    )
    source = None if full is None else full.record.weights_sha256

    def save(step: int, memory: Memory | None = None) -> None:
        def record(name: str, digest: str) -> CheckpointRecord:
            return CheckpointRecord(
                SCHEMA,
                recipe,
                step,
                name,
                digest,
                teacher.origin,
                str(data.root),
                data.frame_size_hw,
                loss,
                source,
            )

        tensors = _tensors(network, average, optimiser, teaching)
        if memory is not None:
            tensors |= {f"memory.{k}": v for k, v in memory.state_dict().items()}
        save_checkpoint(folder, tensors, record)

    maker, steps, step = BatchMaker(frames, recipe), recipe.optimiser.steps, first
    # Half of the cores: the other half is busy with the step.
    workers = max(1, min(world.cores // 2, MOST_WORKERS))
    with _deferred_interrupt(is_alone=world.size == 1) as interrupted:
        for batch in maker.batches(first, steps, places, workers):
            progress = _step(network, calls, optimiser, average, teaching, batch, recipe, step + 1, where)
            step, loss = step + 1, progress.loss
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at step {step}; expected a finite number; "
                    "lower optimiser.learning_rate in the recipe"
                )
            if world.is_first:
                report(progress)
            if world.any(interrupted.is_set()):
                if world.is_first:
                    LOGGER.warning("stopped at step %d of %d; the checkpoint is usable", step, steps)
                break
            if world.is_first and step % save_every_steps == 0 and step < steps:
                save(step)
    with world.first_goes_first():
        if world.is_first:
            save(step, _memory(teaching.shipped(), frames, maker, recipe, where))
        return Checkpoint.open(folder)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step, counted from 1: a linear warm-up, then a cosine to 0."""
    optimiser = recipe.optimiser
    warm_up = max(1, round(optimiser.warm_up * optimiser.steps))
    if step <= warm_up:
        return optimiser.learning_rate * step / warm_up
    through = (step - warm_up) / max(1, optimiser.steps - warm_up + 1)
    return optimiser.learning_rate * 0.5 * (1 + math.cos(math.pi * through))


def tensor_from_frames(frames: np.ndarray, device: torch.device, margin: int = 0) -> Tensor:
    """uint8 [B, H, W, 3] RGB frames to normalised float [B, 3, H + 2 margin, W + 2 margin], channels last."""
    x = with_margin(_sent(frames, device), margin).permute(0, 3, 1, 2).float() / 255
    mean, std = _imagenet_statistics(device)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


@functools.cache
def _imagenet_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (t.view(1, 3, 1, 1).to(device) for t in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device; from pinned memory a GPU fetches it while the CPU goes on."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _step(
    network: DTGD,
    calls: _Calls,
    optimiser: torch.optim.Adam,
    average: dict[str, Tensor],
    teaching: Teaching,
    batch: Batch,
    recipe: Recipe,
    step: int,
    device: torch.device,
) -> Progress:
    rate = learning_rate(recipe, step)
    for group in optimiser.param_groups:
        group["lr"] = rate
    margin = recipe.geometry.margin
    clean = tensor_from_frames(batch.clean, device, margin)
    corrupted = tensor_from_frames(batch.corrupted, device, margin)
    mask = with_margin(_sent(batch.mask, device), margin, dims=(2, 3))
    with autocast(device):
        seen = teaching.see(calls.teacher, torch.cat([clean, corrupted]), step)
        features = calls.student(network.encoder_input(corrupted, seen.anomalous), seen.anomalous)
    # The mask's pull comes in over the first fifth, once the student has something to agree with.
    ramp = min(1.0, step / (0.2 * recipe.optimiser.steps))
    losses = dtgd_losses(features, seen.normal, seen.anomalous, mask, recipe.loss, ramp)
    of_teacher = teaching.loss(seen, mask, step)
    agreement = teaching.agreement(seen, features.decoded)
    # No parameter is in the student's terms and in the teacher's.
    total = losses.total + ramp * recipe.loss.agreement * agreement + of_teacher
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.student.parameters(), recipe.optimiser.clip)
    optimiser.step()
    decay = min(recipe.optimiser.average, (1 + step) / (10 + step))
    average_into(average, network.student, decay)
    if seen.learnt is not None:
        teaching.update(rate / recipe.optimiser.learning_rate, decay)
    terms = torch.stack([total, losses.consistency, losses.dissimilarity, losses.gate, of_teacher, agreement])
    return Progress(step, recipe.optimiser.steps, *mean_over_processes(terms.detach()).tolist())


@contextlib.contextmanager
def _deferred_interrupt(is_alone: bool) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is cut in half; a second one is not held.

    Under torchrun it is: torchrun passes on the Ctrl-C that the terminal has sent to all already, and kills
    by itself what does not end.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may handle signals
        return

    def note(number: int, frame: object) -> None:
        event.set()
        if is_alone:
            signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)


def _judging_frames(fit: np.ndarray, held_out: np.ndarray, recipe: Recipe) -> JudgingFrames:
    normals = held_out[:MOST_NORMALS]
    defects, masks = judging_defects(normals, recipe, MOST_DEFECTS)
    return JudgingFrames(normals, defects, masks, calibration_frames(fit, recipe, MOST_FITTED))


def _memory(
    teacher: ResNet, frames: np.ndarray, maker: BatchMaker, recipe: Recipe, device: torch.device
) -> Memory | None:
    """What the teacher that ships remembers of the good parts that it was trained on."""
    if not recipe.memory.size:
        return None
    grid, margin = recipe.geometry.tile_grid, recipe.geometry.margin

    def seen(pictures: np.ndarray) -> list[Tensor]:
        return without_margin(teacher(tensor_from_frames(pictures, device, margin)), margin)

    def features() -> Iterator[list[Tensor]]:
        for frame in frames:
            yield seen(frame[None] if grid is None else cut(torch.from_numpy(frame[None]), grid).numpy())

    def changes() -> Iterator[Change]:
        first = recipe.optimiser.steps  # the batches of steps that never were
        for step in range(first, first + math.ceil(CHANGED_PICTURES / recipe.optimiser.batch)):
            batch = maker.batch(step)
            yield Change(seen(batch.clean), seen(batch.corrupted), _sent(batch.mask, device))

    return memory_of(features(), changes(), recipe.memory, len(frames), recipe.seed)


def _tensors(
    network: DTGD, average: dict[str, Tensor], optimiser: torch.optim.Adam, teaching: Teaching
) -> dict[str, Tensor]:
    """Collect what a checkpoint holds: teacher. (as it came), student., average. and adam.<moment>. tensors,
    and those of a teacher that learns.
    """
    tensors = {f"teacher.{k}": v for k, v in teaching.normal.state_dict().items()}
    tensors |= {f"student.{k}": v for k, v in network.student.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    tensors |= optimiser_tensors(optimiser, network.student, "adam.")
    return tensors | teaching.tensors()


def _first_teacher(recipe: Recipe, full: Checkpoint | None, say: Callable[[str], None]) -> Teacher:
    """What a run starts from: the recipe's weights, or the full teacher, where that is as thin already."""
    if full is None or recipe.teacher.backbone != full.record.recipe.teacher.backbone:
        return load_teacher(recipe.teacher, say)
    return Teacher(full.network().teacher, recipe.teacher.backbone, full.record.teacher)


def _teaching(network: DTGD, recipe: Recipe, full: Checkpoint | None, device: torch.device) -> Teaching:
    variant = recipe.teacher.variant
    if (variant == "thin") != (full is not None):
        raise ConfigError(
            f"teacher.variant is {variant}, and {'no' if full is None else 'a'} full checkpoint was given to "
            "distil; expected one with a thin teacher, and only then; use dtgd-edge distil for compact graphs"
        )
    if full is not None:
        graph = distil(full).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Thinning(network, recipe, graph)
    return Tuning(network, recipe) if variant == "tuned" else Teaching(network)
