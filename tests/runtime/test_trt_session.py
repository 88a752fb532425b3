"""The TensorRT session's whole logic, on a fake device with a fake TensorRT."""

import importlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, BackendUnavailable, PlanMismatch, ShapeError
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.session import check_golden
from dtgd_edge.runtime.sessions import trt as trt_session
from dtgd_edge.runtime.sessions.trt import TrtSession, prove_plan
from dtgd_edge.runtime.trt import build as trt_build
from dtgd_edge.runtime.trt.build import BuildOptions, plan_from_bundle
from dtgd_edge.runtime.trt.library import Library, libraries_for_run
from tests.runtime.fakes import DESKTOP, ORIN, TENSORS, FakeCuda, FakeTensorRT, fake_library

WHITE = np.full((1, 64, 64, 3), 255, np.uint8)
GREY = np.full((1, 64, 64, 3), 128, np.uint8)


class Bench:
    """A device, a library and a cache, and what opens a session on them."""

    def __init__(self, bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = bundle
        self.plans = PlanCache(folder)
        self.cuda = FakeCuda()
        self.library = fake_library(self.cuda)
        self.trt: FakeTensorRT = self.library.module
        monkeypatch.setattr(trt_session, "libraries_for_run", lambda wanted: [self.library])
        monkeypatch.setattr(trt_build, "library_for_build", lambda wanted, has_gpu: self.library)

    def device(self, cuda: FakeCuda) -> None:
        self.cuda = self.trt.cuda = cuda

    def open(self, **options: object) -> TrtSession:
        return TrtSession(self.bundle, plans=self.plans, cuda=self.cuda, **{"build": True, **options})  # type: ignore[arg-type]


@pytest.fixture
def bench(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tiny_bundle, tmp_path / "plans", monkeypatch)


# ------------------------------------------------------------------------------- scoring


@pytest.mark.parametrize("is_captured", [True, False])
@pytest.mark.parametrize("gpu", [DESKTOP, ORIN], ids=["copies", "shared memory"])
def test_scores_as_the_graph_does(bench: Bench, gpu: object, is_captured: bool) -> None:
    bench.device(FakeCuda(gpu))  # type: ignore[arg-type]
    with bench.open(is_captured=is_captured) as session:
        assert session.is_graph_captured is is_captured
        assert session.spec.backend == "tensorrt" and session.spec.size_hw == (64, 64)
        assert session.spec.device == f"{bench.cuda.gpu.name} (TensorRT 10.3.0, fake)"
        assert check_golden(bench.bundle, session) < 1e-5
        first = session.score(WHITE)
        assert first.score[0] == pytest.approx(127 / 32) and first.map.shape == (1, 64, 64)
        kept = first.map.copy()
        session.score(GREY)
        assert np.array_equal(first.map, kept), "scores belong to the caller"
        wide = np.full((1, 64, 128, 3), 255, np.uint8)
        assert np.array_equal(session.score(wide[:, :, ::2]).map, kept)
    assert bench.cuda.is_closed


def test_memory_is_allocated_once_and_shared_memory_is_not_copied(bench: Bench) -> None:
    with bench.open(is_captured=False) as session:
        assert [bench.cuda.calls.count(name) for name in ("malloc", "host")] == [3, 3]
        bench.cuda.calls.clear()
        session.score(WHITE)
        assert bench.cuda.calls == ["in", "run", "out", "out", "synchronise"]
    bench.device(FakeCuda(ORIN))
    with bench.open(is_captured=False) as session:
        assert [bench.cuda.calls.count(name) for name in ("malloc", "host")] == [0, 3]
        bench.cuda.calls.clear()
        session.score(WHITE)
        assert bench.cuda.calls == ["run", "synchronise"]


def test_a_captured_graph_is_one_launch(bench: Bench) -> None:
    with bench.open() as session:
        bench.cuda.calls.clear()
        session.score(WHITE)
        assert bench.cuda.calls == ["launch", "synchronise"]


def test_without_capture_it_falls_back(bench: Bench) -> None:
    bench.device(FakeCuda(can_capture=False))
    with bench.open() as session:
        assert not session.is_graph_captured
        assert session.score(WHITE).score[0] == pytest.approx(127 / 32)


def test_device_times(bench: Bench) -> None:
    with bench.open() as session:
        assert session.device_ms == {}
    with bench.open(is_timed=True, is_captured=False) as session:
        session.score(WHITE)
        assert list(session.device_ms) == ["copy in", "compute", "copy out"]
        assert all(ms > 0 for ms in session.device_ms.values())
    with bench.open(is_timed=True) as session:
        session.score(WHITE)
        assert session.device_ms["device"] > 0


def test_other_frames_other_threads_and_closed_sessions_are_refused(bench: Bench) -> None:
    session = bench.open()
    with pytest.raises(ShapeError, match=r"Geometry\.apply"):
        session.score(np.zeros((1, 32, 64, 3), np.uint8))
    errors: list[BaseException] = []

    def score() -> None:
        try:
            session.score(WHITE)
        except BackendError as exc:
            errors.append(exc)

    thread = threading.Thread(target=score)
    thread.start()
    thread.join()
    assert "another thread" in str(errors[0])
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.score(WHITE)


# ------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("stage", "kind", "words"),
    [
        ("builder", BackendUnavailable, "cannot start a builder (CUDA initialization failure"),
        ("parse", BackendError, "node '/head/Det' (Det): the operator is not supported"),
        ("build", BackendError, "OutOfMemory (Requested size was 33771776 bytes); expected one; close"),
        ("runtime", BackendError, "cannot start"),
        ("engine", PlanMismatch, "does not take the plan: Serialization assertion"),
        ("context", BackendError, "has no memory to run the plan in"),
        ("bind", BackendError, "refuses the address of 'frames'"),
        ("run", BackendError, "failed while scoring"),
    ],
)
def test_tensorrts_refusals_are_sentences(
    bench: Bench, stage: str, kind: type[BackendError], words: str
) -> None:
    bench.trt.refuses = stage
    with pytest.raises(kind) as refused:
        bench.open()
    text = str(refused.value)
    assert words in text and "\n" not in text and "catchCudaError" not in text
    assert bench.cuda.is_closed, "nothing stays open"


