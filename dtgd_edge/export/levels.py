"""Calibrate the tail's levels again after quantisation.

Rounding adds to every distance between teacher and decoder, so the median good distance that the trained
graph was calibrated with lies too low for the quantised one. Two numbers per level put that right, at no
cost in time; on the pretend part it cut the score error of good parts by more than half.
"""

import copy

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from dtgd_edge.export.onnx import node_scopes
from dtgd_edge.export.probe import probed
from dtgd_edge.train.levels import LevelRule
from dtgd_edge.train.networks import LEVELS


def with_calibrated_levels(
    model: ModelProto,
    float_model: ModelProto,
    normals: NDArray[np.uint8],
    rule: LevelRule,
) -> ModelProto:
    """Set each level's centre and scale from good frames, as `calibrate_levels` did before quantisation.

    Args:
        model: quantised.
        float_model: what it was made from; its nodes still say which module they belong to.
        normals: uint8 [N, H, W, 3], held-out good parts.
        rule: of the scoring graph.
    """
    constants = _constants(float_model)
    columns = zip(*probed(model, [distance for distance, _, _ in constants], normals), strict=True)
    changed = copy.deepcopy(model)
    distances = [np.concatenate([distance.ravel() for distance in column]) for column in columns]
    pairs = rule.constants(distances)
    values: dict[str, float] = {}
    for (_, *names), pair in zip(constants, pairs, strict=True):
        values |= {name: value for name, value in zip(names, pair, strict=True) if name}
    for initializer in changed.graph.initializer:
        if initializer.name in values:
            old = numpy_helper.to_array(initializer)
            new = np.full(old.shape, values[initializer.name], old.dtype)
            initializer.CopyFrom(numpy_helper.from_array(new, initializer.name))
    return changed


def memory_edge(model: ModelProto, rule: LevelRule) -> float:
    """How much farther from the memory the edge of normal is than a usual good part; 0 without a memory.

    Args:
        model: float32, from `onnx_from_graph`.
        rule: of the scoring graph.
    """
    if rule.memory_weight is None:
        return 0.0
    *_, (_, _, name) = _constants(model)
    (scale,) = (numpy_helper.to_array(i) for i in model.graph.initializer if i.name == name)
    return float(scale.max()) * rule.memory_share


def _constants(model: ModelProto) -> list[tuple[str, str, str]]:
    """Per level: the distance's tensor, and the constants that are taken off it and divide it.

    The exporter drops a centre of 0, which all fusions but "calibrated" have; its name is "" then.
    """
    scopes = node_scopes(model)
    made_by = {o: n for n in model.graph.node for o in n.output}
    constants = {i.name for i in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "Div" or scopes[node.name] != "tail" or node.input[1] not in constants:
            continue
        less = made_by[node.input[0]]
        if less.op_type == "Sub" and less.input[1] in constants:
            found.append((less.input[0], less.input[1], node.input[1]))
        elif less.op_type == "Sub" or scopes[less.name] == "memory":
            found.append((less.output[0], "", node.input[1]))
    assert len(found) in (LEVELS, LEVELS + 1), "the tail is (distance - centre) / scale"
    return found
