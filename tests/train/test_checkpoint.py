"""A checkpoint on disk: whole or not at all, and one clear error for whatever is wrong with it."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.checkpoint import (
    Checkpoint,
    CheckpointRecord,
    device_from_name,
    save_checkpoint,
    tensors_under,
)
from dtgd_edge.train.recipe import Recipe


def _record(step: int = 1) -> Callable[[str, str], CheckpointRecord]:
    return lambda name, digest: CheckpointRecord(
        1, Recipe(), step, name, digest, "random weights", "data", None, 0.5
    )


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint, free to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "run"))


def _weights(folder: Path) -> Path:
    (path,) = folder.glob("weights-*.safetensors")
    return path


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "checkpoint.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))


def _refused(folder: Path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        checkpoint = Checkpoint.open(folder)
        checkpoint.frames()
        checkpoint.network()
    assert "\n" not in str(caught.value)


def test_what_was_saved_is_opened(tmp_path: Path) -> None:
    tensors = {"student.a": torch.rand(3, 4), "average.a": torch.arange(5)}
    save_checkpoint(tmp_path, tensors, _record(step=12))
    for place in (tmp_path, tmp_path / "checkpoint.json"):
        opened = Checkpoint.open(place)
        assert opened.record == _record(12)(opened.record.weights, opened.record.weights_sha256)
        assert opened.folder == tmp_path
        assert all(torch.equal(opened.tensors[k], v) for k, v in tensors.items())


def test_saving_again_leaves_one_weight_file(tmp_path: Path) -> None:
    for step in (1, 2, 2):
        save_checkpoint(tmp_path, {"a": torch.full((2,), float(step))}, _record(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.json", _weights(tmp_path).name]
    assert Checkpoint.open(tmp_path).tensors["a"][0] == 2


def test_holds_everything_that_resuming_and_exporting_need(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    assert checkpoint.record.step == 40 and checkpoint.record.frame_size_hw == (64, 64)
    assert checkpoint.record.recipe.teacher.backbone == "resnet18_quarter"
    prefixes = {name.split(".")[0] for name in checkpoint.tensors}
    assert prefixes == {"teacher", "student", "average", "adam", "memory"}
    frames = checkpoint.frames()
    assert frames.normals.shape == (6, 64, 64, 3) and frames.masks.dtype == np.bool_
    assert len(frames.defects) == len(frames.masks) > 0 and len(frames.fitted) > 0
    assert not checkpoint.network().training
    memory = checkpoint.memory()
    assert memory is not None and memory.weight == checkpoint.record.recipe.memory.weight


def test_the_network_has_the_averaged_weights(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    average = tensors_under(checkpoint.tensors, "average.")
    state = checkpoint.network().student.state_dict()
    assert state.keys() == average.keys()
    assert all(torch.equal(state[k], v) for k, v in average.items())


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path, "is not a checkpoint; expected a folder with checkpoint.json")
    _refused(tmp_path / "none", "is not a checkpoint")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"5", b'{"schema": null}', b"\xff\xfe", b"{}"])
def test_a_damaged_record_is_refused(copy: Path, content: bytes) -> None:
    (copy / "checkpoint.json").write_bytes(content)
    _refused(copy, "cannot be read")


def test_a_newer_schema_is_refused(copy: Path) -> None:
    _edit(copy, schema=2)
    _refused(copy, "has schema 2; this dtgd-edge reads 1")


@pytest.mark.parametrize(
    "changes", [{"step": "many"}, {"colour": 1}, {"recipe": {"optimiser": {"steps": 0}}}]
)
def test_a_record_that_does_not_fit_is_refused(copy: Path, changes: dict[str, Any]) -> None:
    _edit(copy, **changes)
    _refused(copy, "or train again")


def test_missing_weights_are_refused(copy: Path) -> None:
    _weights(copy).unlink()
    _refused(copy, "cannot be read .*; expected the checkpoint's weights")


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "appended"])
def test_changed_weights_are_refused(copy: Path, damage: str) -> None:
    path, content = _weights(copy), bytearray(_weights(copy).read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    parts = {"truncated": content[:-1], "one bit": content, "empty": b"", "appended": content + b"\n"}
    path.write_bytes(parts[damage])
    _refused(copy, "was changed after it was written")


def _with_weights(folder: Path, content: bytes) -> None:
    _weights(folder).write_bytes(content)
    _edit(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def test_weights_of_another_kind_are_refused(copy: Path) -> None:
    _with_weights(copy, b"not safetensors at all")
    _refused(copy, "is not a safetensors file")


def test_weights_of_another_architecture_are_refused(copy: Path) -> None:
    tensors = Checkpoint.open(copy).tensors
    fewer = {k: v for k, v in tensors.items() if "layer2.1" not in k}
    for other in (fewer, {"average.other": torch.zeros(1)}):
        _with_weights(copy, save(other))
        _refused(copy, "holds weights of another architecture than its recipe describes")


def test_a_recipe_of_another_architecture_is_refused(copy: Path) -> None:
    recipe = msgspec.json.decode((copy / "checkpoint.json").read_bytes())["recipe"]
    for table, name in (("student", "resnet18_half"), ("teacher", "resnet34"), ("teacher", "resnet99")):
        _edit(copy, recipe=recipe | {table: recipe[table] | {"backbone": name}})
        _refused(copy, "another architecture")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no", b"x" * 500])
def test_damaged_frames_are_refused(copy: Path, content: bytes | None) -> None:
    path = copy / "frames.npz"
    path.unlink() if content is None else path.write_bytes(content)
    _refused(copy, r"frames\.npz cannot be read .*; expected the checkpoint's frames")


def test_frames_that_lack_an_array_are_refused(copy: Path) -> None:
    with (copy / "frames.npz").open("wb") as file:
        np.savez(file, normals=np.zeros(1), defects=np.zeros(1))
    _refused(copy, "cannot be read")


def test_pickled_frames_are_refused(copy: Path) -> None:
    with (copy / "frames.npz").open("wb") as file:
        np.savez(file, normals=np.array([print], object))
    _refused(copy, "cannot be read")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_error_and_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save_checkpoint(tmp_path, {"a": torch.zeros(2)}, _record(step=1))

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left on device"):
        patch.setattr(os, call, full)
        save_checkpoint(tmp_path, {"a": torch.ones(2)}, _record(step=2))
    opened = Checkpoint.open(tmp_path)
    assert opened.record.step == 1 and opened.tensors["a"][0] == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_between_weights_and_record_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"a": torch.zeros(2)}, _record(step=1))

    def killed(name: str, digest: str) -> CheckpointRecord:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, {"a": torch.ones(2)}, killed)
    assert Checkpoint.open(tmp_path).record.step == 1
    save_checkpoint(tmp_path, {"a": torch.full((2,), 3.0)}, _record(step=3))
    assert len(list(tmp_path.glob("weights-*"))) == 1


def test_a_file_in_the_way_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(DataError, match="could not be written"):
        save_checkpoint(tmp_path / "run", {"a": torch.zeros(1)}, _record())


def test_device_names() -> None:
    assert device_from_name("cpu") == torch.device("cpu")
    assert device_from_name("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="'tpu' is not known; expected auto, cpu or cuda"):
        device_from_name("tpu")


def test_cuda_without_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no CUDA device; use --device cpu"):
        device_from_name("cuda")
