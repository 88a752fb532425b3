"""The audit log as CSV, for a spreadsheet."""

import csv
import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.row import COLUMNS, Row

HEADER = ("time", *COLUMNS)
# A spreadsheet takes a cell that begins so for a formula, and a file name may come from anybody.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def time_text(wall_ns: int) -> str:
    """UTC, ISO 8601, milliseconds."""
    return datetime.fromtimestamp(wall_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")


def write_csv(log: AuditLog, path: Path) -> int:
    """Write all rows, verdicts with their judge; UTF-8, one header line.

    Texts that a spreadsheet would take for a formula get an apostrophe before them.

    Returns:
        Number of rows.

    Raises:
        DataError: the log cannot be read.
        SinkError: the disk refused; nothing was changed.
    """
    judges: dict[int, Row] = {}
    count = 0
    with written_whole(path, SinkError) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(HEADER)
        for row in log.rows():
            values = log.with_judge(row, judges).values()
            writer.writerow([time_text(row.wall_ns), *map(_cell, values)])
            count += 1
        text.flush()
        text.detach()
    return count


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
