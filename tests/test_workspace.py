import os
from pathlib import Path

import pytest

from dtgd_edge.errors import BundleError, DataError
from dtgd_edge.workspace import newest_bundle, newest_checkpoint


def _touch(path: Path, age_s: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    return path


def test_newest_checkpoint_is_the_one_written_last(tmp_path: Path) -> None:
    _touch(tmp_path / "runs" / "z" / "checkpoint.json", 20)
    newest = _touch(tmp_path / "runs" / "a" / "checkpoint.json", 10)
    _touch(tmp_path / "runs" / "m" / "weights.safetensors", 0)
    assert newest_checkpoint(tmp_path) == newest.parent


def test_newest_bundle_is_the_one_written_last(tmp_path: Path) -> None:
    _touch(tmp_path / "bundles" / "z.dtgd", 30)
    newest = _touch(tmp_path / "bundles" / "a.dtgd", 20)
    assert newest_bundle(tmp_path) == newest
    newest = _touch(tmp_path / "b.dtgd", 10)
    assert newest_bundle(tmp_path) == newest


def test_what_is_no_bundle_is_left_out(tmp_path: Path) -> None:
    only = _touch(tmp_path / "bundles" / "a.dtgd", 20)
    _touch(tmp_path / "._a.dtgd", 0)
    (tmp_path / "folder.dtgd").mkdir()
    assert newest_bundle(tmp_path) == only


def test_none_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dtgd-edge train"):
        newest_checkpoint(tmp_path)
    with pytest.raises(BundleError, match="dtgd-edge export"):
        newest_bundle(tmp_path / "nowhere")
