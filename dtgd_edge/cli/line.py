"""`dtgd-edge line`: a line's file with every key, or a check of one."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.config import mapping_from_record


def line(
    file: Annotated[
        Path | None, typer.Argument(help="A line's file to check; none: print one with every key.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a line's file with every key and its meaning, or check one without opening anything."""
    from dtgd_edge.runtime.line import read_line
    from dtgd_edge.runtime.line_text import line_text

    if file is None:
        sys.stdout.write(line_text())
        return
    config = read_line(file)
    if as_json:
        print_json(mapping_from_record(config))
    else:
        OUT.print(f"{file}: understood; frames from {config.source.uri}; tables {', '.join(config.tables)}")
