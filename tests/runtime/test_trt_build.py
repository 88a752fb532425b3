"""Real engines, built by TensorRT for RTX without a GPU, from graphs of a few kilobytes."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError
from dtgd_edge.runtime.cuda_driver import Gpu, driver_fault
from dtgd_edge.runtime.plan import Plan
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.sessions.trt import TrtSession, prove_plan
from dtgd_edge.runtime.trt.build import BuildOptions, plan_from_bundle
from dtgd_edge.runtime.trt.builder import BuildRequest, plan_from_onnx
from dtgd_edge.runtime.trt.library import Library, library_for_build
from tests.runtime.fakes import DESKTOP, ORIN, has_rtx

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs of these tests")
TensorProto, helper = onnx.TensorProto, onnx.helper
HAS_RTX, WHY_NOT = has_rtx()
pytestmark = pytest.mark.skipif(not HAS_RTX, reason=WHY_NOT)
NO_GPU = pytest.mark.skipif(not driver_fault(), reason="a GPU answers here")

FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def rtx() -> Library:
    return library_for_build("rtx", has_gpu=False)


def onnx_bytes(nodes: list[onnx.NodeProto], arrays: Arrays, opset: int = 20, check: bool = True) -> bytes:
    """A graph from uint8 frames to score and map."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, 64, 64, 3])],
        [
            helper.make_tensor_value_info("score", FLOAT, [1]),
            helper.make_tensor_value_info("map", FLOAT, [1, 64, 64]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    if check:
        onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def convolution(precision: str) -> bytes:
    """Cast, permute, a convolution in the given precision, then a float32 head."""
    kind, numpy_kind = (HALF, np.float16) if precision == "fp16" else (FLOAT, np.float32)
    weights = np.random.default_rng(0).normal(0, 0.1, (16, 3, 3, 3)).astype(numpy_kind)
    arrays: Arrays = {"colours": np.array([1]), "pixels": np.array([1, 2]), "weights": weights}
    nodes = [
        helper.make_node("Cast", ["frames"], ["values"], to=kind),
        helper.make_node("Transpose", ["values"], ["image"], perm=[0, 3, 1, 2]),
    ]
    inputs = ["image", "weights"]
    if precision == "int8":  # the TensorRT placement: symmetric int8, per channel, no bias
        scale = np.abs(weights).max((1, 2, 3)) / np.float32(127)
        del arrays["weights"]
        arrays["weights_int8"] = np.round(weights / scale[:, None, None, None]).astype(np.int8)
        arrays["weights_scale"] = scale
        arrays["weights_zero"] = np.zeros(16, np.int8)
        arrays["image_scale"], arrays["image_zero"] = np.float32(2.0), np.int8(0)
        image = ["image_scale", "image_zero"]
        nodes += [
            helper.make_node("QuantizeLinear", ["image", *image], ["image_int8"]),
            helper.make_node("DequantizeLinear", ["image_int8", *image], ["image_q"]),
            helper.make_node(
                "DequantizeLinear", ["weights_int8", "weights_scale", "weights_zero"], ["weights_q"], axis=0
            ),
        ]
        inputs = ["image_q", "weights_q"]
    nodes += [
        helper.make_node("Conv", inputs, ["features"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Cast", ["features"], ["island"], to=FLOAT),
        helper.make_node("Mul", ["island", "island"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "colours"], ["map"], keepdims=0),
        helper.make_node("ReduceMax", ["map", "pixels"], ["score"], keepdims=0),
    ]
    return onnx_bytes(nodes, {name: np.asarray(array) for name, array in arrays.items()})


def bundle_of(bundle: Bundle, precision: str) -> Bundle:
    graph = convolution(precision)
    manifest = replace(
        bundle.manifest,
        precision=precision,  # type: ignore[arg-type]
        placement="tensorrt" if precision == "int8" else "float",
        graph_sha256=hashlib.sha256(graph).hexdigest(),
    )
    return replace(bundle, graph=graph, manifest=manifest)


def build(bundle: Bundle, folder: Path, *capabilities: str, gpu: Gpu | None = None) -> Plan:
    return plan_from_bundle(bundle, BuildOptions("rtx", capabilities), PlanCache(folder), gpu)


# ------------------------------------------------------------------------------- real engines


@pytest.mark.parametrize(
    "capabilities", [(), ("8.6",), ("12.0", "8.6", "8.9")], ids=["all", "one", "several"]
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engine_and_record(
    tiny_bundle: Bundle, rtx: Library, tmp_path: Path, precision: str, capabilities: tuple[str, ...]
) -> None:
    bundle = bundle_of(tiny_bundle, precision)
    plan = build(bundle, tmp_path / "a", *capabilities)
    record = plan.record
    assert plan.path.read_bytes() == plan.engine and len(plan.engine) == record.engine_bytes > 10_000
    assert (record.key.library, record.key.version, record.key.gpu) == ("rtx", rtx.version, "")
    wanted = tuple(sorted(capabilities, key=float)) or rtx.capabilities
    assert record.key.targets == wanted and record.key.precision == precision
    assert record.inputs == (bundle.manifest.input,) and set(record.outputs) == set(bundle.manifest.outputs)
    again = build(bundle, tmp_path / "a", *capabilities)
    assert again.is_hit and again.engine == plan.engine
    elsewhere = build(bundle, tmp_path / "b", *capabilities)
    assert not elsewhere.is_hit and elsewhere.engine == plan.engine, "the same bytes when built again"


def test_a_rebuild_when_graph_version_or_capability_differ(
    tiny_bundle: Bundle, rtx: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(tiny_bundle, "fp32")
    first = build(bundle, tmp_path, "8.6")
    assert not build(bundle_of(tiny_bundle, "fp16"), tmp_path, "8.6").is_hit
    assert not build(bundle, tmp_path, "8.9").is_hit
    assert not build(bundle, tmp_path, "8.6", "8.9").is_hit
    monkeypatch.setattr(rtx.module, "__version__", "9.9.9")
    assert not build(bundle, tmp_path, "8.6").is_hit
    monkeypatch.undo()
    assert build(bundle, tmp_path, "8.6").path == first.path
    assert build(bundle, tmp_path, gpu=DESKTOP).record.key.targets == ("8.9",), "the GPU that is here"


def test_bytes_are_the_same_in_another_process(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = bundle_of(tiny_bundle, "int8")
    plan = build(bundle, tmp_path / "a", "8.9")
    bundle.save(tmp_path / "b.dtgd")
    command = [
        sys.executable,
        "-m",
        "dtgd_edge.cli.app",
        "build",
        tmp_path / "b.dtgd",
        "--out",
        tmp_path / "b",
    ]
    done = subprocess.run(
        [*command, "--library", "rtx", "--compute-capability", "8.9"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / plan.path.name).read_bytes() == plan.engine


def test_progress_is_shown(rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtgd_edge.runtime.trt.log.SAY_EVERY_S", 0.0)
    said: list[str] = []
    plan_from_onnx(rtx, convolution("fp32"), BuildRequest(("8.6",)), said.append)
    assert len(said) > 5 and all(
        re.match(r"building the engine, \d+ s: Building engine", text) for text in said
    )


def test_ctrl_c_ends_the_build(rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtgd_edge.runtime.trt.log.SAY_EVERY_S", 0.0)

    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan_from_onnx(rtx, convolution("fp32"), BuildRequest(("8.6",)), interrupt)


# ------------------------------------------------------------------------------- refusals


def test_the_parsers_own_text_is_shown(rtx: Library) -> None:
    def refusal(nodes: list[onnx.NodeProto], arrays: Arrays) -> str:
        with pytest.raises(BackendError) as refused:
            plan_from_onnx(rtx, onnx_bytes(nodes, arrays, check=False), BuildRequest())
        assert "\n" not in str(refused.value) and rtx.title in str(refused.value)
        return str(refused.value)

    tail = [
        helper.make_node("ReduceMean", ["values", "colours"], ["map"], keepdims=0),
        helper.make_node("ReduceMax", ["map", "pixels"], ["score"], keepdims=0),
    ]
    axes: Arrays = {"colours": np.array([3]), "pixels": np.array([1, 2])}
    cast = helper.make_node("Cast", ["frames"], ["cast"], to=FLOAT)

    transposed = helper.make_node("Transpose", ["frames"], ["turned"], perm=[0, 2, 1, 3], name="turn")
    text = refusal([transposed, helper.make_node("Cast", ["turned"], ["values"], to=FLOAT), *tail], axes)
    assert "UInt8" in text and "Transpose" in text

    custom = helper.make_node("Sparkle", ["cast"], ["values"], domain="com.example", name="spark")
    text = refusal([cast, custom, *tail], axes)
    assert "node 'spark' (Sparkle)" in text and "Plugin not found" in text

    determinant = helper.make_node("Det", ["cast"], ["values"], name="det")
    assert "node 'det' (Det): the operator is not supported" in refusal([cast, determinant, *tail], axes)

    flat = [
        cast,
        helper.make_node("Reshape", ["cast", "shape"], ["row"]),
        helper.make_node("TopK", ["row", "k"], ["largest", "places"], axis=1, name="top"),
        helper.make_node("ReduceMean", ["largest", "one"], ["score"], keepdims=0),
        helper.make_node("ReduceMean", ["cast", "colours"], ["map"], keepdims=0),
    ]
    shape: Arrays = {"shape": np.array([1, 64 * 64 * 3]), "k": np.array([3841]), "one": np.array([1])}
    assert "3840" in refusal(flat, {**axes, **shape})

    with pytest.raises(BackendError, match=r"refuses the graph: .*Failed to parse the ONNX model"):
        plan_from_onnx(rtx, b"garbage", BuildRequest())


def test_an_empty_graph_and_other_tensors_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="output"):  # TensorRT's parser says yes to no bytes at all
        build(replace(tiny_bundle, graph=b""), tmp_path)
    outputs = tiny_bundle.manifest.outputs
    renamed = replace(tiny_bundle.manifest, outputs=(outputs[0], replace(outputs[1], name="heat")))
    with pytest.raises(BackendError, match=r"manifest says .*'heat'"):
        build(replace(tiny_bundle, manifest=renamed), tmp_path)
    assert not list(tmp_path.glob("*.engine"))


def test_too_little_memory_says_what_to_raise(rtx: Library) -> None:
    size = 2048
    shape = [1, size, size, 3]
    nodes = [
        helper.make_node("Cast", ["frames"], ["values"], to=FLOAT),
        helper.make_node("Transpose", ["values"], ["image"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "weights"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("TopK", ["features", "k"], ["largest", "places"], axis=3),
    ]
    arrays = {"weights": np.ones((16, 3, 3, 3), np.float32), "k": np.array([100])}
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("largest", FLOAT, [1, 16, size, 100])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(BackendError, match=r"built no engine: .*workspace.*raise --memory-limit-mib above 1"):
        plan_from_onnx(rtx, model.SerializeToString(), BuildRequest(("8.6",), memory_limit_mib=1))


@pytest.mark.parametrize("capability", ["9.0", "8.7", "86", "8.6.1", "ampere"])
def test_other_capabilities_are_refused(tiny_bundle: Bundle, tmp_path: Path, capability: str) -> None:
    with pytest.raises(ConfigError, match=f"{capability}.*8.6"):
        build(tiny_bundle, tmp_path, capability)
    with pytest.raises(ConfigError, match=r"8\.7 is not known to TensorRT for RTX"):
        build(tiny_bundle, tmp_path, gpu=ORIN)


def test_version_compatible_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    options = BuildOptions("rtx", is_version_compatible=True)
    with pytest.raises(BackendUnavailable, match="full TensorRT"):
        plan_from_bundle(tiny_bundle, options, PlanCache(tmp_path), None)


@NO_GPU
def test_running_where_no_driver_answers_is_one_sentence(tiny_bundle: Bundle, tmp_path: Path) -> None:
    plan = build(tiny_bundle, tmp_path)
    assert prove_plan(tiny_bundle, plan, PlanCache(tmp_path)) is None
    for options in ({}, {"plan": plan}, {"build": True}):
        with pytest.raises(BackendUnavailable, match="no NVIDIA GPU answers") as refused:
            TrtSession(tiny_bundle, plans=PlanCache(tmp_path), **options)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value) and "--backend ort" in str(refused.value)
