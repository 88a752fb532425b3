"""Bad input ends in one sentence, exit code 2, and nothing half-written."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.pictures import write_picture
from tests.cli.conftest import Cli, Ended


def refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith("dtgd-edge: ")
    for word in words:
        assert word in sentence
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_no_camera(cli: Cli, tiny_bundle_path: Path) -> None:
    refused(cli("run", "--camera", 77, "--bundle", tiny_bundle_path), "camera 77", "--source")


@pytest.mark.parametrize("command", ["train", "run"])
def test_missing_folder(cli: Cli, tiny_bundle_path: Path, tmp_path: Path, command: str) -> None:
    missing = tmp_path / "nowhere"
    if command == "train":
        refused(cli("train", missing, "--workspace", tmp_path), "nowhere")
        assert list(tmp_path.iterdir()) == [tiny_bundle_path] or not (tmp_path / "runs").exists()
    else:
        refused(cli("run", "--source", missing, "--bundle", tiny_bundle_path), "nowhere", "does not exist")


def test_folder_without_pictures(cli: Cli, tiny_bundle_path: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(cli("train", empty, "--workspace", tmp_path), "empty", "neither pictures nor folders")
    refused(cli("run", "--source", empty, "--bundle", tiny_bundle_path), "no pictures")
    assert not (tmp_path / "runs").exists()


def test_truncated_picture(cli: Cli, tiny_bundle_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for index in range(9):
        write_picture(folder / f"{index}.png", rng.integers(0, 255, (64, 64, 3), np.uint8))
    whole = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(whole[: len(whole) // 2])
    refused(cli("train", folder, "--workspace", tmp_path), "4.png", "PNG")
    refused(cli("run", "--source", folder / "4.png", "--bundle", tiny_bundle_path), "4.png", "PNG")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["info", "verify", "bench"])
def test_damaged_bundles(cli: Cli, tiny_bundle_path: Path, tmp_path: Path, command: str) -> None:
    whole = tiny_bundle_path.read_bytes()
    half, flipped = tmp_path / "half.dtgd", tmp_path / "flipped.dtgd"
    half.write_bytes(whole[: len(whole) // 2])
    flipped.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    refused(cli(command, half), "half.dtgd", "copy it again")
    refused(cli(command, flipped), "flipped.dtgd", "copy it again")
    refused(cli(command, tmp_path / "none.dtgd"), "does not exist")


def test_newer_schema(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    newer = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, schema=99))
    newer.save(tmp_path / "newer.dtgd")
    refused(cli("info", tmp_path / "newer.dtgd"), "schema 99", "update dtgd-edge")


def test_zip_bomb(cli: Cli, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.dtgd"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("manifest.json", "graph.onnx", "golden.npz"):
            archive.writestr(name, bytes(10_000_000))
    refused(cli("info", bomb), "bomb.dtgd")


def test_checkpoint_of_another_architecture(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_checkpoint.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    record = json.loads((other / "checkpoint.json").read_text())
    record["recipe"]["student"]["backbone"] = "resnet34"
    (other / "checkpoint.json").write_text(json.dumps(record))
    refused(cli("export", other, "--out", tmp_path / "x.dtgd"), "another architecture")
    assert not (tmp_path / "x.dtgd").exists()


def test_unknown_recipe_key_names_the_nearest(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "my.toml"
    recipe.write_text("[optimiser]\nlearning_rat = 0.1\n")
    refused(cli("train", tmp_path, "--recipe", recipe), "my.toml", "[optimiser]", "'learning_rate'")


@pytest.mark.parametrize("size", ["big", "64x", "x64", "64x-32", "6.4", "64x64x3"])
def test_what_is_no_size(cli: Cli, tmp_path: Path, size: str) -> None:
    refused(cli("train", tmp_path, "--size", size), f"'{size}' is no size", "512x256")


def test_tiles_without_room(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "my.toml"
    recipe.write_text("[geometry]\nsize_hw = [96, 64]\ntiles = [2, 3]\n")
    refused(cli("train", tmp_path, "--recipe", recipe), "my.toml", "64x96 has no room for 2 rows")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "--precision", "fp12"), ("fp12", "fp32, fp16, int8")),
        (("export", "--session", "null"), ("'null' cannot judge", "openvino")),
        (("export", "--plan", "x.plan"), ("--plan", "--triton")),
        (("export",), ("no checkpoint",)),
        (("run", "--camera", 0), ("no bundle",)),
        (("run",), ("no source", "--camera 0")),
        (("run", "--camera", 0, "--source", "sample:"), ("choose one",)),
        (("bench",), ("no bundle",)),
    ],
)
def test_what_is_missing_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str], words: tuple[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(cli(*arguments), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_disk_full_while_writing(
    cli: Cli, tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        refused(cli("export", tiny_checkpoint, "--out", disk / "x.dtgd"), "could not be written", "No space")
        refused(cli("sample", disk / "pictures"), "could not be written", "No space")
        assert not list(disk.glob("*.dtgd")) and not list(disk.glob(".*"))
        bundle = tmp_path / "tiny.dtgd"
        tiny_bundle.save(bundle)
        source = "sample:?parts=400&size=64"
        refused(cli("run", "--bundle", bundle, "--source", source, "--log", disk / "log.jsonl"), "No space")
    finally:
        subprocess.run(["umount", disk], check=True)