def test_cudas_refusals_pass_with_their_name(bench: Bench) -> None:
    session = bench.open(is_captured=False)
    for call in ("in", "run", "out", "synchronise"):
        bench.cuda.fails_at = call
        with pytest.raises(BackendError, match="cudaErrorIllegalAddress"):
            session.score(WHITE)


@pytest.mark.parametrize("half", ["build", "run"])
def test_tensors_that_are_not_the_manifests_are_refused(bench: Bench, half: str) -> None:
    mode, dtype, _ = TENSORS["map"]
    if half == "run":
        bench.open().close()
    bench.trt.tensors["map"] = (mode, dtype, (1, 32, 32))
    expected = PlanMismatch if half == "run" else BackendError
    with pytest.raises(expected, match=r"'map' float32 \[1, 32, 32\].*manifest says .*64, 64") as refused:
        bench.open(build=half == "build")
    assert type(refused.value) is expected


def test_a_session_that_disagrees_with_the_golden_scores_is_refused(bench: Bench) -> None:
    bench.trt.gain = 1.01
    with bench.open() as session, pytest.raises(BackendError, match="golden frame"):
        check_golden(bench.bundle, session)


def test_a_new_plan_that_disagrees_is_thrown_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_session, "driver_fault", lambda: "")
    monkeypatch.setattr(trt_session, "open_cuda", lambda: bench.cuda)
    plan = plan_from_bundle(bench.bundle, BuildOptions(), bench.plans, DESKTOP)
    assert prove_plan(bench.bundle, plan, bench.plans) == pytest.approx(0, abs=1e-5)
    bench.trt.gain = 1.01
    with pytest.raises(BackendError, match="golden frame"):
        prove_plan(bench.bundle, plan, bench.plans)
    assert not plan.path.exists()
    bench.device(FakeCuda(ORIN))
    assert prove_plan(bench.bundle, plan, bench.plans) is None, "not for this GPU"
    monkeypatch.setattr(trt_session, "driver_fault", lambda: "no driver")
    assert prove_plan(bench.bundle, plan, bench.plans) is None


def test_quantised_for_the_cpu_is_refused_before_anything_is_opened(bench: Bench) -> None:
    manifest = replace(bench.bundle.manifest, precision="int8", placement="cpu")
    bench.bundle = replace(bench.bundle, manifest=manifest)
    with pytest.raises(BackendError, match="--target tensorrt"):
        bench.open()
    assert bench.cuda.calls == []


# ------------------------------------------------------------------------------- plans


def test_without_leave_to_build_a_missing_plan_is_an_error(bench: Bench) -> None:
    with pytest.raises(PlanMismatch, match=r"no plan of this graph .*dtgd-edge build BUNDLE, .*run --build"):
        bench.open(build=False)
    assert bench.trt.built == 0 and bench.cuda.is_closed


def test_a_plan_is_built_once(bench: Bench) -> None:
    bench.open().close()
    with bench.open(build=False) as session:
        assert session.plan.is_hit
    assert bench.trt.built == 1


@pytest.mark.parametrize("change", ["version", "gpu"])
def test_another_version_or_gpu_is_refused_with_the_difference_or_built_again(
    bench: Bench, change: str
) -> None:
    bench.open().close()
    if change == "version":
        bench.trt.__version__ = "10.16.2"
    else:
        bench.device(FakeCuda(ORIN))
    words = "version 10.3.0 .here: 10.16.2" if change == "version" else "gpu RTX 4090 .here: Orin"
    with pytest.raises(PlanMismatch, match=words):
        bench.open(build=False)
    bench.open().close()
    assert bench.trt.built == 2


