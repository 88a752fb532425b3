"""What the HTML reports have in common: one file that refers to nothing outside of itself.

html.py     how a sheet begins, safe texts, tables
plot.py     curves, bars and dots as marks, and as inline SVG
path.py     whether a report can be written
"""

from dtgd_edge.sheet.html import head, minute_text, safe, table
from dtgd_edge.sheet.path import require_report_path
from dtgd_edge.sheet.plot import Plot, Point, round_numbers

__all__ = ["Plot", "Point", "head", "minute_text", "require_report_path", "round_numbers", "safe", "table"]
