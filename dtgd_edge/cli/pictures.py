"""Pictures as commands take them: a folder, or a data set in a known layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.cli.console import ERR, say
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.train.layouts import LAYOUTS

if TYPE_CHECKING:
    from dtgd_edge.train.data import DataSet

LayoutName = Annotated[
    str | None,
    typer.Option("--layout", help=f"{', '.join(layout.name for layout in LAYOUTS)}; default: recognised."),
]


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
