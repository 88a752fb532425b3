"""Weights for the teacher: which files are taken, which are refused, and what happens offline."""

import hashlib
import http.client
import io
import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train import teacher as teacher_module
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.recipe import Recipe, StudentRecipe, TeacherRecipe
from dtgd_edge.train.teacher import IMAGENET, ImageNetFile, load_teacher, resolved, shipped_weights
from dtgd_edge.workspace import cache_folder


def _state(name: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Weights with torchvision's names, the classifier's included."""
    with torch.device("meta"):
        state = ResNet(backbone_spec(name)).state_dict()
    fake = {k: torch.full(v.shape, 0.01, dtype=dtype) for k, v in state.items() if v.is_floating_point()}
    return fake | {"fc.weight": torch.zeros(1000, 4), "fc.bias": torch.zeros(1000)}


def _saved(state: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def _load(weights: str, backbone: str = "auto") -> teacher_module.Teacher:
    return load_teacher(TeacherRecipe(backbone, weights), lambda text: None)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network and an empty cache."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "cache"))


def _serve(monkeypatch: pytest.MonkeyPatch, content: bytes, sha256: str) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: io.BytesIO(content))
    monkeypatch.setitem(IMAGENET, "resnet18", ImageNetFile("https://example.org/resnet18-fake.pth", sha256))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "wide_resnet50_2"])
def test_files_with_torchvisions_names_are_recognised(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    teacher = _load(_saved(_state(name, torch.float16), path))
    path.unlink()
    assert (teacher.backbone, teacher.origin) == (name, f"mine{suffix}")
    assert not teacher.network.training
    assert {p.dtype for p in teacher.network.parameters()} == {torch.float32}
    assert teacher.network.conv1.weight.mean().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_value_of_a_file_arrives(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    state = ResNet(backbone_spec("resnet18_quarter"), stages=4).state_dict()
    loaded = _load(_saved(state, tmp_path / f"w{suffix}")).network.state_dict()
    assert loaded and all(torch.equal(v, state[k]) for k, v in loaded.items())


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_pickled_code_is_refused_and_never_run(tmp_path: Path, by: str) -> None:
    path, trap = tmp_path / "bomb.pth", tmp_path / "ran"
    if by == "torch":
        torch.save({"conv1.weight": _Bomb(trap)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": _Bomb(trap)}))
    with pytest.raises(DataError, match=r"bomb\.pth"):
        _load(str(path))
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04", b"\xff" * 64])
def test_files_of_another_kind_are_refused_in_one_sentence(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="other") as caught:
        _load(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = Path(_saved(_state("resnet18_quarter"), tmp_path / f"cut{suffix}"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cut"):
        _load(str(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(DataError, match="not a file; expected imagenet, shipped, random or a path"):
            _load(str(path))


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.zeros(2), {"epoch": 3}])
def test_other_contents_than_a_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match="does not hold a state dict"):
        _load(_saved(content, tmp_path / "w.pth"))


def test_foreign_names_are_refused(tmp_path: Path) -> None:
    foreign = {f"module.{k}": v for k, v in _state("resnet18_quarter").items()}
    with pytest.raises(DataError, match="holds no ResNet weights with torchvision's names"):
        _load(_saved(foreign, tmp_path / "w.safetensors"))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state = _state("resnet18")
    del state["layer3.1.bn2.running_var"], state["layer3.1.bn2.weight"]
    with pytest.raises(DataError, match=r"lacks layer3\.1\.bn2\..* \(and 1 more\)"):
        _load(_saved(state, tmp_path / "w.safetensors"))


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = _state("resnet18") | {"layer3.0.conv1.weight": torch.zeros(3, 3)}
    with pytest.raises(DataError, match=r"does not fit resnet18 .*layer3\.0\.conv1\.weight"):
        _load(_saved(state, tmp_path / "w.safetensors"))


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = _saved(_state("resnet34"), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"holds resnet34 weights; expected resnet18; change teacher"):
        _load(path, "resnet18")
    assert _load(path, "resnet34").backbone == "resnet34"


def test_the_shipped_weights_give_finite_and_varied_features() -> None:
    teacher = _load("shipped")
    assert (teacher.backbone, teacher.origin) == ("resnet18_half", "shipped with dtgd-edge")
    torch.manual_seed(0)
    with torch.inference_mode():
        features = teacher.network(torch.randn(2, 3, 64, 64))
    for feature in features:
        assert feature.isfinite().all()
        assert feature.std() > 1e-3
        assert (feature[0] - feature[1]).abs().max() > 1e-3
    assert all(v.isfinite().all() for v in shipped_weights().values())


def test_random_weights_follow_from_the_seed() -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(_load("random", "resnet18_quarter").network)
    first, again, other = (n.conv1.weight for n in networks)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert _load("random").backbone == "resnet18"


def test_offline_the_download_fails_with_one_clear_sentence() -> None:
    with pytest.raises(
        DataError, match=r"cannot be downloaded \(no route to host\); expected a net"
    ) as caught:
        _load("imagenet")
    text = str(caught.value)
    assert "\n" not in text and str(cache_folder() / "resnet18-f37072fd.pth") in text and "--weights" in text


@pytest.mark.parametrize("error", [TimeoutError("slow"), http.client.IncompleteRead(b"half")])
def test_a_connection_that_breaks_off_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken(io.BytesIO):
        def read(self, *args: object) -> bytes:
            raise error

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Broken())
    with pytest.raises(DataError, match="cannot be downloaded"):
        _load("imagenet")
    assert not cache_folder().exists()


def test_offline_auto_falls_back_to_the_shipped_teacher_and_says_so() -> None:
    said: list[str] = []
    teacher = load_teacher(TeacherRecipe(), said.append)
    assert teacher.origin == "shipped with dtgd-edge"
    assert len(said) == 1 and "no route to host" in said[0] and "--weights PATH" in said[0]


def test_offline_auto_does_not_replace_a_backbone_that_was_asked_for() -> None:
    with pytest.raises(DataError, match="cannot be downloaded"):
        _load("auto", "resnet50")


def test_there_are_no_imagenet_weights_for_our_own_backbones() -> None:
    with pytest.raises(ConfigError, match="no ImageNet weights are published for 'resnet18_half'"):
        _load("imagenet", "resnet18_half")


def test_a_download_is_checked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = io.BytesIO()
    torch.save(_state("resnet18", torch.float16), memory)
    content = memory.getvalue()
    _serve(monkeypatch, content, hashlib.sha256(content).hexdigest())
    assert _load("imagenet").backbone == "resnet18"
    assert [p.name for p in cache_folder().iterdir()] == ["resnet18-fake.pth"]
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert _load("auto").origin == "ImageNet (torchvision)"


def test_a_replaced_download_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, b"an error page", "f37072fd")
    with pytest.raises(DataError, match=r"expected f37072fd\.\.\.; the download was damaged or replaced"):
        _load("imagenet")
    assert not cache_folder().exists()


def test_backbones_are_filled_in() -> None:
    def student(teacher: str, student: str = "auto") -> str:
        plan = Recipe(teacher=TeacherRecipe("auto", "shipped"), student=StudentRecipe(student))
        filled = resolved(plan, teacher)
        assert filled.teacher.backbone == teacher
        return filled.student.backbone

    assert student("resnet18_half") == "resnet18_half"
    assert student("wide_resnet50_2") == "resnet18"
    assert student("wide_resnet50_2", "resnet34") == "resnet34"


def test_the_encoder_starts_as_a_teacher_of_its_kind() -> None:
    def start(teacher: str, student: StudentRecipe) -> str:
        return resolved(Recipe(student=student), teacher).student.start

    assert start("resnet18_half", StudentRecipe()) == "teacher"
    assert start("resnet18_half", StudentRecipe(start="random")) == "random"
    assert start("wide_resnet50_2", StudentRecipe()) == "random"
    with pytest.raises(ConfigError, match="the student is a resnet18 and the teacher a wide_resnet50_2"):
        start("wide_resnet50_2", StudentRecipe(start="teacher"))
