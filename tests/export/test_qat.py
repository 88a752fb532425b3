"""Quantisation-aware fine-tuning: it lowers the error that rounding makes, and leaves its input alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import onnx_from_graph
from dtgd_edge.export.qat import conv_input_ranges, fine_tuned
from dtgd_edge.export.target import Target
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import distil


def test_fine_tuning_brings_rounded_distances_nearer(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    frames, recipe = checkpoint.frames(), checkpoint.record.recipe
    graph = distil(checkpoint, frames)
    before = {name: t.clone() for name, t in graph.state_dict().items()}
    quantiser = Quantiser(onnx_from_graph(graph), Target(), frames.fitted)
    inputs = conv_input_ranges(quantiser.model, quantiser.ranges)
    assert len(inputs) > 50 and set(inputs) <= {name for name, _ in graph.named_modules()}
    losses: list[float] = []
    tuned = fine_tuned(graph, inputs, recipe, frames, 40, lambda step, loss: losses.append(loss))
    assert len(losses) == 40
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])
    for name, tensor in graph.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert not any(parametrize.is_parametrized(m) for m in tuned.modules())
    assert set(tuned.state_dict()) == set(before)
    teacher = "network.teacher.layer1.0.conv1.weight"
    torch.testing.assert_close(tuned.state_dict()[teacher], before[teacher], rtol=0, atol=0)
    # Its own float scores stay close to the trained ones: the task was not learnt anew.
    wanted, found = graph.score(frames.normals).score, tuned.score(frames.normals).score
    assert found == pytest.approx(wanted, rel=0.2)
