"""`dtgd-edge data`: what a folder of pictures holds, before anything is trained on it."""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.cli.console import Json, print_json, table
from dtgd_edge.cli.pictures import LayoutName, read_pictures


def data(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, as train and eval take it.")],
    defects: Annotated[Path | None, typer.Option(help="Pictures of defective parts.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks of those defects.")] = None,
    layout: LayoutName = None,
    as_json: Json = False,
) -> None:
    """Check every picture of a folder, and print how it is understood."""
    record = read_pictures(folder, defects, masks, layout).record()
    if as_json:
        print_json(record)
        return
    size = record["frame_size_hw"]
    sizes = "several sizes" if size is None else f"{size[1]}x{size[0]} px"
    rows = [["good, to train on", str(record["train"]), "-"]]
    for kind, counts in record["test"].items():
        with_mask = "-" if kind == "good" else str(counts["with_mask"])
        rows.append([f"{kind}, to test with", str(counts["pictures"]), with_mask])
    table(f"{folder}: layout {record['layout']}, {sizes}", ["parts", "pictures", "with mask"], rows)
