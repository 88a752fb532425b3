"""Bundles and peers side by side: what is timed, against what, and where the time goes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from dtgd_edge.benchmarks import contestant, peers
from dtgd_edge.benchmarks.breakdown import COLUMNS, breakdown
from dtgd_edge.benchmarks.contestant import ON_GPU, Contestant, Kind, noise
from dtgd_edge.benchmarks.peers import compare
from dtgd_edge.benchmarks.tables import Outcome
from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.peers import gpu_ideals
from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.export import gpu_ideal
from dtgd_edge.runtime.doctor import finding
from dtgd_edge.runtime.doctor.backends import check_onnxruntime
from dtgd_edge.runtime.session import open_session
from dtgd_edge.runtime.sessions import ort
from tests.export.graphs import convolution, integer_convolution

MACS = 16 * 16 * 9 * 32 * 32
HAS_OPENVINO = finding("openvino").is_usable
ON_CUDA = check_onnxruntime(Path("/"))[1]


def plain(name: str, kind: Kind = "peer", is_integer: bool = False) -> Contestant:
    model = integer_convolution(16, 16, 32) if is_integer else convolution(16, 16, 32)
    return Contestant(
        name=name,
        kind=kind,
        precision="int8" if is_integer else "fp32",
        graph=model.SerializeToString(),
        feed=noise((1, 16, 32, 32)),
        float_macs=0 if is_integer else MACS,
        integer_macs=MACS if is_integer else 0,
        size_bytes=1 << 20,
    )


@pytest.fixture
def ours(tiny_bundle: Bundle) -> Contestant:
    feed = tiny_bundle.golden.frames[:1]
    return Contestant("ours", "ours", "fp32", tiny_bundle.graph, feed, 0, 0, 1 << 21, tiny_bundle)


@pytest.fixture
def everybody(ours: Contestant) -> list[Contestant]:
    """A bundle, two peers and an ideal graph of each arithmetic."""
    ideals = [plain("float", "ideal"), plain("integer", "ideal", True)]
    return [ours, plain("a"), plain("b", is_integer=True), *ideals]


def test_ctrl_c_ends_the_rounds_and_what_was_measured_stays(everybody: list[Contestant]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    said: list[str] = []
    found = compare(everybody, "a", frames=50, warm_up=1, threads=1, say=said.append, progress=stop)
    assert found.frames == 3 and "stopped after 3 of 50 frames" in said
    assert {row.ms.count for row in found.rows} == {3}
    with pytest.raises(KeyboardInterrupt):  # nothing was measured yet
        compare(everybody, "a", frames=50, warm_up=4, threads=1, progress=stop)


def test_everybody_is_timed_in_the_same_rounds(everybody: list[Contestant]) -> None:
    rounds: list[tuple[int, int]] = []
    found = compare(
        everybody, "a", frames=4, warm_up=1, threads=1, progress=lambda *done: rounds.append(done)
    )
    rows = [row for row in found.rows if row.runtime == "ort"]
    assert [(row.name, row.precision, row.ms.count) for row in rows] == [
        ("ours", "fp32", 4),
        ("a", "fp32", 4),
        ("b", "int8", 4),
    ]
    assert rounds == [(done, 5) for done in range(1, 6)]
    speeds = [row.speed for row in rows]
    assert all(speed is not None and speed.lower <= speed.median <= speed.upper for speed in speeds)
    assert speeds[1] is not None and speeds[1].lower == speeds[1].upper == 1.0
    assert found.threads == 1 and found.machine.packages["onnxruntime"]


def test_the_limit_is_what_the_multiplications_take_at_the_peak(everybody: list[Contestant]) -> None:
    a, b = everybody[1], everybody[2]
    double = replace(a, name="double", float_macs=2 * MACS, integer_macs=3 * MACS)
    found = compare([*everybody, double], "a", frames=3, warm_up=1, threads=1)
    peaks = {peak.arithmetic: peak for peak in found.peaks if peak.is_limit}
    assert {"fp32", "int8"} <= peaks.keys()
    limits = {row.name: row.limit_ms for row in found.rows if row.runtime == "ort"}
    floats, integers = (MACS / peaks[name].gmacs_per_s / 1e6 for name in ("fp32", "int8"))
    assert limits[a.name] == pytest.approx(floats)
    assert limits[b.name] == pytest.approx(integers)
    assert limits["double"] is not None and limits["double"] > 2 * min(floats, integers)
    # The tiny bundle multiplies nothing.
    assert limits["ours"] is None
    assert found.peaks[0].is_limit
    rates = [peak.gmacs_per_s for peak in found.peaks]
    assert rates == sorted(rates, reverse=True)


def test_without_ideal_graphs_there_is_no_limit(ours: Contestant) -> None:
    found = compare([ours, plain("a")], "a", frames=2, warm_up=1, threads=1)
    assert found.peaks == () and all(row.above_limit is None for row in found.rows)
    assert "Distance to the limit" not in found.text()


def test_accuracy_stands_beside_the_times(everybody: list[Contestant]) -> None:
    said: list[str] = []
    outcomes = [
        Outcome("a", "tile", 0, image_auroc=0.9, aupro=0.8),
        Outcome("a", "tile", 1, image_auroc=0.7, aupro=0.6),
        Outcome("nobody", "tile"),
    ]
    found = compare(everybody[:2], "a", frames=2, warm_up=1, threads=1, accuracy=outcomes, say=said.append)
    heading, _, peer, *_ = found.accuracies()
    assert heading == ["tile"]
    assert peer == ["0.800 / - / 0.700"]
    assert any("'nobody' belongs to none of ours, a" in text for text in said)
    lines = [line for line in found.text().splitlines() if line.startswith("| a |")]
    assert lines[0].endswith("| 0.800 / - / 0.700 |")
    assert found.record()["accuracy"][0]["measures"]["image_auroc"]["mean"] == pytest.approx(0.8)


def test_what_a_runtime_refuses_is_named_and_the_others_go_on(everybody: list[Contestant]) -> None:
    broken = replace(everybody[1], name="broken", graph=b"no graph")
    found = compare(
        [*everybody, broken], "a", frames=2, warm_up=1, threads=1, left_out={"x.onnx": "it is none"}
    )
    assert {row.name for row in found.rows} == {"ours", "a", "b"}
    assert "refuses the graph of 'broken'" in found.left_out["broken in ONNX Runtime"]
    assert "Not timed: x.onnx: it is none." in found.text()
    if not HAS_OPENVINO:
        assert "pip install openvino" in found.left_out["OpenVINO"]
        assert {row.runtime for row in found.rows} == {"ort"}


@pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO is not installed")
def test_both_runtimes_and_what_openvino_does_when_left_alone(everybody: list[Contestant]) -> None:
    found = compare(everybody, "a", frames=3, warm_up=1, threads=1)
    precisions = {(row.name, row.runtime): row.precision for row in found.rows}
    assert precisions["a", "openvino"] == "fp32" and precisions["ours", "openvino"] == "fp32"
    assert precisions.get(("a", "openvino-own"), "bf16") != "fp32"
    assert ("ours", "openvino-own") not in precisions
    reference = next(row for row in found.rows if (row.name, row.runtime) == ("a", "openvino"))
    assert reference.speed is not None and reference.speed.median == 1.0
    assert found.machine.packages["openvino"]


@pytest.mark.parametrize(
    ("change", "reference", "complaint"),
    [
        (lambda everybody: everybody, "c", "the reference 'c' is not there; expected one of ours, a, b"),
        (lambda everybody: everybody, "float", "the reference 'float' is not there"),
        (lambda everybody: [*everybody, everybody[1]], "a", "two graphs are called 'a'"),
    ],
)
def test_mistaken_names(
    everybody: list[Contestant],
    change: Callable[[list[Contestant]], list[Contestant]],
    reference: str,
    complaint: str,
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        compare(change(everybody), reference, frames=1, warm_up=1)


def test_the_breakdown_adds_up_and_knows_what_an_integer_convolution_is() -> None:
    floats, integers = (breakdown(plain("p", is_integer=kind), threads=1, calls=3) for kind in (False, True))
    for found in (floats, integers):
        assert tuple(found.shares) == COLUMNS
        assert sum(found.shares.values()) == pytest.approx(1)
        assert found.shares["convolutions"] > 0 and found.ms > 0
    # Q/DQ nodes around a convolution become one integer kernel; what is left of them stands alone.
    assert "QLinearConv" in integers.operators and "Conv" not in integers.operators
    assert integers.shares["quantise"] > 0 == floats.shares["quantise"]


def test_the_breakdown_of_a_bundle(ours: Contestant) -> None:
    found = breakdown(ours, threads=1, calls=3)
    assert found.name == "ours" and found.shares["convolutions"] == 0
    assert found.shares["elementwise"] > 0 and found.shares["layout"] > 0
    with pytest.raises(BackendError, match="refuses the graph of 'ours'"):
        breakdown(replace(ours, graph=b"no graph"), threads=1)


def test_a_peer_may_be_a_file(tmp_path: Path) -> None:
    onnx.save(convolution(16, 16, 32), tmp_path / "peer.onnx")
    peer = replace(plain("peer"), graph=tmp_path / "peer.onnx")
    found = compare([peer], "peer", frames=2, warm_up=1, threads=1)
    assert found.rows[0].ms.count == 2
    assert found.breakdowns[0].shares["convolutions"] > 0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is the CPU in disguise: ONNX Runtime's CUDA provider is pretended to be there."""
    monkeypatch.setattr(peers, "driver_fault", lambda: "")

    def on_cpu(graph: bytes | Path, name: str, options: Any, *, has_tf32: bool = False) -> Any:
        return ort.open_graph(graph, name, options)

    def session(bundle: Bundle, backend: str, threads: int) -> Any:
        return open_session(bundle, "ort" if backend == "ort-cuda" else backend, threads)

    monkeypatch.setattr(ort, "open_graph_on_cuda", on_cpu)
    monkeypatch.setattr(contestant, "open_session", session)


