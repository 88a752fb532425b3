"""The value ranges of a float32 graph's tensors, from real frames; INT8 scales come from them."""

import contextlib
import copy
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

from dtgd_edge.errors import BackendError
from dtgd_edge.export.onnx import INPUT, batch_of, drop_unused, node_scopes
from dtgd_edge.export.target import CalibrationTarget
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import picture_paths
from dtgd_edge.train.data import Part, read_frames

# All operations whose inputs or outputs some placement quantises.
OPERATIONS = ["Conv", "Add", "MaxPool", "Concat", "Resize", "Relu"]
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
# A frame whose grey levels span less carries no picture: a covered lens, a lamp that is off.
FLAT_LEVELS = 8

Ranges = dict[str, tuple[float, float]]  # lowest and highest value by the tensor's name


def calibration_frames(folder: Path, geometry: Geometry) -> NDArray[np.uint8]:
    """Read a folder of pictures for calibration, uint8 [K, H, W, 3], as the graph will see them.

    Raises:
        DataError: no pictures, or damaged ones.
    """
    return read_frames([Part(path, False, "good") for path in picture_paths(folder)], geometry)


def calibrating(frames: NDArray[np.uint8], target: CalibrationTarget) -> NDArray[np.uint8]:
    """Those of the frames that are looked at, evenly taken, as many as the target says."""
    rows = np.unique(np.linspace(0, len(frames) - 1, target.frames).round().astype(int))
    return np.take(frames, rows, axis=0)


def tensor_ranges(
    model: ModelProto, frames: NDArray[np.uint8], target: CalibrationTarget, origin: str = "the checkpoint"
) -> Ranges:
    """Run frames through a float32 graph and note the range of every tensor that may be quantised.

    Args:
        model: from `onnx_from_graph`.
        frames: uint8 [K, H, W, 3], good and defective.
        target: method and number of frames.
        origin: where the frames come from, for the error.

    Raises:
        BackendError: most frames carry no picture, or the graph gives NaN on them.
    """
    require_pictures(frames, origin)
    options = {"symmetric": False, "percentile": target.percentile}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(_without_distances(model), path)
        calibrator = create_calibrator(
            path,
            OPERATIONS,
            str(Path(folder) / "augmented.onnx"),
            _METHODS[target.method],
            extra_options=options,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per frame
            # One by one: it holds every tensor of all that it is given at once.
            for frame in calibrating(frames, target):
                calibrator.collect_data(_Frames(frame[None], batch_of(model)))
            found = calibrator.compute_data()
        return {name: _range(values.range_value) for name, values in found.items()}


def require_pictures(frames: NDArray[np.uint8], origin: str) -> None:
    """Refuse frames that cannot set a range.

    Raises:
        BackendError: there are none, or most of them are of one colour.
    """
    flat = sum(int(np.ptp(frame)) < FLAT_LEVELS for frame in frames)
    if len(frames) == 0 or 2 * flat > len(frames):
        raise BackendError(
            f"the {len(frames)} calibration frames are empty or of one colour ({flat} of them, from "
            f"{origin}); expected pictures of real parts; give others with --calibration, or train again"
        )


def _without_distances(model: ModelProto) -> ModelProto:
    """Cut memory and tail off, which are never quantised.

    Squares are summed there, and where those of a defect are thousands of times those of the first frames,
    sorting them into histograms takes minutes.
    """
    scopes = node_scopes(model)
    ends_of_graph = [n for n in model.graph.node if scopes[n.name].split(".")[0] in ("memory", "tail")]
    names = {node.name for node in ends_of_graph}
    if not names:
        return model
    cut = copy.deepcopy(model)
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend(node for node in model.graph.node if node.name not in names)
    made = {name for node in cut.graph.node for name in node.output}
    ends = sorted({name for node in ends_of_graph for name in node.input} & made)
    for name in ends:  # the calibrator passes over what is an output itself
        cut.graph.node.append(onnx.helper.make_node("Identity", [name], [f"{name}_end"]))
        cut.graph.output.append(onnx.helper.make_empty_tensor_value_info(f"{name}_end"))
    drop_unused(cut)
    return cut


def _range(values: tuple[Any, Any]) -> tuple[float, float]:
    low, high = (float(np.asarray(value).reshape(-1)[0]) for value in values)
    return low, high


class _Frames(CalibrationDataReader):  # type: ignore[misc]  # the base class is untyped
    """Feeds frames one at a time, in every row of the batch, as the line does."""

    def __init__(self, frames: NDArray[np.uint8], batch: int) -> None:
        self._frames: Iterator[NDArray[np.uint8]] = iter(frames)
        self._batch = batch

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        frame = next(self._frames, None)
        return None if frame is None else {INPUT: np.repeat(frame[None], self._batch, axis=0)}
