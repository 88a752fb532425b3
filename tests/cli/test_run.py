"""`dtgd-edge run`: what a line engineer types."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.pictures import write_picture
from tests.cli.conftest import Cli


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three pictures for the tiny bundle, which scores the brightest pixel: good, defective, unreadable."""
    folder = tmp_path / "parts"
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[::2] = 120
    write_picture(folder / "a.png", picture)
    picture[20:30, 20:30] = 255
    write_picture(folder / "b.png", picture)
    (folder / "c.png").write_bytes(b"")
    return folder


def test_a_folder_is_judged_logged_and_drawn(
    cli: Cli, tiny_bundle_path: Path, parts: Path, tmp_path: Path
) -> None:
    log, overlays = tmp_path / "log.jsonl", tmp_path / "overlays"
    ended = cli(
        "run", "--source", parts, "--bundle", tiny_bundle_path, "--log", log, "--overlays", overlays, "--json"
    )
    assert ended.code == 0
    summary = json.loads(ended.out)
    assert (summary["ok"], summary["ng"], summary["no_decision"]) == (1, 1, 1)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(v["name"], v["decision"]) for v in lines] == [
        ("a.png", "OK"),
        ("b.png", "NG"),
        ("c.png", "NO_DECISION"),
    ]
    assert len(list(overlays.glob("*_NG_b.jpg"))) == 1


def test_fail_on_ng(cli: Cli, tiny_bundle_path: Path, parts: Path) -> None:
    common = ("run", "--bundle", tiny_bundle_path, "--fail-on-ng", "--source")
    assert cli(*common, parts).code == 1
    assert cli(*common, parts / "a.png").code == 0


def test_the_newest_bundle_is_taken_and_said(
    cli: Cli, tiny_bundle_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle_path.parent)
    ended = cli("run", "--source", parts)
    assert ended.code == 0
    assert tiny_bundle_path.name in ended.err and "the newest" in ended.err
    assert "3 frames" in ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_everything_written(
    tiny_bundle_path: Path, tmp_path: Path, number: int
) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "dtgd_edge.cli.app", "run", "--source", "sample:?size=64"]
    command += ["--bundle", str(tiny_bundle_path), "--log", str(log), "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    deadline = time.monotonic() + 30
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    summary = json.loads(out)
    assert summary["stopped_by"] == "stop"
    assert summary["frames"] == len(log.read_text().splitlines()) > 0
