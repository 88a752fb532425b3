"""Two files or a sentence."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.train.report import report_record, require_report_path, write_report
from tests.train.report.conftest import Case


def test_page_and_json(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "report.html"
    assert write_report(path, case.about, case.evaluation, case.album) == path.with_suffix(".json")
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    record = json.loads(path.with_suffix(".json").read_text())
    assert record == json.loads(json.dumps(report_record(case.about, case.evaluation)))
    assert record["about"]["threshold"]["value"] == record["at_threshold"]["threshold"] == 0.5
    assert (record["at_threshold"]["missed"], record["at_threshold"]["false_alarms"]) == (2, 1)
    assert [kind["kind"] for kind in record["kinds"]] == ["<i>dent", "stain"]
    assert [kind["detected"] for kind in record["kinds"]] == [2, 1]
    assert [p["decision"] for p in record["parts"]] == ["OK", "OK", "NG", "OK", "OK", "NG", "OK", "NG", "NG"]


def test_200_parts_stay_below_ten_megabytes(case: Case) -> None:
    """By the size of one part whose pictures are full of noise, the hardest to compress."""
    import numpy as np

    from dtgd_edge.pictures import write_picture

    part = case.evaluation.per_part[4]
    write_picture(part.path, np.random.default_rng(0).integers(60, 190, (512, 512, 3)).astype(np.uint8))
    case.album.add(part, np.ones((512, 512), np.float32), None)
    thumbs = case.album[part.path]
    assert (len(thumbs.picture) + len(thumbs.heat)) * 4 / 3 * 200 < 10e6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report.pdf", "ends in .html"),
        ("report", "ends in .html"),
        ("folder.html", "is a folder"),
        ("file.txt/report.html", r"nothing can be in .*file.txt \(Not a directory\)"),
        ("file.txt/deeper/report.html", r"nothing can be in .*file.txt \(Not a directory\)"),
    ],
)
def test_a_path_that_cannot_be(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(SinkError, match=words):
        require_report_path(tmp_path / name)


def test_a_place_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(dir: Path) -> None:
        assert dir == tmp_path
        raise OSError(30, "Read-only file system")

    require_report_path(tmp_path / "new" / "report.html")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(SinkError, match="Read-only file system"):
        require_report_path(tmp_path / "new" / "report.html")


def test_the_disk_refuses(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the last report")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match="No space left"):
        write_report(path, replace(case.about, data="x"), case.evaluation, case.album)
    assert path.read_text() == "the last report" and not path.with_suffix(".json").exists()
