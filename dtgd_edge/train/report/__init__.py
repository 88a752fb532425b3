"""What an evaluation found, as one HTML page that needs nothing else, and a JSON file beside it."""

from dtgd_edge.sheet import require_report_path
from dtgd_edge.train.report.about import About
from dtgd_edge.train.report.album import Album
from dtgd_edge.train.report.page import page_from_evaluation
from dtgd_edge.train.report.write import report_record, write_report

__all__ = ["About", "Album", "page_from_evaluation", "report_record", "require_report_path", "write_report"]
