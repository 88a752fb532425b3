"""`dtgd-edge distil`, and `--graph` of train and export."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtgd_edge.train.loop.MOST_DEFECTS", 8)
    monkeypatch.setattr("dtgd_edge.train.loop.MOST_FITTED", 4)
    Path("tiny.toml").write_text(
        '[teacher]\nbackbone = "resnet18_quarter"\nweights = "random"\n[optimiser]\nsteps = 6\nbatch = 2\n'
    )
    return tmp_path


def test_train_distil_and_export_a_compact_graph(cli: Cli, pretend_data: Path) -> None:
    trained = cli("train", pretend_data, "--recipe", "tiny.toml", "--size", 64, "--out", "runs/part")
    assert trained.code == 0, trained.err
    none = cli("export", "--graph", "compact")
    assert none.code == 2 and "distil first" in none.err

    distilled = cli("distil", "--steps", 3, "--json")
    assert distilled.code == 0, distilled.err
    assert "runs/part (the newest full one)" in distilled.err
    document = json.loads(distilled.out)
    assert Path(document["checkpoint"]) == Path("runs/part-compact").resolve() and document["steps"] == 3
    assert document["source"] == json.loads(Path("runs/part/checkpoint.json").read_text())["weights_sha256"]
    assert set(document["comparison"]) >= {"full_image_auroc", "image_auroc", "holds"}

    exported = cli("export", "--graph", "compact", "--precision", "fp16")
    assert exported.code == 0, exported.err
    bundle = Path("bundles/pretend-compact-fp16.dtgd")
    assert bundle.is_file() and cli("verify", bundle).code == 0
    wrong = cli("export", "runs/part", "--graph", "compact")
    assert wrong.code == 2 and "is a full checkpoint; expected a compact one" in wrong.err
    again = cli("distil", "runs/part-compact")
    assert again.code == 2 and "compact checkpoint already" in again.err


def test_train_can_make_both(cli: Cli, pretend_data: Path) -> None:
    made = cli("train", pretend_data, "--recipe", "tiny.toml", "--steps", 2, "--size", 64, "--graph", "auto",
               "--out", "runs/part", "--json")  # fmt: skip
    assert made.code == 0, made.err
    document = json.loads(made.out)
    compact = document["compact"]
    assert document["checkpoint"] == "runs/part" and document["steps"] == compact["steps"] == 2
    expected = compact["checkpoint"] if compact["comparison"]["holds"] else "runs/part"
    assert document["export"] == expected


def test_pictures_that_have_moved_can_be_named(cli: Cli, pretend_data: Path, workspace: Path) -> None:
    moved = workspace / "moved"
    moved.symlink_to(pretend_data)
    made = cli("train", moved, "--recipe", "tiny.toml", "--steps", 1, "--size", 64, "--out", "runs/part")
    assert made.code == 0, made.err
    moved.unlink()
    lost = cli("distil")
    assert lost.code == 2 and "moved" in lost.err and "--data" in lost.err
    assert cli("distil", "--data", pretend_data, "--out", "other").code == 0
    assert Path("other/checkpoint.json").is_file()


def test_an_unknown_graph_is_refused_before_anything_is_read(cli: Cli) -> None:
    for command in (("train", "nowhere"), ("export",)):
        ended = cli(*command, "--graph", "thin")
        assert ended.code == 2 and "expected one of full, compact, auto" in ended.err
