"""The operator's page: `dtgd-edge run --http 127.0.0.1:8080`.

    config.py     where it listens and what it shows
    controls.py   what the page may ask of the line
    page.py       opens all of it for a line
    sink.py       takes verdicts, and hands them to state.py (counts, trend) and album.py (rejects)
    live.py       the newest picture, drawn when somebody looks; drawing.py owns cv2
    alarms.py     recent events and the faults that are open
    active.py     what the page reads of an inspector
    report.py     what state.json, healthz and events say; metrics.py the same for Prometheus
    guard.py      who may ask: Host, Origin, token, session; rates.py how often
    server.py     connections; handler.py HTTP; routes.py which address does what; commands.py what is changed
    assets/       one page without foreign scripts, fonts or styles

May import numpy, msgspec, the standard library and the core; cv2 only in drawing.py, inside functions of
others.
"""

from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.controls import Controls, SwapOffer
from dtgd_edge.runtime.page.page import Page, open_page
from dtgd_edge.runtime.page.report import SourceFacts
from dtgd_edge.runtime.page.server import PageServer
from dtgd_edge.runtime.page.sink import PageSink

__all__ = [
    "Controls",
    "Page",
    "PageConfig",
    "PageServer",
    "PageSink",
    "SourceFacts",
    "SwapOffer",
    "open_page",
]
