"""The whole path through the command line, on a tiny graph."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_sample_train_export_eval_verify_info_bench_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("sample", "pictures", "--parts", 24, "--size", 64).code == 0
    recipe = Path("tiny.toml")
    recipe.write_text(
        '[teacher]\nbackbone = "resnet18_quarter"\nweights = "random"\n[optimiser]\nsteps = 12\nbatch = 4\n'
    )
    trained = cli("train", "pictures", "--recipe", recipe, "--size", 64, "--json")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["steps"] == 12

    exported = cli("export", "--precision", "fp16", "--triton", "models")
    assert exported.code == 0, exported.err
    assert Path("models/pictures-fp16/1/model.onnx").is_file() and "for Triton" in exported.out
    assert "(the newest)" in exported.err
    bundle = Path("bundles/pictures-fp16.dtgd")
    assert bundle.is_file()

    assert cli("verify", bundle).code == 0
    assert "fp16" in cli("info", bundle).out
    values = {}
    for scored in (bundle, json.loads(trained.out)["checkpoint"]):
        evaluated = cli("eval", scored, "pictures", "--json")
        assert evaluated.code == 0, evaluated.err
        values[str(scored)] = json.loads(evaluated.out)
    first, second = values.values()
    for name in ("image_auroc", "pixel_auroc", "pixel_ap", "aupro"):
        assert first[name] == pytest.approx(second[name], abs=0.02)
    timed = cli("bench", "--frames", 5, "--warm-up", 1, "--threads", 1, "--json")
    assert "1 thread)" in json.loads(timed.out)["measurements"][0]["device"]
    assert [m["backend"] for m in json.loads(timed.out)["measurements"]] == ["ort", "null"]
    assert json.loads(timed.out)["measurements"][0]["stages_ms"]["score"]["count"] == 5
    ran = cli("run", "--source", "pictures/line.avi", "--json")
    assert json.loads(ran.out)["frames"] == 24


def test_a_graph_that_is_not_square_and_cut_into_tiles(
    cli: Cli, pretend_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtgd_edge.train.loop.MOST_DEFECTS", 8)
    Path("tiled.toml").write_text(
        '[geometry]\ntiles = [1, 3]\noverlap = 0.0\n[teacher]\nbackbone = "resnet18_quarter"\n'
        'weights = "random"\n[optimiser]\nsteps = 2\nbatch = 2\n'
    )
    trained = cli("train", pretend_data, "--recipe", "tiled.toml", "--size", "96x32", "--out", "run")
    assert trained.code == 0, trained.err
    assert "pictures of 64x64 px will be squeezed into 96x32; a size of 64x64 keeps" in trained.err
    assert cli("export", "run", "--precision", "fp32", "--out", "x.dtgd").code == 0
    assert "stretch to 96x32, in 1 x 3 tiles of 32x32" in cli("info", "x.dtgd").out
    measured = cli("eval", "x.dtgd", pretend_data)
    assert measured.code == 0 and "96x32" in measured.out
    pictures = pretend_data / "test" / "good"
    ran = cli("run", "--bundle", "x.dtgd", "--source", pictures, "--overlays", "o", "--json")
    assert json.loads(ran.out)["frames"] > 0, ran.err


def test_doctor_says_what_works(cli: Cli) -> None:
    ended = cli("doctor", "--json")
    assert ended.code == 0
    diagnosis = json.loads(ended.out)
    findings = {f["name"]: f for f in diagnosis["findings"]}
    assert findings["ONNX Runtime (CPU)"]["is_usable"]
    for found in findings.values():
        assert found["is_usable"] or found["fix"]
    assert cli("doctor").out.startswith(f"dtgd-edge will run on: {diagnosis['runs_on']}\n")


def test_every_command_has_help(cli: Cli) -> None:
    listed = cli("--help")
    for command in (
        "demo",
        "sample",
        "data",
        "train",
        "export",
        "eval",
        "run",
        "verify",
        "info",
        "doctor",
        "bench",
    ):
        assert command in listed.out
        assert cli(command, "--help").code == 0
