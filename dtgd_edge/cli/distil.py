"""`dtgd-edge distil`: a full checkpoint to a compact one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtgd_edge.cli.console import OUT, Json, Workspace, print_json, say, train_extra
from dtgd_edge.cli.pictures import LayoutName, read_pictures
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import DataError
from dtgd_edge.workspace import newest_checkpoint

if TYPE_CHECKING:
    from dtgd_edge.train.checkpoint import Checkpoint
    from dtgd_edge.train.compact import Comparison
    from dtgd_edge.train.data import DataSet


def distil(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A full checkpoint's folder; default: the newest.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The good pictures, if they have moved since training.")
    ] = None,
    layout: LayoutName = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps; default: as many as the full one was given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the checkpoint; default: beside the full one, -compact.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped there.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Distil a full checkpoint into a compact one, whose graph takes about a quarter of the time."""
    with train_extra("distil"):
        from dtgd_edge.train.checkpoint import Checkpoint
    if checkpoint is None:
        checkpoint = newest_checkpoint(workspace, "full")
        say(f"checkpoint: {checkpoint} (the newest full one)")
    full = Checkpoint.open(checkpoint)
    place = data or Path(full.record.data)
    if data is None and not place.exists():
        raise DataError(
            f"{place}, which {checkpoint} was trained on, is not there; expected the same good pictures; "
            "name their folder with --data"
        )
    pictures = read_pictures(place, layout=layout)
    made, comparison = distil_shown(full, pictures, out, steps, device, resume)
    if as_json:
        print_json(compact_record(made, comparison))
        return
    print_compact(made, comparison)


def distil_shown(
    full: "Checkpoint",
    pictures: "DataSet",
    out: Path | None,
    steps: int | None,
    device: str,
    resume: bool,
) -> "tuple[Checkpoint, Comparison]":
    """Distil with a progress bar; without `out`, into a folder beside the full checkpoint's."""
    from dtgd_edge.train.compact import train_compact
    from dtgd_edge.train.loop import Progress

    place = full.folder.resolve()
    folder = out or place.with_name(f"{place.name}-compact")
    with progress_bar("distilling") as advance:

        def report(progress: Progress) -> None:
            advance(progress.step, progress.steps, f"loss {progress.loss:.3f}")
            if progress.step == progress.steps:
                say("scoring the held-out frames with both graphs")

        return train_compact(full, pictures, folder, steps=steps, device=device, resume=resume, report=report)


def compact_record(made: "Checkpoint", comparison: "Comparison") -> dict[str, Any]:
    """A compact checkpoint and what it costs to use it, as JSON values."""
    record = made.record
    return {
        "checkpoint": str(made.folder),
        "steps": record.step,
        "loss": record.loss,
        "teacher": record.teacher,
        "source": record.source,
        "comparison": mapping_from_record(comparison),
    }


def print_compact(made: "Checkpoint", comparison: "Comparison") -> None:
    """Print where a compact checkpoint is and what it costs to use it."""
    OUT.print(f"compact checkpoint: {made.folder}", markup=False)
    c = comparison
    OUT.print(
        "  full to compact, on made defects of a kind that neither has seen: "
        f"image AUROC {c.full_image_auroc:.4f} to {c.image_auroc:.4f}, "
        f"AUPRO {c.full_aupro:.4f} to {c.aupro:.4f}",
        markup=False,
    )
    if c.holds:
        OUT.print("  it holds: dtgd-edge export takes it when nothing else is asked for", markup=False)
    else:
        OUT.print(
            "  it loses too much for dtgd-edge export to take it unasked; give it more --steps, or ask with "
            "--graph compact",
            markup=False,
        )
