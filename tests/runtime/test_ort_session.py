"""ONNX Runtime: right scores, and clear words when it cannot."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, Golden, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.session import check_golden, open_session
from dtgd_edge.runtime.sessions.null import NullSession
from dtgd_edge.runtime.sessions.ort import OrtSession


def test_scores_as_the_graph_says(tiny_bundle: Bundle) -> None:
    frames = np.full((1, 64, 64, 3), 128, np.uint8)
    frames[0, 3, 5] = 0
    with OrtSession(tiny_bundle, threads=1) as session:
        scores = session.score(frames)
    assert scores.score[0] == pytest.approx(4.0)
    assert np.argwhere(scores.map[0] > 2).tolist() == [[3, 5]]


def test_says_where_it_runs(tiny_bundle: Bundle) -> None:
    assert OrtSession(tiny_bundle, threads=1).spec.device.endswith(", 1 thread)")
    assert OrtSession(tiny_bundle, threads=2).spec.device.startswith("CPU (ONNX Runtime ")


def test_a_broken_graph_is_refused_in_one_sentence(tiny_bundle: Bundle) -> None:
    broken = dataclasses.replace(tiny_bundle, graph=b"not a graph")
    with pytest.raises(BackendError, match="refuses the graph of 'tiny'") as caught:
        OrtSession(broken)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("pictures", "uint8", (1, 64, 64, 3)),
        TensorSpec("frames", "uint8", (1, 96, 64, 3)),
        TensorSpec("frames", "uint8", (2, 64, 64, 3)),
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says(tiny_bundle: Bundle, spec: TensorSpec) -> None:
    manifest = dataclasses.replace(tiny_bundle.manifest, input=spec)
    with pytest.raises(BackendError, match="the graph's input is 'frames'"):
        OrtSession(dataclasses.replace(tiny_bundle, manifest=manifest))


def test_swapped_outputs_are_noticed(tiny_bundle: Bundle) -> None:
    score, anomaly_map = tiny_bundle.manifest.outputs
    manifest = dataclasses.replace(tiny_bundle.manifest, outputs=(anomaly_map, score))
    with pytest.raises(BackendError, match="the graph's output is 'score'"):
        OrtSession(dataclasses.replace(tiny_bundle, manifest=manifest))


def test_without_onnxruntime_the_install_line_is_given(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "dtgd_edge.runtime.sessions.ort"
    kept = sys.modules[name]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendUnavailable, match="pip install onnxruntime"):
        open_session(tiny_bundle, "ort")
    monkeypatch.setitem(sys.modules, name, kept)
    assert importlib.import_module(name) is kept


def test_golden_frames_prove_a_session(tiny_bundle: Bundle) -> None:
    with OrtSession(tiny_bundle) as session:
        assert check_golden(tiny_bundle, session) < 1e-5


@pytest.mark.parametrize("wrong", [1.1, float("nan"), float("inf")])
def test_a_session_that_disagrees_is_refused(tiny_bundle: Bundle, wrong: float) -> None:
    score = tiny_bundle.golden.score.copy()
    score[1] = wrong
    bundle = dataclasses.replace(tiny_bundle, golden=Golden(tiny_bundle.golden.frames, score))
    with OrtSession(bundle) as session, pytest.raises(BackendError, match="golden frame 1 scores 1 "):
        check_golden(bundle, session)


def test_a_bundle_without_golden_frames_proves_nothing(tiny_bundle: Bundle) -> None:
    golden = Golden(tiny_bundle.golden.frames[:0], tiny_bundle.golden.score[:0])
    bundle = dataclasses.replace(tiny_bundle, golden=golden)
    with OrtSession(bundle) as session, pytest.raises(BackendError, match="0 golden frames"):
        check_golden(bundle, session)


def test_the_last_golden_frame_counts_whatever_the_batch(tiny_bundle: Bundle) -> None:
    spec = TensorSpec("frames", "uint8", (2, 64, 64, 3))
    manifest = dataclasses.replace(tiny_bundle.manifest, input=spec)
    bundle = dataclasses.replace(tiny_bundle, manifest=manifest)
    with NullSession(bundle) as session, pytest.raises(BackendError, match="golden frame 1 "):
        check_golden(bundle, session)
    golden = Golden(bundle.golden.frames, np.array([0, 0, 3], np.float32))
    bundle = dataclasses.replace(bundle, golden=golden)
    with NullSession(bundle) as session, pytest.raises(BackendError, match="golden frame 2 "):
        check_golden(bundle, session)
