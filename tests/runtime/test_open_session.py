"""Which session is opened, and that no GPU is ever replaced by a CPU without a word."""

import dataclasses
import sys
import types
from typing import Any

import pytest

from dtgd_edge.bundle import Bundle, Golden
from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError
from dtgd_edge.runtime import choice, probe
from dtgd_edge.runtime.choice import Choice, choose_backend
from dtgd_edge.runtime.cuda_driver import Gpu
from dtgd_edge.runtime.session import SESSIONS, SessionType, check_golden, open_session, session_class
from dtgd_edge.runtime.sessions import ort
from tests.runtime.fakes import ORIN


def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (choice, ort):
        monkeypatch.setattr(module, "cuda_gpus", lambda: (ORIN,))


def without_gpu() -> tuple[Gpu, ...]:
    raise BackendUnavailable("libcuda.so.1 is not on this machine; expected an NVIDIA driver; install it")


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(choice, "is_installed", lambda name: name.partition(".")[0] in names)


def pretend_tensorrt(monkeypatch: pytest.MonkeyPatch, name: str, flags: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(__version__="0", NetworkDefinitionCreationFlag=flags)
    monkeypatch.setitem(sys.modules, name, module)


STRONGLY_TYPED = types.SimpleNamespace(STRONGLY_TYPED=1)


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    monkeypatch.setattr(choice, "cuda_gpus", without_gpu)
    assert choose_backend() == Choice("ort", "no CUDA device: libcuda.so.1 is not on this machine")
    with open_session(tiny_bundle) as session:
        assert session.spec.backend == "ort"


def test_auto_is_tensorrt_where_everything_answers(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle
) -> None:
    with_gpu(monkeypatch)
    installed(monkeypatch, "cuda", "tensorrt")
    pretend_tensorrt(monkeypatch, "tensorrt", STRONGLY_TYPED)
    assert choose_backend(tiny_bundle.manifest) == Choice("tensorrt", "Orin and TensorRT answer")


def test_auto_takes_what_is_sound_of_several_tensorrts(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch)
    installed(monkeypatch, "pycuda", "tensorrt")
    pretend_tensorrt(monkeypatch, "tensorrt", types.SimpleNamespace(EXPLICIT_BATCH=0))
    assert "older than 10.3" in choose_backend().reason
    installed(monkeypatch, "pycuda", "tensorrt", "tensorrt_rtx")
    pretend_tensorrt(monkeypatch, "tensorrt_rtx", STRONGLY_TYPED)
    assert choose_backend().backend == "tensorrt"


def test_auto_is_no_tensorrt_that_does_not_know_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch)
    installed(monkeypatch, "cuda", "tensorrt_rtx")
    pretend_tensorrt(monkeypatch, "tensorrt_rtx", STRONGLY_TYPED)
    rtx = sys.modules["tensorrt_rtx"]
    monkeypatch.setattr(rtx, "ComputeCapability", types.SimpleNamespace(SM86=0, SM89=1), raising=False)
    found = choose_backend()
    assert found.backend == "ort" and "does not know this GPU's compute capability 8.7" in found.reason
    monkeypatch.setattr(rtx, "ComputeCapability", types.SimpleNamespace(SM86=0, SM87=1))
    assert choose_backend().backend == "tensorrt"


@pytest.mark.parametrize(
    ("names", "obstacle"),
    [
        ((), "cuda-python"),
        (("cuda",), "TensorRT is not installed"),
        (("cuda", "tensorrt_lean"), "tensorrt_lean cannot be imported"),
    ],
)
def test_an_idle_gpu_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, names: tuple[str, ...], obstacle: str
) -> None:
    with_gpu(monkeypatch)
    installed(monkeypatch, *names)
    monkeypatch.setitem(sys.modules, "tensorrt_lean", None)
    found = choose_backend()
    assert found.backend == "ort" and obstacle in found.reason
    assert "Orin is here but stays idle" in caplog.text


