"""The report's two files."""

import json
from pathlib import Path

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import SinkError
from dtgd_edge.sheet import require_report_path
from dtgd_edge.train.evaluate import Evaluation
from dtgd_edge.train.report.about import About
from dtgd_edge.train.report.album import Album
from dtgd_edge.train.report.page import page_from_evaluation


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
