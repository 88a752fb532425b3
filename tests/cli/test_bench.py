"""`dtgd-edge bench` as it is typed."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.made import drawn_bundle
from tests.cli.conftest import Cli


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    drawn_bundle().save(tmp_path / "drawn.dtgd")
    return "drawn.dtgd"


def test_a_line_with_everything_written(cli: Cli, bundle: str) -> None:
    common = ("bench", bundle, "--frames", 50, "--threads", 1, "--parts-per-minute", 6000, "--frame", "64x64")
    files = ("--out", "a.json", "--plot", "a.png", "--report", "a.html")
    ended = cli(*common, *files, "--json")
    assert ended.code == 0, ended.err
    assert "6000 parts a minute; at least 1 s" in ended.err
    record = json.loads(ended.out)
    first = record["measurements"][0]
    assert first["takt"]["parts"] == 50 and first["takt"]["deadline_ms"] == 10.0
    assert first["stages_ms"]["wait"]["count"] == 50 and "samples_ms" not in first
    assert len(record["bundles"][0]["sha256"]) == 64
    stored = json.loads(Path("a.json").read_text())
    assert len(stored["measurements"][0]["samples_ms"]["total"]) == 50
    assert stored["measurements"][0]["machine"] == first["machine"]
    assert Path("a.png").read_bytes().startswith(b"\x89PNG") and "<svg" in Path("a.html").read_text()

    again = cli(*common, "--baseline", "a.json")
    assert again.code in (0, 1), again.err
    assert "beside the baseline" in again.out
    assert (again.code == 1) == ("slower than the baseline" in again.out)


def test_a_baseline_that_was_faster_ends_with_1(cli: Cli, bundle: str) -> None:
    common = ("bench", bundle, "--frames", 50, "--warm-up", 2, "--threads", 1, "--frame", "64x64")
    assert cli(*common, "--out", "a.json").code == 0
    stored = json.loads(Path("a.json").read_text())
    samples = stored["measurements"][0]["samples_ms"]
    slow = {**samples, "score": [1e6] * 50}
    for times, code in ((slow, 0), ({**samples, "geometry": [-1e6] * 50}, 1)):
        stored["measurements"][0]["samples_ms"] = times
        Path("b.json").write_text(json.dumps(stored))
        ended = cli(*common, "--baseline", "b.json", "--json")
        changes = {c["stage"]: c for c in json.loads(ended.out)["comparison"]["changes"]}
        if code:
            assert ended.code == 1 and changes["geometry"]["is_slower"]
        else:
            assert changes["score"]["is_faster"] and not changes["score"]["is_slower"]


def test_gaps_are_told_one_by_one(cli: Cli, bundle: str) -> None:
    ended = cli("bench", bundle, "--frames", 4, "--idle-gaps", "0,5", "--warm-up", 0, "--threads", 1)
    assert ended.code == 0, ended.err
    assert "score after 0 ms" in ended.out and "score after 5 ms" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--parts-per-minute", 60, "--idle-gaps", "0,50"), "leave one out"),
        (("--idle-gaps", "fast"), "idle gaps 'fast' were given"),
        (("--idle-gaps", "0,1,2", "--frames", 2), "raise --frames"),
        (("--baseline", "gone.json"), "gone.json does not exist"),
        (("--plot", "x.jpg"), "ends in .png"),
        (("--report", "x.json"), "ends in .html"),
        (("--out", "x.html"), "ends in .json"),
    ],
)
def test_bad_words_end_in_one_sentence(
    cli: Cli, bundle: str, arguments: tuple[object, ...], words: str
) -> None:
    ended = cli("bench", bundle, *arguments)
    assert ended.code == 2 and words in ended.err and "Traceback" not in ended.err


def test_another_bundles_baseline_is_refused_before_the_run(cli: Cli, bundle: str) -> None:
    assert cli("bench", bundle, "--frames", 2, "--warm-up", 0, "--out", "a.json").code == 0
    stored = json.loads(Path("a.json").read_text())
    for measured in stored["measurements"]:
        measured["graph_sha256"] = "0" * 64
    Path("a.json").write_text(json.dumps(stored))
    ended = cli("bench", bundle, "--baseline", "a.json")
    assert ended.code == 2 and "a.json was measured with other graphs (drawn.dtgd)" in ended.err
    assert "timing" not in ended.err
