"""`dtgd-edge peers`: the table of a folder, written and printed, and what a mistaken call is told."""

import json
from pathlib import Path

import onnx
import pytest

from dtgd_edge.export import ideal
from tests.cli.conftest import Cli
from tests.export.graphs import convolution, integer_convolution


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two peers and what is none; ideal graphs are small here."""
    monkeypatch.setattr(ideal, "CONVOLUTIONS", 1)
    monkeypatch.setattr(ideal, "PRODUCTS", 1)
    peers = tmp_path / "peers"
    peers.mkdir()
    onnx.save(convolution(), peers / "small.onnx")
    onnx.save(integer_convolution(), peers / "whole.onnx")
    (peers / "broken.onnx").write_bytes(b"no graph")
    return peers


def test_the_table_is_printed_and_written(
    cli: Cli, folder: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    accuracy = tmp_path / "accuracy.json"
    accuracy.write_text('[{"method": "ours", "category": "tile", "image_auroc": 0.9}]')
    call = ["peers", folder, "--bundle", f"ours={tiny_bundle_path}", "--reference", "whole", "--threads", 1]
    call += ["--frames", 2, "--warm-up", 1, "--accuracy", accuracy, "--out", tmp_path / "out"]
    ended = cli(*call)
    assert ended.code == 0, ended.err
    assert "0.900 / - / -" in ended.out and "not timed: broken.onnx: " in ended.out
    document = json.loads((tmp_path / "out" / "peers.json").read_text())
    rows = [(row["name"], row["precision"]) for row in document["rows"] if row["runtime"] == "ort"]
    assert rows == [("ours", "fp32"), ("small", "fp32"), ("whole", "int8")]
    assert document["rows"][1]["float_macs"] == 3 * 8 * 9 * 32 * 32
    assert document["rows"][0]["size_bytes"] == tiny_bundle_path.stat().st_size
    assert {peak["arithmetic"] for peak in document["peaks"]} >= {"fp32", "int8"}
    assert document["reference"] == "whole" and document["command"].startswith("dtgd-edge peers ")
    text = (tmp_path / "out" / "peers.md").read_text()
    assert "| 0.900 / - / - |" in text and "A peer is given a ready float32 tensor" in text


def test_the_newest_bundle_and_the_first_peer(
    cli: Cli, folder: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    ended = cli("peers", folder, "--workspace", tmp_path, "--frames", 1, "--warm-up", 1, "--json")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document["rows"][0]["name"] == "tiny" and document["reference"] == "small"
    assert f"bundle: {tiny_bundle_path} (the newest)" in ended.err.replace("\n", "")
    onnx.save(convolution(), folder / "stfpm_r18.onnx")
    ended = cli("peers", folder, "--workspace", tmp_path, "--frames", 1, "--warm-up", 1, "--json")
    assert json.loads(ended.out)["reference"] == "stfpm_r18"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere is not a folder; expected one with ONNX files"),
        (["empty"], "empty has no peer (it has no .onnx file); expected ONNX files"),
        (["bad"], "bad has no peer (bad/none.onnx cannot be read"),
        (["peers", "--reference", "c"], "the reference 'c' is not there; expected one of tiny, small, whole"),
        (["peers", "--bundle", "small=tiny.dtgd"], "two graphs are called 'small'"),
        (["peers", "--bundle", "none.dtgd"], "none.dtgd does not exist"),
        (["peers", "--accuracy", "none.json"], "none.json cannot be read"),
    ],
)
def test_mistaken_calls(
    cli: Cli,
    folder: Path,
    tiny_bundle_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "none.onnx").write_bytes(b"no graph")
    ended = cli("peers", *arguments, "--out", "out")
    assert ended.code == 2 and complaint in ended.err
    assert ended.out == "" and not (tmp_path / "out").exists()
