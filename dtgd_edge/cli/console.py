"""What all commands share: where text goes, how errors end, what to install."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dtgd_edge.errors import BackendUnavailable, DtgdError, ProcessLost
from dtgd_edge.runtime.session import BACKENDS

# Results go to stdout; everything else (progress, notes, errors) to stderr.
# A file or a pipe has no width of its own; 80 columns would fold the tables.
OUT = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 120)
ERR = Console(stderr=True, soft_wrap=True, highlight=False)

Workspace = Annotated[Path, typer.Option(help="Folder with runs/ and bundles/.")]
Backend = Annotated[
    str, typer.Option(help=f"{', '.join(BACKENDS)}; null computes nothing, auto is what doctor says.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

_TRAIN_MODULES = ("torch", "onnx", "onnxscript", "safetensors")


def say(text: str) -> None:
    """Tell the user what is being done."""
    ERR.print(text, markup=False, style="dim")


def print_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; the first column is text, the others are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    OUT.print(made)


@contextmanager
def train_extra(command: str) -> Iterator[None]:
    """Translate a missing training library into the line that installs it.

    Raises:
        BackendUnavailable: torch or onnx is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in _TRAIN_MODULES:
            raise
        raise BackendUnavailable(
            f"dtgd-edge {command} needs {exc.name}, which is not installed on this machine; "
            "install it with: pip install 'dtgd-edge[train]'"
        ) from None


def exit_with(error: DtgdError) -> None:
    """Print an error's sentence, unless another process does, and exit with its code."""
    if not (isinstance(error, ProcessLost) and error.is_told):
        ERR.print(f"dtgd-edge: {error}", markup=False, style="red" if ERR.is_terminal else "")
    sys.exit(error.exit_code)
