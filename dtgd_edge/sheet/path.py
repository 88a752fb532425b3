"""Whether a file can be written where somebody wants it, asked before hours are spent on what goes in."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dtgd_edge.errors import SinkError


def require_report_path(path: Path, suffixes: Sequence[str] = (".html", ".htm")) -> None:
    """Refuse a path before the report is made, not after.

    Raises:
        SinkError: another suffix, a folder, or a place where nothing can be written.
    """
    if path.suffix.lower() not in suffixes:
        raise SinkError(
            f"{path} is no name for a report; expected one that ends in {suffixes[0]}; correct it"
        )
    if path.is_dir():
        raise SinkError(f"{path} is a folder; expected a file for the report; choose another name")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise SinkError(
            f"{path} cannot be written, because nothing can be in {folder} ({exc.strerror}); "
            "expected a place for the report; choose another"
        ) from exc
