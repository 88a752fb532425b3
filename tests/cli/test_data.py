import json
from pathlib import Path

from tests.cli.conftest import Cli


def test_data_says_how_a_folder_is_understood(cli: Cli, pretend_data: Path) -> None:
    shown = cli("data", pretend_data)
    assert shown.code == 0 and "layout mvtec-ad, 64x64 px" in shown.out
    ended = cli("data", pretend_data, "--json", "--layout", "mpdd")
    record = json.loads(ended.out)
    assert record["layout"] == "mpdd" and record["train"] == 24 and record["frame_size_hw"] == [64, 64]
    assert record["test"]["good"]["with_mask"] == 0
    for kind, counts in record["test"].items():
        assert f"{kind}, to test with" in shown.out
        assert kind == "good" or counts["with_mask"] == counts["pictures"] > 0


def test_layouts_are_given_by_name(cli: Cli, pretend_data: Path, tmp_path: Path) -> None:
    for command in (("data",), ("train",), ("eval", tmp_path)):
        ended = cli(*command, pretend_data, "--layout", "mvtec")
        assert ended.code == 2 and "did you mean 'mvtec-ad'?" in ended.err
    ended = cli("train", pretend_data, "--layout", "btad")
    assert ended.code == 2 and "does not look like btad, but like mvtec-ad" in ended.err
    assert "mvtec-loco" in cli("train", "--help").out
