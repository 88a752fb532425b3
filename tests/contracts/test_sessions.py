"""What every session keeps to, whatever its backend."""

import dataclasses
import functools

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle, TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError, ShapeError
from dtgd_edge.runtime.doctor import examine
from dtgd_edge.runtime.session import BACKENDS, SESSIONS, Session, open_session

FRAMES = np.full((1, 64, 64, 3), 200, np.uint8)


FINDINGS = {
    "ort-cuda": "ONNX Runtime (CUDA)",
    "ort-tensorrt": "ONNX Runtime (TensorRT)",
    "openvino": "OpenVINO",
    "tensorrt": "NVIDIA GPU",
}


examined = functools.cache(examine)


def opened(bundle: Bundle, backend: str) -> Session:
    """Open a session, or skip for the reason that the doctor gives; without one, not opening is a failure."""
    try:
        return open_session(bundle, backend)
    except BackendUnavailable:
        found = next((f for f in examined() if f.name == FINDINGS.get(backend)), None)
        if found is None or found.is_usable:
            raise
        pytest.skip(f"{found.name}: {found.detail}")


@pytest.fixture(params=BACKENDS)
def session(request: pytest.FixtureRequest, tiny_bundle: Bundle) -> Session:
    return opened(tiny_bundle, request.param)


def test_spec_is_the_manifests(session: Session) -> None:
    assert (session.spec.batch, session.spec.size_hw) == (1, (64, 64))
    assert session.spec.backend in SESSIONS and session.spec.device


def test_scores_have_the_promised_shapes_and_dtypes(session: Session) -> None:
    scores = session.score(FRAMES)
    assert (scores.score.shape, scores.score.dtype) == ((1,), np.float32)
    assert (scores.map.shape, scores.map.dtype) == ((1, 64, 64), np.float32)


def test_scores_belong_to_the_caller(session: Session) -> None:
    first = session.score(FRAMES)
    kept = first.score.copy(), first.map.copy()
    session.score(FRAMES // 2)
    assert np.array_equal(first.score, kept[0]) and np.array_equal(first.map, kept[1])
    first.map[:] = 7.0  # writable, and of no consequence to the session
    first.score[:] = 7.0
    assert np.array_equal(session.score(FRAMES).map, kept[1])


def test_frames_are_not_changed_and_need_not_be_contiguous(session: Session) -> None:
    wide = np.full((1, 64, 128, 3), 200, np.uint8)
    session.score(wide[:, :, ::2])
    assert (wide == 200).all()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 64, 64, 3), np.uint8),
        np.zeros((1, 32, 64, 3), np.uint8),
        np.zeros((1, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
    ],
)
def test_other_frames_are_refused(session: Session, frames: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"Geometry\.apply"):
        session.score(frames)


def test_closed_is_closed(session: Session) -> None:
    with session as entered:
        assert entered is session
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.score(FRAMES)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_input_that_is_no_frame_is_refused(tiny_bundle: Bundle, backend: str) -> None:
    opened(tiny_bundle, backend).close()
    spec = TensorSpec("frames", "float32", (1, 3, 64, 64))
    bundle = dataclasses.replace(tiny_bundle, manifest=dataclasses.replace(tiny_bundle.manifest, input=spec))
    with pytest.raises(BackendError, match="float32"):
        open_session(bundle, backend)


def test_unknown_backend_names_the_known(tiny_bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="auto, ort, ort-cuda, ort-tensorrt, openvino, tensorrt, null"):
        open_session(tiny_bundle, "cuda")
