"""`dtgd-edge suite`: the smoke suite end to end, and what a mistaken call is told."""

import json
from pathlib import Path

import pytest

from dtgd_edge.train import loop
from tests.cli.conftest import Cli

SMOKE = Path(__file__).parents[2] / "benchmarks" / "suites" / "smoke.toml"


def test_the_smoke_suite_makes_a_table_and_does_nothing_twice(
    cli: Cli, pretend_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_DEFECTS", 4)
    monkeypatch.setattr(loop, "MOST_FITTED", 4)
    peers = tmp_path / "peers.json"
    peers.write_text('[{"method": "PatchCore", "category": "pretend", "seed": 0, "pixel_ap": 0.278}]')
    call = ("suite", SMOKE, "--data-root", pretend_data.parent, "--out", tmp_path / "out", "--also", peers)
    first = cli(*call, "--json")
    assert first.code == 0, first.err
    assert "run 2 of 2: no TNR on pretend, seed 0" in first.err
    document = json.loads(first.out)
    assert [line["method"] for line in document["lines"]] == ["full", "no TNR", "PatchCore"]
    full, no_tnr, _ = document["outcomes"]
    assert full["steps"] == 4 and full["size"] == "64x64" and full["teacher"] == "random weights"
    assert 0 < full["held_out_ap"] < 1 and full["held_out_ap"] != no_tnr["held_out_ap"]

    again = cli(*call, "--seeds", "0", "--rows", "full")
    assert again.code == 0 and "run " not in again.err
    assert (
        "PatchCore" in again.out and "0.278" in again.out and str(tmp_path / "out" / "table.md") in again.out
    )
    text = (tmp_path / "out" / "table.md").read_text()
    assert "no TNR" not in text and f"Command: `dtgd-edge suite {SMOKE}" in text


def test_a_run_that_fails_is_told_at_the_end(cli: Cli, pretend_data: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'title = "t"\n[[row]]\nname = "r"\nmeaning = "m"\n[row.recipe.teacher]\nweights = "none.pth"\n'
    )
    ended = cli("suite", suite, "--data", f"pretend={pretend_data}", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "1 of the runs failed, first r on pretend, seed 0: weights 'none.pth' are not a file" in ended.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "pictures"], "expected NAME=DIR"),
        (["--data", "tile=nowhere"], "nowhere is not a folder; expected the pictures of 'tile'"),
        ([], "no pictures were named; expected --data-root DIR with folders pretend"),
        (["--categories", "tile"], "category 'tile' has no folder; expected --data tile=DIR"),
        (["--seeds", "one"], "--seeds 'one' was given; expected whole numbers"),
        (["--rows", "fool"], "row 'fool' is not in the suite; expected some of full, no TNR"),
        (["--size", "50"], "multiples of 32"),
        (["--also", "none.json"], "none.json cannot be read"),
    ],
)
def test_mistaken_calls(cli: Cli, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    ended = cli("suite", SMOKE, "--out", tmp_path, *arguments)
    assert ended.code == 2 and complaint in ended.err
    assert not (tmp_path / "table.md").exists()
