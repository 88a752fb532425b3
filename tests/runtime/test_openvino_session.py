"""OpenVINO: ONNX Runtime's scores in float32, half the bits only where the threshold allows for it."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.doctor import finding
from dtgd_edge.runtime.session import check_golden, open_session, score_all

NAME = "dtgd_edge.runtime.sessions.openvino"


def test_without_openvino_the_install_line_is_given(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = sys.modules.get(NAME)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(BackendUnavailable, match="pip install openvino"):
        open_session(tiny_bundle, "openvino")
    if kept is not None:
        monkeypatch.setitem(sys.modules, NAME, kept)
        assert importlib.import_module(NAME) is kept


@pytest.fixture
def needs_openvino() -> None:
    found = finding("openvino")
    if not found.is_usable:
        pytest.skip(f"OpenVINO {found.detail}; {found.fix}")


@pytest.mark.usefixtures("needs_openvino")
class TestOpenVino:
    """Needs the library."""

    def test_scores_as_onnx_runtime_does(self, tiny_bundle: Bundle) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
        with open_session(tiny_bundle, "openvino") as ours, open_session(tiny_bundle, "ort") as reference:
            found, expected = score_all(ours, frames), score_all(reference, frames)
            assert check_golden(tiny_bundle, ours) < 1e-5
        np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
        np.testing.assert_allclose(found.map, expected.map, atol=1e-5)

    def test_says_where_it_runs(self, tiny_bundle: Bundle) -> None:
        with open_session(tiny_bundle, "openvino", threads=1) as session:
            assert session.spec.device.startswith("CPU (OpenVINO ")
            assert session.spec.device.endswith("f32, 1 thread)")

    @pytest.mark.parametrize(
        ("precision", "session", "hint"),
        [
            ("fp32", "openvino", "f32"),
            ("int8", "openvino", "f32"),
            ("fp16", "ort", "f32"),
            ("fp16", "openvino", "f16"),
        ],
    )
    def test_half_precision_only_where_the_threshold_allows_for_it(
        self, tiny_bundle: Bundle, precision: str, session: str, hint: str
    ) -> None:
        from dtgd_edge.runtime.sessions.openvino import precision_hint

        manifest = dataclasses.replace(tiny_bundle.manifest, precision=precision, session=session)
        assert precision_hint(manifest) == hint
        with open_session(dataclasses.replace(tiny_bundle, manifest=manifest), "openvino") as opened:
            # A processor without half precision computes in float32 whatever it is told.
            assert (", f32, " in opened.spec.device) or hint == "f16"

    def test_a_broken_graph_is_refused_in_one_sentence(self, tiny_bundle: Bundle) -> None:
        broken = dataclasses.replace(tiny_bundle, graph=b"not a graph")
        with pytest.raises(BackendError, match="refuses the graph of 'tiny'") as caught:
            open_session(broken, "openvino")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "spec",
        [
            TensorSpec("pictures", "uint8", (1, 64, 64, 3)),
            TensorSpec("frames", "uint8", (1, 96, 64, 3)),
            TensorSpec("frames", "uint8", (2, 64, 64, 3)),
        ],
    )
    def test_a_graph_that_is_not_what_the_manifest_says(self, tiny_bundle: Bundle, spec: TensorSpec) -> None:
        manifest = dataclasses.replace(tiny_bundle.manifest, input=spec)
        with pytest.raises(BackendError, match="the graph's input is 'frames' uint8"):
            open_session(dataclasses.replace(tiny_bundle, manifest=manifest), "openvino")

    def test_swapped_outputs_are_noticed(self, tiny_bundle: Bundle) -> None:
        score, anomaly_map = tiny_bundle.manifest.outputs
        manifest = dataclasses.replace(tiny_bundle.manifest, outputs=(anomaly_map, score))
        with pytest.raises(BackendError, match="the graph's output is 'score'"):
            open_session(dataclasses.replace(tiny_bundle, manifest=manifest), "openvino")
