"""`dtgd-edge build` and `export --engine`, with real engines where TensorRT for RTX is installed."""

import json
from pathlib import Path

import pytest

from dtgd_edge.runtime.cuda_driver import driver_fault
from tests.cli.conftest import Cli
from tests.runtime.fakes import has_rtx

HAS_RTX, WHY_NOT = has_rtx()
NEEDS_RTX = pytest.mark.skipif(not HAS_RTX, reason=WHY_NOT)
NO_GPU = pytest.mark.skipif(not driver_fault(), reason="a GPU answers here")


@NEEDS_RTX
@NO_GPU
def test_the_command(
    cli: Cli, tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "cache"))
    first = cli("build", tiny_bundle_path, "--compute-capability", "8.6, 8.9")
    assert first.code == 0 and "built in" in first.out and "MiB" in first.out and "not run here" in first.out
    assert "building the fp32 engine for compute capability 8.6, 8.9" in first.err
    second = cli("build", tiny_bundle_path, "--compute-capability", "8.9,8.6", "--json")
    document = json.loads(second.out)
    assert document["is_hit"] is True and document["golden_difference"] is None and second.err == ""
    assert Path(document["engine"]).parent == tmp_path / "cache" / "plans"
    refused = cli("build", tiny_bundle_path, "--compute-capability", "9.0")
    assert refused.code == 2 and refused.out == "" and "9.0 is not known" in refused.err


@NEEDS_RTX
@NO_GPU
def test_export_with_its_engine(
    cli: Cli, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "cache"))
    for precision in ("fp32", "fp16"):
        out = tmp_path / f"{precision}.dtgd"
        ended = cli("export", tiny_checkpoint, "--precision", precision, "--engine", "--out", out, "--json")
        assert ended.code == 0, ended.err
        plan = json.loads(ended.out)["plan"]
        assert Path(plan["engine"]).stat().st_size == plan["record"]["engine_bytes"]
        assert plan["record"]["key"]["precision"] == precision


@NO_GPU
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--library", "cudnn"), ("cudnn", "auto, tensorrt, rtx")),
        (("--library", "tensorrt"), ("TensorRT", "GPU|install")),
        (("--memory-limit-mib", "0"), ("memory limit 0", "at least 1")),
    ],
)
def test_what_cannot_be_built_is_said(
    cli: Cli, tiny_bundle_path: Path, tmp_path: Path, arguments: tuple[str], words: tuple[str, str]
) -> None:
    ended = cli("build", tiny_bundle_path, "--out", tmp_path / "plans", *arguments)
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    assert words[0] in ended.err and any(word in ended.err for word in words[1].split("|"))
    assert not (tmp_path / "plans").exists()


def test_no_bundle(cli: Cli, tmp_path: Path) -> None:
    ended = cli("build", "--workspace", tmp_path)
    assert ended.code == 2 and "no bundle in" in ended.err


@NO_GPU
@pytest.mark.skipif(HAS_RTX, reason="TensorRT for RTX is installed")
def test_export_with_engine_says_before_exporting_that_none_can_be_built(
    cli: Cli, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    ended = cli("export", tiny_checkpoint, "--engine", "--out", tmp_path / "x.dtgd")
    assert ended.code == 2 and "dtgd-edge[rtx]" in ended.err and not (tmp_path / "x.dtgd").exists()
