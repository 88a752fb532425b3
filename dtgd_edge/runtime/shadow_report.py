"""A shadow's report as files: one page for people, one JSON document for machines."""

import base64
import html
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.shadow import Difference, ShadowReport

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px sans-serif;margin:2em;max-width:80em}}td,th{{padding:.3em 1em;text-align:left}}
img{{max-width:100%}}figure{{margin:2em 0}}</style></head><body>
<h1>{title}</h1><table>{rows}</table>
<h2>Frames that were decided differently: active on the left, candidate on the right</h2>
{figures}</body></html>
"""


def write_report(report: ShadowReport, folder: Path) -> Path:
    """Write `shadow-<UTC time>.html`, pictures inside, and the same name ending in .json.

    Returns:
        The path of the page.

    Raises:
        SinkError: the disk refused.
    """
    stem = f"shadow-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}"
    page = folder / f"{stem}.html"
    with written_whole(folder / f"{stem}.json", SinkError) as file:
        file.write(msgspec.json.format(msgspec.json.encode(report.record())))
    with written_whole(page, SinkError) as file:
        file.write(page_from_report(report).encode())
    return page


def page_from_report(report: ShadowReport) -> str:
    """One HTML page that needs nothing beside it."""
    correlation = "-" if report.rank_correlation is None else f"{report.rank_correlation:.4f}"
    p95 = report.score_ms.p95
    rows = {
        "active": report.active,
        "candidate": report.candidate,
        "frames compared": str(report.compared),
        "decided alike": str(report.agreed),
        "skipped for time": str(report.skipped),
        "rank correlation of scores": correlation,
        "candidate's time, p95": "-" if p95 is None else f"{p95:.1f} ms",
        **{f"active {pair.replace('/', ', candidate ')}": str(n) for pair, n in report.counts.items()},
    }
    figures = "".join(_figure(difference) for difference in report.differences) or "<p>none</p>"
    return _PAGE.format(
        title="Shadow report",
        rows="".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in rows.items()
        ),
        figures=figures,
    )


def _figure(difference: Difference) -> str:
    sides = [
        f"{side['decision']} (score {side['score']}, threshold {side['threshold']})"
        + (f": {side['reason']}" if side["reason"] else "")
        for side in (difference.active, difference.candidate)
    ]
    caption = html.escape(
        f"frame {difference.active['frame']} {difference.active['name']}: {sides[0]} | {sides[1]}"
    )
    image = ""
    if difference.picture is not None:
        data = base64.b64encode(difference.picture).decode()
        image = f'<img src="data:image/jpeg;base64,{data}" alt="">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
