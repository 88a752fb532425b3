import json
import os
from pathlib import Path

import pytest

from dtgd_edge.errors import BundleError, ConfigError, DataError
from dtgd_edge.workspace import GRAPHS, known_graph, newest_bundle, newest_checkpoint


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


def _run(workspace: Path, name: str, age_s: int, source: str | None, holds: bool | None = None) -> Path:
    folder = workspace / "runs" / name
    path = _touch(folder / "checkpoint.json", age_s)
    path.write_text(json.dumps({"source": source, "weights_sha256": name}))
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    if holds is not None:
        (folder / "comparison.json").write_text(json.dumps({"weights_sha256": name, "holds": holds}))
    return folder


def test_the_newest_checkpoint_of_a_graph(tmp_path: Path) -> None:
    full = _run(tmp_path, "full", 30, None)
    compact = _run(tmp_path, "compact", 20, "full", holds=True)
    assert newest_checkpoint(tmp_path) == newest_checkpoint(tmp_path, "full") == full
    assert newest_checkpoint(tmp_path, "compact") == newest_checkpoint(tmp_path, "auto") == compact
    newer = _run(tmp_path, "newer", 10, None)
    assert newest_checkpoint(tmp_path, "auto") == newest_checkpoint(tmp_path, "full") == newer


@pytest.mark.parametrize("comparison", [None, {"weights_sha256": "compact", "holds": False}, {"holds": True}])
def test_auto_passes_over_a_compact_checkpoint_that_is_not_known_to_hold(
    tmp_path: Path, comparison: dict[str, object] | None
) -> None:
    full = _run(tmp_path, "full", 30, None)
    compact = _run(tmp_path, "compact", 20, "full")
    if comparison is not None:
        (compact / "comparison.json").write_text(json.dumps(comparison))
    assert newest_checkpoint(tmp_path, "auto") == full
    assert newest_checkpoint(tmp_path, "compact") == compact


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
    with pytest.raises(DataError, match=r"no compact checkpoint .* dtgd-edge distil"):
        newest_checkpoint(tmp_path, "compact")


def test_graphs_are_known_by_name() -> None:
    assert [known_graph(name) for name in GRAPHS] == list(GRAPHS)
    with pytest.raises(ConfigError, match="'thin' is not known; expected one of full, compact, auto"):
        known_graph("thin")
