"""`dtgd-edge plan`: what holds a line's takt here."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, Golden
from dtgd_edge.geometry import Geometry
from tests.cli.conftest import Cli
from tests.cli.test_errors import refused

# 5 of 10 mm on a frame of 64 px: any graph sees it.
EASY = (
    "plan",
    "--parts-per-minute",
    60,
    "--frame",
    "64x64",
    "--smallest-defect",
    "5mm",
    "--field-of-view",
    "1cm",
)


@pytest.fixture
def bundle_path(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """The tiny bundle with pictures to time it on."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    path = tmp_path / "tiny.dtgd"
    replace(tiny_bundle, golden=Golden(frames, np.zeros(3, np.float32))).save(path)
    return path


def test_untrained_graphs_are_measured_once(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "my.toml"
    recipe.write_text('[teacher]\nbackbone = "resnet18_quarter"\n[geometry]\nshrink = "halves"\n')
    arguments = (*EASY, "--graph", "full", "--recipe", recipe, "--frames", 3, "--workspace", tmp_path)
    first = cli(*arguments)
    assert first.code == 0, first.err
    assert "making and timing full 64x64, fp32, int8" in first.err
    assert "run the full graph at 64x64 in fp32: 99 of 100 verdicts within" in first.out
    assert "size_hw = [64, 64]" in first.out and 'shrink = "halves"' in first.out
    assert "dtgd-edge export --graph full --precision fp32" in first.out
    again = cli(*arguments, "--json")
    assert "making" not in again.err and "measured here before" in again.err
    document = json.loads(again.out)
    assert [row["timing"]["candidate"]["precision"] for row in document["rows"]] == ["fp32", "int8"]
    assert all(row["is_measured"] and row["holds"] and row["sees"] for row in document["rows"])
    assert document["sentence"] in first.out.replace("\n", " ")
    assert document["recipe"] == ["# plan.toml", "[geometry]", "size_hw = [64, 64]", 'shrink = "halves"']


def test_a_bundle_that_holds_is_run(cli: Cli, bundle_path: Path, tmp_path: Path) -> None:
    ended = cli(*EASY, "--bundle", bundle_path, "--workspace", tmp_path)
    assert ended.code == 0, ended.err
    assert f"timing {bundle_path}" in ended.err
    assert "the tiny graph at 64x64 in fp32" in ended.out
    assert f"dtgd-edge run --bundle {bundle_path}" in ended.out
    assert "train" not in ended.out
    assert not (tmp_path / "takt.json").exists()


def test_other_sizes_are_guessed_from_a_bundle(cli: Cli, bundle_path: Path) -> None:
    line = ("plan", "--parts-per-minute", 6, "--frame", "512x512", "--smallest-defect", "1mm")
    ended = cli(*line, "--field-of-view", "64mm", "--bundle", bundle_path, "--json", "--frames", 3)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    by_size = {row["timing"]["candidate"]["geometry"]["size_hw"][1]: row for row in document["rows"]}
    # 8 camera pixels; 6 are reached at 384 px across.
    assert {side: (row["is_measured"], row["sees"]) for side, row in by_size.items()} == {
        64: (True, False), 256: (False, False), 384: (False, True), 512: (False, True),
    }  # fmt: skip
    assert document["advice"]["recommended"]["timing"]["candidate"]["geometry"]["size_hw"] == [384, 384]
    assert document["commands"][0] == "dtgd-edge train PICTURES --recipe plan.toml"


def test_a_line_that_nothing_holds(cli: Cli, bundle_path: Path) -> None:
    ended = cli("plan", "--parts-per-minute", 60e6, *EASY[3:], "--bundle", bundle_path)
    assert ended.code == 0, ended.err
    assert "nothing that sees the defect holds the takt here" in ended.out
    assert "times as fast" in ended.out and "takes" in ended.out
    assert "train" not in ended.out


def test_a_camera_without_pixels(cli: Cli, bundle_path: Path) -> None:
    ended = cli(*EASY[:6], "0.5mm", *EASY[7:], "--bundle", bundle_path)
    assert "no graph helps: the camera puts only 3.2 pixels" in ended.out
    assert "at least 120x120 px" in ended.out
    more = cli(*EASY[:6], "0.5mm", *EASY[7:], "--bundle", bundle_path, "--pixels-per-defect", 3)
    assert "no graph helps" not in more.out


def test_without_the_training_libraries_the_newest_bundle_is_timed(
    cli: Cli, bundle_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("dtgd_edge.export")]:
        monkeypatch.delitem(sys.modules, name)
    ended = cli(*EASY, "--workspace", bundle_path.parent)
    assert ended.code == 0, ended.err
    assert "no graphs can be made here" in ended.err and "the tiny graph" in ended.out
    refused(cli(*EASY, "--workspace", tmp_path / "none"), "dtgd-edge[train]", "--bundle")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--smallest-defect", "0.3"), ("--smallest-defect '0.3' has no unit", "0.3mm")),
        (("--field-of-view", "80px"), ("--field-of-view '80px'", "um, mm, cm, m or in")),
        (("--smallest-defect", "2cm"), ("smallest defect of 20 mm", "field of view of 10 mm")),
        (("--frame", "big"), ("'big'", "640x480")),
        (("--parts-per-minute", "0"), ("0 parts a minute",)),
        (("--reserve", "20"), ("reserve of 20", "20%")),
        (("--graph", "tiny"), ("graph 'tiny'", "full, compact, auto")),
        (("--backend", "null"), ("backend 'null'", "openvino")),
        (("--recipe", "none.toml"), ("none.toml", "does not exist")),
        (("--bundle", "b.dtgd", "--recipe", "r.toml"), ("--bundle and --recipe", "leave one out")),
        (("--bundle", "none.dtgd"), ("none.dtgd", "does not exist")),
    ],
)
def test_what_cannot_be_planned(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(cli(*EASY, "--workspace", tmp_path, *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_a_bundle_s_region_must_be_in_the_frame(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    region = Geometry(size_hw=(64, 64), region_xywh=(0, 0, 100, 50))
    path = tmp_path / "region.dtgd"
    replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, geometry=region)).save(path)
    refused(cli(*EASY, "--bundle", path), "region [0, 0, 100, 50]", "64x64")