@pytest.fixture
def for_gpu(monkeypatch: pytest.MonkeyPatch) -> list[Contestant]:
    """What a GPU is measured by, in sizes that a CPU has done in no time."""
    sizes = {"CHANNELS": 16, "SIDE": 8, "BATCH": 2, "MATRIX_SIDE": 64, "COPIES": 2, "COPIED_VALUES": 1 << 18}
    for name, size in sizes.items():
        monkeypatch.setattr(gpu_ideal, name, size)
    return gpu_ideals()


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_each_graph_has_a_line_and_a_peer_one_for_what_the_runtime_does_alone(
    everybody: list[Contestant], for_gpu: list[Contestant]
) -> None:
    half = replace(everybody[1], name="half", precision="fp16")
    found = compare([*everybody, half, *for_gpu], "a", frames=3, warm_up=1, threads=1)
    rows = [(row.name, row.runtime, row.precision) for row in found.rows if row.runtime in ON_GPU]
    assert rows == [
        ("ours", "ort-cuda", "fp32"),
        ("a", "ort-cuda", "fp32"),
        ("b", "ort-cuda", "int8 as fp32"),
        ("half", "ort-cuda", "fp16"),
        ("a", "ort-cuda-own", "tf32"),
    ]
    reference = next(row for row in found.rows if (row.name, row.runtime) == ("a", "ort-cuda"))
    assert reference.speed is not None and reference.speed.median == 1.0
    names = {each.name for each in for_gpu}
    assert all(peak.runtime in ON_GPU or peak.graph not in names for peak in found.peaks), (
        "a GPU's ideal graphs are not run on the CPU"
    )
    limits = {(peak.arithmetic, peak.runtime in ON_GPU) for peak in found.peaks if peak.is_limit}
    assert {("fp32", False), ("int8", False), ("fp32", True), ("fp16", True), ("tf32", True)} <= limits


