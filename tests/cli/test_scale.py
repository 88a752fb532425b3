"""`dtgd-edge scale`: what is printed is what is written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from dtgd_edge.benchmarks.grey import grey_bundle
from dtgd_edge.bundle import Golden
from tests.cli.conftest import Cli


def test_the_command_writes_what_it_prints(cli: Cli, tmp_path: Path) -> None:
    bundle, out = tmp_path / "grey.dtgd", tmp_path / "scale.json"
    grey = grey_bundle()
    frames = np.random.default_rng(0).integers(90, 166, grey.golden.frames.shape, np.uint8)
    replace(grey, golden=Golden(frames, grey.golden.score)).save(bundle)
    options = ("--cameras", "1,2", "--frames", 10, "--rounds", 1, "--sizes", "64x64", "--threads", 1)
    ended = cli("scale", bundle, *options, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == json.loads(out.read_text())
    ended = cli("scale", bundle, "--cameras", "none")
    assert ended.code == 2 and "expected numbers from 1 to 64" in ended.err
    ended = cli("scale", bundle, "--sizes", "640")
    assert ended.code == 2 and "expected WIDTHxHEIGHT" in ended.err


def test_golden_frames_that_are_no_pictures_are_named(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "grey.dtgd"
    grey_bundle().save(bundle)  # one of its golden frames is white
    ended = cli("scale", bundle, "--cameras", "2", "--frames", 10, "--rounds", 1)
    assert ended.code == 2 and "a frame was not judged (white" in ended.err and "Traceback" not in ended.err


def test_a_tiled_bundle_that_is_missing_is_named_before_anything_is_measured(
    cli: Cli, tmp_path: Path
) -> None:
    bundle = tmp_path / "grey.dtgd"
    grey_bundle().save(bundle)
    ended = cli("scale", bundle, "--tiled", tmp_path / "gone.dtgd")
    assert ended.code == 2 and "gone.dtgd does not exist" in ended.err and "round 1" not in ended.err
