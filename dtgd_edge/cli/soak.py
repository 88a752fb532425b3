"""`dtgd-edge soak`: the whole line at full speed, its memory watched and its records counted."""

import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dtgd_edge.atomic import written_whole
from dtgd_edge.cli.console import OUT, Json, print_json, say
from dtgd_edge.errors import DataError


def soak(
    frames: Annotated[int, typer.Option(min=20_000, help="How many.")] = 100_000,
    out: Annotated[Path | None, typer.Option(help="Write what was found as JSON to this file too.")] = None,
    as_json: Json = False,
) -> None:
    """Soak a line on this machine; exit with 1 if a verdict is lost or wrong, or the memory grows."""
    from dtgd_edge.benchmarks.soak import run_soak

    logging.getLogger("dtgd_edge").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="dtgd-soak-") as folder:
        found = run_soak(Path(folder), frames, say)
    if out is not None:
        with written_whole(out, DataError) as file:
            file.write(msgspec.json.format(msgspec.json.encode(found.record()), indent=2) + b"\n")
    if as_json:
        print_json(found.record())
    else:
        OUT.print(found.text(), markup=False)
    if found.shortfalls:
        sys.exit(1)