def test_auto_keeps_a_cpu_placement_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    with_gpu(monkeypatch)
    manifest = dataclasses.replace(tiny_bundle.manifest, precision="int8", placement="cpu")
    found = choose_backend(manifest)
    assert found.backend == "ort" and "--target tensorrt" in found.reason


def test_a_session_that_is_not_written_yet_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = SessionType("nowhere", "NowhereSession", "Nowhere")
    with pytest.raises(BackendUnavailable, match="has no Nowhere session"):
        session_class(missing)
    for kind in SESSIONS.values():
        assert kind.module.isidentifier() and kind.title


def test_threads_are_counted_from_one(tiny_bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="0 threads"):
        open_session(tiny_bundle, "ort", threads=0)
    with open_session(tiny_bundle, "ort", threads=1) as session:
        assert "1 thread)" in session.spec.device


@pytest.mark.parametrize(("backend", "provider"), [("ort-cuda", "CUDA"), ("ort-tensorrt", "Tensorrt")])
def test_a_provider_that_is_not_built_in(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, backend: str, provider: str
) -> None:
    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendUnavailable, match=f"built with CPU; expected {provider}; .*onnxruntime-gpu"):
        open_session(tiny_bundle, backend)


GPU_PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize("backend", ["ort-cuda", "ort-tensorrt"])
def test_a_listed_provider_without_a_driver(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, backend: str
) -> None:
    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: GPU_PROVIDERS)
    monkeypatch.setattr(ort, "cuda_gpus", without_gpu)
    with pytest.raises(BackendUnavailable, match=r"libcuda\.so\.1"):
        open_session(tiny_bundle, backend)


def test_a_listed_provider_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    with_gpu(monkeypatch)
    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: GPU_PROVIDERS)
    monkeypatch.setattr(ort, "provider_fault", lambda name: f"no lib for {name}")
    with pytest.raises(BackendUnavailable, match=r"would run on CPU \(no lib for cuda\); expected CUDA"):
        open_session(tiny_bundle, "ort-cuda")


def test_a_session_that_silently_runs_elsewhere(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    class Fallen:
        """What ONNX Runtime gives when its provider fails while the session is made."""

        def __init__(self, *arguments: object, providers: list[Any], enable_fallback: int) -> None:
            assert providers[0][0] == "CUDAExecutionProvider" and enable_fallback == 0

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    with_gpu(monkeypatch)
    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: GPU_PROVIDERS)
    monkeypatch.setattr(ort.onnxruntime, "InferenceSession", Fallen)
    monkeypatch.setattr(ort, "provider_fault", lambda name: "")
    with pytest.raises(BackendUnavailable, match=r"would run on CPU .*; expected CUDA; .*--backend ort"):
        open_session(tiny_bundle, "ort-cuda")


def test_another_session_than_the_thresholds_is_named(tiny_bundle: Bundle) -> None:
    golden = Golden(tiny_bundle.golden.frames, tiny_bundle.golden.score + 1)
    manifest = dataclasses.replace(tiny_bundle.manifest, session="openvino")
    bundle = dataclasses.replace(tiny_bundle, manifest=manifest, golden=golden)
    with (
        open_session(bundle, "ort") as session,
        pytest.raises(BackendError, match=r"--session ort .*openvino"),
    ):
        check_golden(bundle, session)


def test_what_is_broken_is_tried_elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sound.py").touch()
    (tmp_path / "broken.py").write_text("raise ImportError('libnothing.so: cannot open')")
    (tmp_path / "deadly.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probe.import_fault("sound") == ""
    assert probe.import_fault("broken") == "libnothing.so: cannot open"
    assert probe.import_fault("deadly") == "it ends the process with signal 6"
    assert "libonnxruntime_providers_nothing" in probe.provider_fault("nothing") or "shared" in (
        probe.provider_fault("nothing")
    )
    assert not probe.is_installed("nowhere.at.all")