def test_a_damaged_plan_is_refused_or_built_again(bench: Bench) -> None:
    with bench.open() as session:
        path = session.plan.path
    path.write_bytes(b"engine of somebody else")
    with pytest.raises(PlanMismatch, match="damaged"):
        bench.open(build=False)
    said: list[str] = []
    bench.open(say=said.append).close()
    assert bench.trt.built == 2 and any("building again" in text for text in said)


def test_a_kept_plan_that_tensorrt_refuses_is_built_again(bench: Bench) -> None:
    """For instance after an update of the driver, which no key knows about."""
    bench.open().close()
    deserialise, refusals = bench.trt.Runtime, [None]

    def refuse_once(logger: object) -> object:
        runtime = deserialise(logger)
        if refusals:
            runtime.deserialize_cuda_engine = lambda content: refusals.pop()
        return runtime

    bench.trt.Runtime = refuse_once  # type: ignore[method-assign]
    with bench.open() as session:
        assert not session.plan.is_hit
    assert bench.trt.built == 2
    refusals.append(None)
    with pytest.raises(PlanMismatch, match="does not take the plan"):
        bench.open(build=False)


def test_memory_limit_of_small_boards_and_timing_cache(bench: Bench) -> None:
    bench.open().close()
    assert bench.trt.config.pools == {} and bench.trt.config.caches == [b""]
    bench.device(FakeCuda(ORIN))
    with bench.open() as session:
        assert session.plan.record.memory_limit_mib == 1500
    assert bench.trt.config.pools == {"workspace": 1500 << 20}
    timings = list(bench.plans.folder.glob("*.timing"))
    assert [path.name for path in sorted(timings)] == [
        "tensorrt-10.3.0-Orin.timing",
        "tensorrt-10.3.0-RTX_4090.timing",
    ]
    plan_from_bundle(bench.bundle, BuildOptions(is_forced=True, memory_limit_mib=64), bench.plans, ORIN, 3000)
    assert bench.trt.config.caches == [b"timings"] and bench.trt.config.pools == {"workspace": 64 << 20}
    timings[0].write_bytes(b"of another GPU")
    timings[1].write_bytes(b"of another GPU")
    plan_from_bundle(bench.bundle, BuildOptions(is_forced=True), bench.plans, ORIN, 3000)
    assert bench.trt.config.caches == [b"of another GPU", b""]


def test_the_lean_runtime_runs_version_compatible_plans_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, lean_module = bench.library, FakeTensorRT(bench.cuda)

    class Lean:
        """The module without the names of the build half."""

        def __getattr__(self, name: str) -> object:
            if name in ("Builder", "OnnxParser", "NetworkDefinitionCreationFlag"):
                raise AttributeError(name)
            return getattr(lean_module, name)

    lean = Library("lean", Lean())
    assert not lean.can_build and full.can_build
    plan_from_bundle(bench.bundle, BuildOptions(), bench.plans, DESKTOP)
    monkeypatch.setattr(trt_session, "libraries_for_run", lambda wanted: [lean])
    with pytest.raises(PlanMismatch, match="no version-compatible plan for TensorRT's lean runtime"):
        bench.open(build=False)
    options = BuildOptions(is_version_compatible=True)
    plan_from_bundle(bench.bundle, options, bench.plans, DESKTOP, library=full)
    assert bench.trt.config.flags == ["compatible", "exclude"]
    with bench.open(build=False) as session:
        assert "lean runtime" in session.spec.device
        assert check_golden(bench.bundle, session) < 1e-5


# ------------------------------------------------------------------------------- before the device


def test_no_tensorrt_object_before_a_device_has_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu() -> FakeCuda:
        raise BackendUnavailable("no NVIDIA GPU answers on this machine")

    touched: list[str] = []
    runtime: Callable[..., object] = lambda logger: touched.append("runtime")  # noqa: E731
    monkeypatch.setattr(bench.trt, "Runtime", runtime)
    monkeypatch.setattr(trt_session, "open_cuda", no_gpu)
    with pytest.raises(BackendUnavailable, match="no NVIDIA GPU answers"):
        TrtSession(bench.bundle, plans=bench.plans, build=True)
    assert touched == [] and bench.trt.built == 0


def test_nothing_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BackendUnavailable, match=r"pip install 'dtgd-edge\[tensorrt\]'"):
        libraries_for_run("auto")

    def broken(name: str) -> object:
        raise ImportError("libnvonnxparser.so.11: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"tensorrt: libnvonnxparser\.so\.11"):
        libraries_for_run("tensorrt")
