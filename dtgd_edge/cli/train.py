"""`dtgd-edge train`: pictures to checkpoint."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dtgd_edge.cli.console import ERR, OUT, Json, Workspace, print_json, say, train_extra
from dtgd_edge.errors import ConfigError
from dtgd_edge.train.layouts import LAYOUTS
from dtgd_edge.workspace import RUNS, known_graph, newest_checkpoint

if TYPE_CHECKING:
    from dtgd_edge.train.checkpoint import Checkpoint
    from dtgd_edge.train.data import DataSet
    from dtgd_edge.train.recipe import Recipe


PLAIN_INTERVAL_S = 10.0

LayoutName = Annotated[
    str | None,
    typer.Option("--layout", help=f"{', '.join(layout.name for layout in LAYOUTS)}; default: recognised."),
]


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
        from dtgd_edge.cli.distil import compact_record, distil_shown, print_compact

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


def read_pictures(
    data: Path, defects: Path | None = None, masks: Path | None = None, layout: str | None = None
) -> "DataSet":
    """Check every picture of a folder, with a progress bar and its warnings."""
    from dtgd_edge.train.data import read_data

    with progress_bar("checking pictures") as advance:
        pictures = read_data(data, defects=defects, masks=masks, layout=layout, progress=advance)
    for warning in pictures.warnings:
        ERR.print(f"note: {warning}", markup=False)
    say(
        f"layout {pictures.layout}: {len(pictures.train)} good pictures to train on, "
        f"{len(pictures.test)} to test on"
    )
    return pictures


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


class Advance:
    """Moves a progress bar: `advance(done, total, note)`; another total begins anew."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, note="")
        self._total = 0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if total != self._total:
            self._total = total
            self._bar.reset(self._task, total=total)
        self._bar.update(self._task, completed=done, total=total, note=note)


class AdvancePlainly:
    """The same where no terminal can show a bar: a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = self._printed = time.monotonic()
        self._total = self._before = 0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if total != self._total:
            self._total, self._before, self._began = total, done - 1, self._printed
        if now - self._printed < PLAIN_INTERVAL_S:
            return
        self._printed = now
        left_s = (now - self._began) / (done - self._before) * (total - done)
        say(f"{self._title} {done}/{total} {note} about {left_s:.0f} s left")


@contextmanager
def progress_bar(title: str) -> Iterator[Advance | AdvancePlainly]:
    """Show progress on stderr while the block runs."""
    if not ERR.is_terminal:
        yield AdvancePlainly(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERR) as bar:
        yield Advance(bar, title)
