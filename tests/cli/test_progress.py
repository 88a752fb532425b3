"""Progress in plain lines: where no terminal shows a bar."""

import itertools

import pytest

from dtgd_edge.cli.progress import progress_bar


def test_another_total_begins_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = itertools.count(0, 10)
    monkeypatch.setattr("time.monotonic", lambda: float(next(seconds)))
    with progress_bar("training") as advance:
        for step in range(1, 5):
            advance(step, 4, "loss")
        for part in range(1, 4):
            advance(part, 6, "scored")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "training 2/4 loss about 20 s left"
    assert lines[-1] == "training 3/6 scored about 30 s left"
