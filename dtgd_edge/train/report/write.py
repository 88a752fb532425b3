"""The report's two files."""

import json
import tempfile
from pathlib import Path

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import SinkError
from dtgd_edge.train.evaluate import Evaluation
from dtgd_edge.train.report.about import About
from dtgd_edge.train.report.album import Album
from dtgd_edge.train.report.page import page_from_evaluation

SUFFIXES = (".html", ".htm")


def require_report_path(path: Path) -> None:
    """Refuse a path before the pictures are scored, not after.

    Raises:
        SinkError: another suffix, a folder, or a place where nothing can be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SinkError(f"{path} is no name for a report; expected one that ends in .html; correct it")
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


def write_report(path: Path, about: About, evaluation: Evaluation, album: Album) -> Path:
    """Write the page, and its numbers as JSON beside it; missing folders are made.

    Args:
        path: of the page; ends in .html.
        about: what was evaluated.
        evaluation: what came out.
        album: the small pictures of all its parts.

    Returns:
        The path of the JSON file.

    Raises:
        SinkError: as `require_report_path`, or the disk refused.
    """
    require_report_path(path)
    with written_whole(path, SinkError) as file:
        file.write(page_from_evaluation(about, evaluation, album).encode())
    beside = path.with_suffix(".json")
    with written_whole(beside, SinkError) as file:
        file.write(json.dumps(report_record(about, evaluation), indent=2, allow_nan=False).encode())
    return beside


def report_record(about: About, evaluation: Evaluation) -> dict[str, object]:
    """What `--json` prints and the JSON file holds."""
    return {"scored": about.scored, "about": about.record(), **evaluation.record()}
