"""`dtgd-edge faults`: break a line in every way that is known, and see what it does."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dtgd_edge.atomic import written_whole
from dtgd_edge.cli.console import OUT, Json, print_json, say
from dtgd_edge.errors import DataError


def faults(
    only: Annotated[str | None, typer.Option(help="Only these, with commas between.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table as JSON to this file too.")] = None,
    as_json: Json = False,
) -> None:
    """Inject faults into a line of this machine and print what it did; exit with 1 if a row falls short."""
    from dtgd_edge.benchmarks.faults.suite import run_faults

    # The line and its libraries tell of every fault; here they are made on purpose.
    logging.disable(logging.CRITICAL)
    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    table = run_faults(names, say)
    if out is not None:
        with written_whole(out, DataError) as file:
            file.write(msgspec.json.format(msgspec.json.encode(table.record()), indent=2) + b"\n")
    if as_json:
        print_json(table.record())
    else:
        OUT.print(table.text(), markup=False)
    if table.fell_short:
        sys.exit(1)
