"""Weights in whole steps whose errors average out."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from dtgd_edge.export.rounding import Means, with_centred_rounding
from tests.export.graphs import Constants, model_of

MEANS: Means = {"x": np.array([40.0, 5.0, 0.5, 12.0]), "y": np.linspace(1.0, 80.0, 6)}


@pytest.fixture
def model() -> ModelProto:
    """A convolution with a bias and, behind it, a grouped one without."""
    rng = np.random.default_rng(0)
    constants: Constants = {
        "w": rng.standard_normal((6, 4, 3, 3), np.float32),
        "b": rng.standard_normal(6, np.float32),
        "v": rng.standard_normal((9, 2, 5, 5), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "dense"),
        helper.make_node("Conv", ["y", "v"], ["z"], "grouped", group=3),
    ]
    return model_of(nodes, [1, 4, 9, 9], constants)


def _values(model: ModelProto) -> dict[str, NDArray[np.float64]]:
    return {i.name: numpy_helper.to_array(i).astype(np.float64) for i in model.graph.initializer}


def _grouped_alone(model: ModelProto) -> ModelProto:
    values = {n: v.astype(np.float32) for n, v in _values(model).items()}
    (node,) = (n for n in model.graph.node if n.name == "grouped")
    wanted = list(node.input[1:])
    alone = helper.make_node("Conv", ["x", *wanted], ["z"], group=3)
    return model_of([alone], [1, 6, 7, 7], {name: values[name] for name in wanted})


def _output(model: ModelProto, frame: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": frame})[0])


def _even(channels: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    return np.broadcast_to(channels.reshape(1, -1, 1, 1), (1, len(channels), side, side)).astype(np.float32)


def test_weights_are_whole_steps_and_kernels_keep_their_sums(model: ModelProto) -> None:
    wanted, made = _values(model), _values(with_centred_rounding(model, MEANS, set()))
    for name in ("w", "v"):
        step = np.abs(wanted[name]).max((1, 2, 3), keepdims=True) / 127
        steps = made[name] / step
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
        assert np.abs(steps).max((1, 2, 3)) == pytest.approx(127)  # so a quantiser finds the same step
        assert np.abs(made[name] - wanted[name]).max() <= 1.001 * step.max()
        sums = (made[name] - wanted[name]).sum((2, 3))
        assert np.all(np.abs(sums) <= 0.501 * step[..., 0, 0])
        nearest = (np.rint(wanted[name] / step) - wanted[name] / step).sum((2, 3))
        assert np.abs(nearest).max() > 1.0  # rounding each to the nearest would not keep them


def test_what_a_convolution_usually_sees_comes_out_as_before(model: ModelProto) -> None:
    made = with_centred_rounding(model, MEANS, {"grouped"})
    usual = _even(MEANS["x"], 9)
    wanted = _output(model, usual)
    np.testing.assert_allclose(_output(made, usual), wanted, atol=1e-4 * np.abs(wanted).max())
    grouped = with_centred_rounding(model, MEANS, {"dense"})
    usual = _even(MEANS["y"], 7)
    wanted = _output(_grouped_alone(model), usual)
    np.testing.assert_allclose(
        _output(_grouped_alone(grouped), usual), wanted, atol=1e-5 * np.abs(wanted).max()
    )


def test_nodes_that_stay_float_are_left_alone(model: ModelProto) -> None:
    made = with_centred_rounding(model, MEANS, {"dense", "grouped"})
    assert made == model


def test_weights_of_nothing_stay_nothing(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((6, 4, 3, 3), np.float32), "w"))
    made = _values(with_centred_rounding(model, MEANS, set()))
    assert not made["w"].any()
    np.testing.assert_array_equal(made["b"], _values(model)["b"])
