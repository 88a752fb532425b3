"""`dtgd-edge train`: pictures to checkpoint."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.cli.console import ERR, OUT, Json, Workspace, print_json, say, train_extra
from dtgd_edge.cli.distil import compact_record, distil_shown, print_compact
from dtgd_edge.cli.pictures import LayoutName, read_pictures
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.errors import ConfigError
from dtgd_edge.workspace import RUNS, known_graph, newest_checkpoint

if TYPE_CHECKING:
    from dtgd_edge.train.checkpoint import Checkpoint
    from dtgd_edge.train.data import DataSet
    from dtgd_edge.train.recipe import Recipe


def train(
    data: Annotated[Path, typer.Argument(help="Good pictures: a folder, or a data set in a known layout.")],
    recipe: Annotated[Path | None, typer.Option(help="A recipe in TOML; see train/recipes.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The teacher's: imagenet, shipped, or a path to .safetensors or .pth.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of the graph's input, multiples of 32: a side, or width x height such as 512x256."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    defects: Annotated[Path | None, typer.Option(help="Pictures of defective parts, for testing.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks of those defects.")] = None,
    layout: LayoutName = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the checkpoint; default: runs/<name>-<time>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out, or with the newest run.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    graph: Annotated[
        str,
        typer.Option(
            help="full; compact: distil it too (see dtgd-edge distil); auto: and say which to export."
        ),
    ] = "full",
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Run through torch.compile: slow to start, for long runs on CUDA."),
    ] = False,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Train on pictures of good parts."""
    with train_extra("train"):
        from dtgd_edge.train import loop
        from dtgd_edge.train.distributed import joined
        from dtgd_edge.train.recipe import Recipe, read_recipe
    wanted = known_graph(graph)
    with joined(device) as world:
        if world.size > 1 and wanted != "full":
            raise ConfigError(
                f"--graph {wanted} was given to {world.size} processes; expected one process to distil; "
                "train with --graph full, then call dtgd-edge distil without torchrun"
            )
        plan = read_recipe(recipe) if recipe else Recipe()
        if weights is not None:
            plan = replace(plan, teacher=replace(plan.teacher, weights=weights))
        if steps is not None:
            plan = replace(plan, optimiser=replace(plan.optimiser, steps=steps))
        if size is not None:
            plan = replace(plan, geometry=replace(plan.geometry, size_hw=size_from_text(size)))
        if seed is not None:
            plan = replace(plan, seed=seed)

        def chosen() -> "tuple[Path, DataSet]":
            name = f"{data.resolve().name}-{datetime.now():%Y%m%d-%H%M%S}"
            usual = newest_checkpoint(workspace) if resume and out is None else workspace / RUNS / name
            return out or usual, read_pictures(data, defects, masks, layout)

        folder, pictures = world.from_first(chosen)
        if not world.is_first:
            loop.train(pictures, plan, folder, device=device, resume=resume, compiled=compiled)
            return
        if world.size > 1:
            say(f"{world.size} processes train together")
        advice = plan.geometry.aspect_advice(pictures.frame_size_hw) if pictures.frame_size_hw else None
        if advice is not None:
            ERR.print(f"note: {advice}", markup=False)
        checkpoint = train_shown(pictures, plan, folder, device, resume, compiled)
    record = checkpoint.record
    document = {
        "checkpoint": str(folder),
        "steps": record.step,
        "loss": record.loss,
        "teacher": record.teacher,
    }
    if not as_json:
        OUT.print(f"checkpoint: {folder} (teacher: {record.teacher})", markup=False)
    if wanted != "full" and record.step == plan.optimiser.steps:  # else Ctrl-C ended it
        made, comparison = distil_shown(checkpoint, pictures, None, None, device, resume)
        document["compact"] = compact_record(made, comparison)
        if wanted == "auto":
            document["export"] = str(made.folder if comparison.holds else folder)
        if not as_json:
            print_compact(made, comparison)
    if as_json:
        print_json(document)


def size_from_text(text: str) -> tuple[int, int]:
    """Read "384" or "512x256", width x height, as height and width.

    Raises:
        ConfigError: it is neither.
    """
    width, _, height = text.lower().partition("x")
    height = height if "x" in text.lower() else width
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(
            f"--size {text!r} is no size; expected a side such as 384, or width x height such as 512x256"
        )
    return int(height), int(width)


def train_shown(
    pictures: "DataSet", recipe: "Recipe", out: Path, device: str, resume: bool, compiled: bool = False
) -> "Checkpoint":
    """Train with a progress bar: loss and remaining time."""
    with train_extra("train"):
        from dtgd_edge.train import loop

    with progress_bar("training") as advance:

        def report(progress: loop.Progress) -> None:
            advance(progress.step, progress.steps, f"loss {progress.loss:.3f}")

        return loop.train(
            pictures, recipe, out, device=device, resume=resume, compiled=compiled, report=report
        )