@pytest.mark.usefixtures("gpu")
def test_the_roofline_is_the_longer_of_multiplications_and_weights(
    everybody: list[Contestant], for_gpu: list[Contestant]
) -> None:
    idle = replace(everybody[1], name="idle", float_macs=1)
    found = compare([*everybody, idle, *for_gpu], "a", frames=3, warm_up=1, threads=1)
    assert found.roofline is not None
    lines = {(line.name, line.precision): line for line in found.roofline.lines}
    line = lines["idle", "fp32"]
    assert line.weights_ms == pytest.approx(idle.graph_bytes / found.roofline.copy_gb_per_s / 1e6)
    assert line.macs_ms is not None and line.macs_ms < line.weights_ms
    limit = next(row.limit_ms for row in found.rows if (row.name, row.runtime) == ("idle", "ort-cuda"))
    assert limit == pytest.approx(line.weights_ms)
    assert line.nodes is not None and line.nodes >= 1 and line.nodes_ms is not None
    assert "### The GPU's roofline" in found.text() and "GB/s read and written" in found.text()
    assert found.record()["roofline"]["lines"][0]["name"] == "ours"


def test_without_a_driver_nothing_is_said_of_a_gpu(
    everybody: list[Contestant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "driver_fault", lambda: "no driver")
    found = compare(everybody, "a", frames=1, warm_up=1, threads=1)
    assert found.roofline is None and "ONNX Runtime CUDA" not in found.left_out
    assert "roofline" not in found.text()


def test_a_gpu_that_onnx_runtime_cannot_use_is_named(
    everybody: list[Contestant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "driver_fault", lambda: "")
    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    found = compare(everybody, "a", frames=1, warm_up=1, threads=1)
    assert "was built with CPU; expected CUDA" in found.left_out["ONNX Runtime CUDA"]
    assert found.roofline is None and {row.runtime for row in found.rows} <= {
        "ort",
        "openvino",
        "openvino-own",
    }


@pytest.mark.skipif(not ON_CUDA.is_usable, reason=f"{ON_CUDA.name}: {ON_CUDA.detail}")
def test_on_a_real_gpu(everybody: list[Contestant]) -> None:
    for_gpu = gpu_ideals()
    found = compare([*everybody, *for_gpu], "a", frames=5, warm_up=2, threads=1)
    assert {"ours", "a"} <= {row.name for row in found.rows if row.runtime == "ort-cuda"}
    assert found.roofline is not None and found.roofline.copy_gb_per_s > 1
    peaks = {peak.arithmetic: peak.gmacs_per_s for peak in found.peaks if peak.runtime in ON_GPU}
    assert peaks["fp16"] > 0 and peaks["tf32"] > 0
