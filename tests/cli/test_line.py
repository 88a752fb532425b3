"""A line's file on the command line, and the commands that prove a line."""

import json
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.line import read_line
from tests.cli.conftest import Cli


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Forty good parts for the tiny bundle, which scores the pixel that is farthest from grey."""
    rng = np.random.default_rng(0)
    for index in range(40):
        picture = rng.integers(110, 130 + index, (64, 64, 3), np.uint8)
        write_picture(tmp_path / "parts" / f"{index:02d}.png", picture)
    return tmp_path / "parts"


def test_a_printed_file_is_understood_and_a_wrong_key_is_answered(cli: Cli, tmp_path: Path) -> None:
    printed = cli("line")
    assert printed.code == 0
    file = tmp_path / "line.toml"
    file.write_text(printed.out)
    checked = cli("line", file, "--json")
    assert checked.code == 0 and json.loads(checked.out)["source"]["uri"] == "0"
    file.write_text(printed.out.replace("stale_ms", "stale"))
    refused = cli("line", file)
    assert refused.code == 2 and "did you mean 'stale_ms'" in refused.err


def test_run_takes_a_file_and_the_options_win(
    cli: Cli, tiny_bundle_path: Path, parts: Path, tmp_path: Path
) -> None:
    file, log = tmp_path / "line.toml", tmp_path / "audit.db"
    file.write_text(
        f'[source]\nuri = "nowhere"\n[loop]\nbundle = "{tiny_bundle_path}"\nthreads = 1\n'
        f'[audit]\npath = "{log}"\n[outputs]\nis_simulated = true\n'
    )
    refused = cli("run", "--config", file)
    assert refused.code == 2 and "source 'nowhere' does not exist" in refused.err
    ran = cli("run", "--config", file, "--source", parts, "--http", "127.0.0.1:0", "--json")
    assert ran.code == 0 and json.loads(ran.out)["ok"] == 40
    assert "http://127.0.0.1:" in ran.err
    verified = cli("audit", "verify", log, "--json")
    assert json.loads(verified.out)["holds"] and json.loads(verified.out)["verdicts"] == 40
    assert read_line(file).source.uri == "nowhere", "the file stays as it is"


def test_a_run_needs_a_source(cli: Cli, tiny_bundle_path: Path) -> None:
    ended = cli("run", "--bundle", tiny_bundle_path)
    assert ended.code == 2 and "--config FILE" in ended.err


def test_a_promise_is_tried_on_held_out_parts(cli: Cli, tiny_bundle_path: Path, parts: Path) -> None:
    ended = cli("promise", tiny_bundle_path, parts, "--splits", 100, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0 and found["parts"] == 40 and found["kept_share"] >= 0.95
    assert "of 100 splits" in cli("promise", tiny_bundle_path, parts, "--splits", 100).out


def test_faults_write_their_table(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtgd_edge.benchmarks.faults.inside.HICCUPS", 2)
    monkeypatch.setattr("dtgd_edge.benchmarks.faults.inside.LOSSES", 1)
    monkeypatch.setattr("logging.disable", lambda level: None)  # of this process
    out = tmp_path / "faults.json"
    ended = cli("faults", "--only", "session", "--out", out)
    assert ended.code == 0 and "| session fails in mid-run |" in ended.out
    assert json.loads(out.read_text())["rows"][0]["is_met"]
    unknown = cli("faults", "--only", "meteor")
    assert unknown.code == 2 and "fault 'meteor' is not known" in unknown.err
