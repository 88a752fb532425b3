"""Quantised graphs of one trained graph: calibrated once, made as often as the search needs them."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from dtgd_edge.export.calibration import Ranges, calibrating, require_pictures, tensor_ranges
from dtgd_edge.export.levels import memory_edge, with_calibrated_levels
from dtgd_edge.export.nearest import with_nearest_products
from dtgd_edge.export.onnx import node_scopes
from dtgd_edge.export.placement import (
    ALWAYS_FLOAT,
    MEMORY,
    TENSORRT_FLOAT,
    cpu_placed,
    is_within,
    tensorrt_placed,
)
from dtgd_edge.export.rounding import Means, channel_means, with_centred_rounding
from dtgd_edge.export.stem import RAW, front_nodes, with_raw_stems, without_rounding
from dtgd_edge.export.strides import with_folded_strides
from dtgd_edge.export.sums import with_channel_products
from dtgd_edge.export.target import Target
from dtgd_edge.train.levels import LevelRule


class Quantiser:
    """Makes INT8 graphs for one target.

    Args:
        model: float32, from `onnx_from_graph`.
        target: placement, calibration and what stays float.
        frames: uint8 [K, H, W, 3], good and defective; they set the ranges.
        normals: uint8 [N, H, W, 3], held-out good frames, for the levels; None: leave the levels.
        half: the same graph with float16 convolutions; needed where target.rest is "fp16".
        origin: where the frames come from, for errors.
        rule: how the scoring graph weighs its levels; None: calibrated, and there is no memory.
    """

    def __init__(
        self,
        model: ModelProto,
        target: Target,
        frames: NDArray[np.uint8],
        normals: NDArray[np.uint8] | None = None,
        half: ModelProto | None = None,
        origin: str = "the checkpoint",
        rule: LevelRule | None = None,
    ) -> None:
        assert target.rest == "fp32" or half is not None, "a float16 rest needs the float16 graph"
        self.target = target
        self._frames = frames
        self._normals = normals
        self._origin = origin
        self._rule = rule or LevelRule()
        self._float = with_channel_products(model) if target.placement == "cpu" else model
        self._base = half if target.rest == "fp16" and half is not None else self._float

    @cached_property
    def ranges(self) -> Ranges:
        """Of the float32 graph's tensors; a BackendError if the frames cannot set them."""
        return tensor_ranges(self._float, self._frames, self.target.calibration, self._origin)

    @cached_property
    def means(self) -> Means:
        """Of what the float32 graph's convolutions read; errors as for `ranges`."""
        require_pictures(self._frames, self._origin)
        return channel_means(self._float, calibrating(self._frames, self.target.calibration))

    @property
    def model(self) -> ModelProto:
        """The float32 graph that is quantised."""
        return self._float

    def quantised(self, float_modules: tuple[str, ...] = ()) -> ModelProto:
        """Make a graph.

        Args:
            float_modules: modules to leave in float, beside those of the target.

        Raises:
            BackendError: the frames cannot set ranges, or the quantiser refuses the graph.
        """
        if self.target.placement == "cpu":
            made = self._for_cpu(float_modules)
        else:
            floats = self.float_nodes(float_modules)
            rounded = with_centred_rounding(self._base, self.means, floats)
            made = tensorrt_placed(rounded, self.ranges, floats)
        if self._normals is None:
            return made
        return with_calibrated_levels(made, self._base, self._normals, self._rule)

    def float_nodes(self, float_modules: tuple[str, ...] = ()) -> set[str]:
        """Names of the nodes that stay float."""
        always = ALWAYS_FLOAT if self.target.placement == "cpu" else (*ALWAYS_FLOAT, *TENSORRT_FLOAT)
        modules = (*always, *self.target.float_modules, *float_modules)
        names = {n for n, scope in node_scopes(self._base).items() if not scope or is_within(scope, modules)}
        return names | set(self.target.float_nodes) | last_sums(self._base)

    def _for_cpu(self, float_modules: tuple[str, ...]) -> ModelProto:
        floats = self.float_nodes(float_modules)
        raw = with_raw_stems(self._float, floats)
        means = {**self.means, RAW: self._frames.mean((0, 1, 2))}
        rounded = with_folded_strides(with_centred_rounding(raw, means, floats))
        ranges = {**self.ranges, RAW: (0.0, 255.0)}
        placed = without_rounding(cpu_placed(rounded, ranges, floats | front_nodes(rounded)))
        is_float = MEMORY in (*self.target.float_modules, *float_modules)
        return with_nearest_products(placed, 0.0 if is_float else memory_edge(self._float, self._rule))


def last_sums(model: ModelProto) -> set[str]:
    """The residual sums whose features the tail compares.

    Left in float they cost next to nothing, and the features reach the cosine without one more rounding.
    """
    scopes = node_scopes(model)
    made_by = {output: node for node in model.graph.node for output in node.output}
    names = set()
    for node in model.graph.node:
        if scopes[node.name] != "tail":
            continue
        for name in node.input:
            relu = made_by.get(name)
            if relu is not None and relu.op_type == "Cast":
                relu = made_by.get(relu.input[0])
            if relu is None or relu.op_type != "Relu" or (add := made_by.get(relu.input[0])) is None:
                continue
            if add.op_type == "Add":
                names |= {relu.name, add.name}
    return names
