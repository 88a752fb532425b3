"""What a run of the benchmark found.

words.py      in sentences
charts.py     as plots
page.py       as one HTML page that needs nothing else
picture.py    as a PNG picture; owns OpenCV, and so is not imported here
"""

from dtgd_edge.benchmarks.report.page import page_from_timings, write_page
from dtgd_edge.benchmarks.report.words import (
    comparison_words,
    machine_words,
    stage_name,
    stage_rows,
    timings_words,
)

__all__ = [
    "comparison_words",
    "machine_words",
    "page_from_timings",
    "stage_name",
    "stage_rows",
    "timings_words",
    "write_page",
]
