"""A bundle as a model repository of NVIDIA's Triton server, for those who outgrow one box.

    <folder>/<name>/config.pbtxt + 1/model.onnx             ONNX Runtime, batches put together by the server
    <folder>/<name>-tensorrt/config.pbtxt + 1/model.plan    a ready plan, in its own fixed batch

Triton joins the requests of several cameras into one batch only if the graph's first dimension is free,
and a bundle's is fixed. So the served ONNX is the bundle's graph with that dimension freed; frames scored
as one batch must then give the golden scores. A plan was built with fixed shapes and is served as it is;
so is a graph that cuts its frames into tiles.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from dtgd_edge.atomic import written_whole
from dtgd_edge.bundle import Bundle, Manifest, TensorSpec
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import BackendError, BundleError, DataError
from dtgd_edge.export.onnx import checked

VERSION = "1"
MAX_BATCH = 8
QUEUE_DELAY_US = 2000
_DTYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_FREE = "N"


@dataclass(frozen=True, slots=True)
class Served:
    """One model of the repository.

    Attributes:
        name: of the model and its folder.
        backend: of Triton.
        max_batch: largest batch that the server may put together; 0: the graph's own, fixed.
    """

    name: str
    backend: str
    max_batch: int


def write_repository(
    bundle: Bundle, folder: Path, plan: Path | None = None, max_batch: int = MAX_BATCH
) -> list[Path]:
    """Write a bundle, and a plan built from it, as models that Triton loads.

    Args:
        bundle: from Bundle.open or Exporter.export.
        folder: the repository; models of other bundles in it stay.
        plan: a TensorRT plan of the same bundle, built on the machine that will serve it.
        max_batch: largest batch that the server may put together.

    Returns:
        The folders of the models.

    Raises:
        BackendError: the graph does not score the same frames alike in a batch.
        DataError: the plan cannot be read.
        BundleError: the disk refused.
    """
    if bundle.manifest.placement == "cpu":
        raise BackendError(
            f"{bundle.manifest.name} is an INT8 bundle for the CPU, whose graph takes one frame at a time; "
            "expected float32, float16 or --target tensorrt for a server; export one of those"
        )
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{bundle.manifest.name}-{bundle.manifest.precision}")
    if bundle.manifest.geometry.tile_grid is None:
        model = batched_onnx(bundle)
        require_golden_batch(bundle, model)
        contents = {Served(name, "onnxruntime", max_batch): ("model.onnx", model.SerializeToString())}
    else:  # its tiles are a batch already
        contents = {Served(name, "onnxruntime", 0): ("model.onnx", bundle.graph)}
    if plan is not None:
        try:
            contents[Served(f"{name}-tensorrt", "tensorrt", 0)] = ("model.plan", plan.read_bytes())
        except OSError as exc:
            raise DataError(
                f"{plan} cannot be read ({exc.strerror}); expected a TensorRT plan; check the path"
            ) from exc
    for served, (file_name, content) in contents.items():
        _write(folder / served.name / VERSION / file_name, content)
        _write(folder / served.name / "config.pbtxt", config_text(bundle.manifest, served).encode())
    return [folder / served.name for served in contents]


def config_text(manifest: Manifest, served: Served) -> str:
    """The model's config.pbtxt: protobuf text of Triton's ModelConfig."""
    tensors = [_tensor(kind, spec, served) for kind, spec in _tensors(manifest)]
    # A plan runs on GPUs only; ONNX Runtime where there is one, else on the CPU.
    kind = "KIND_GPU" if served.backend == "tensorrt" else "KIND_AUTO"
    lines = [
        f"name: {_quoted(served.name)}",
        f"backend: {_quoted(served.backend)}",
        f"max_batch_size: {served.max_batch}",
        *tensors,
        f"instance_group [ {{ count: 1 kind: {kind} }} ]",
    ]
    if served.max_batch:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}")
    for key, value in _parameters(manifest).items():
        lines.append(f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}")
    return "\n".join(lines) + "\n"


def batched_onnx(bundle: Bundle) -> ModelProto:
    """The bundle's graph with a free first dimension.

    The exporter writes the batch into the sizes of Resize and Reshape. Resize gets scales instead (ONNX
    Runtime 1.32 cannot quantise one that names sizes of some axes only), Reshape a free first side.

    Raises:
        BackendError: the graph holds the batch in another place, too.
    """
    model = onnx.load_from_string(bundle.graph)
    batch = bundle.manifest.input.shape[0]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    sides = _spatial_sides(model)
    added: list[onnx.TensorProto] = []
    for node in model.graph.node:
        if node.op_type == "Resize" and len(node.input) > 3 and node.input[3] in constants:
            sizes = numpy_helper.to_array(constants[node.input[3]])
            if sizes.size == 4 and node.input[0] in sides:  # [N, C, H, W]
                factors = np.divide(sizes[2:], sides[node.input[0]])
                scales = np.array([1, 1, *factors], np.float32)
                added.append(numpy_helper.from_array(scales, f"{node.name}_scales"))
                del node.input[2:]
                node.input.append(added[-1].name)
        elif node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape.size > 1 and shape[0] == batch and (shape[1:] > 0).all():
                shape[0] = -1
                added.append(numpy_helper.from_array(shape, f"{node.name}_shape"))
                node.input[1] = added[-1].name
    _replace_constants(model, added)
    del model.graph.value_info[:]  # they name the old batch
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _FREE
    try:
        return checked(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise BackendError(
            f"the graph of {bundle.manifest.name!r} has its batch of {batch} built in "
            f"({str(exc).splitlines()[0]}); expected one whose batch can be freed; export it again"
        ) from exc


def require_golden_batch(bundle: Bundle, model: ModelProto) -> None:
    """Score all golden frames as one batch and compare.

    Raises:
        BackendError: a score differs by more than the bundle's tolerance.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails here is told by our own error
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        score = session.run(
            [bundle.manifest.outputs[0].name], {bundle.manifest.input.name: bundle.golden.frames}
        )
        difference = np.abs(np.asarray(score[0]) - bundle.golden.score)
    # ONNX Runtime's error classes share no base of their own.
    except Exception as exc:
        raise BackendError(
            f"the graph of {bundle.manifest.name!r} does not run in batches ({str(exc).splitlines()[0]}); "
            "expected one that does; export it again"
        ) from exc
    tolerance = bundle.manifest.golden_tolerance
    if not bool((difference <= tolerance).all()):
        raise BackendError(
            f"{len(bundle.golden.frames)} golden frames as one batch score up to "
            f"{float(difference.max()):.2g} off in ONNX Runtime; expected at most {tolerance:.2g}; "
            "export the bundle with --session ort"
        )


def _tensors(manifest: Manifest) -> list[tuple[str, TensorSpec]]:
    return [("input", manifest.input), *(("output", spec) for spec in manifest.outputs)]


def _tensor(kind: str, spec: TensorSpec, served: Served) -> str:
    shape, reshape = list(spec.shape), ""
    if served.max_batch:
        shape = shape[1:]  # the server adds the batch
        if not shape:  # one number per frame; Triton wants a dimension to be named
            shape, reshape = [1], " reshape { shape: [ ] }"
    return (
        f"{kind} [ {{ name: {_quoted(spec.name)} data_type: {_DTYPES[spec.dtype]} dims: {shape}{reshape} }} ]"
    )


def _parameters(manifest: Manifest) -> dict[str, str]:
    """What a client needs to prepare frames and to judge scores; Triton hands it out with the config."""
    return {
        "threshold": repr(manifest.threshold.value),
        "threshold_session": manifest.session,
        "precision": manifest.precision,
        "graph_sha256": manifest.graph_sha256,
        "geometry": json.dumps(mapping_from_record(manifest.geometry)),
    }


def _quoted(text: str) -> str:
    """A string of protobuf's text format; JSON's escapes are among its own."""
    return json.dumps(text)


def _replace_constants(model: ModelProto, added: list[onnx.TensorProto]) -> None:
    """Add constants and drop those that no node reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in (*model.graph.initializer, *added) if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _spatial_sides(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Height and width of every tensor [N, C, H, W] of a model with fixed shapes."""
    inferred = onnx.shape_inference.infer_shapes(model)
    sides = {}
    for value in inferred.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(shape) == 4 and min(shape[2:]) > 0:
            sides[value.name] = (shape[2], shape[3])
    return sides


def _write(path: Path, content: bytes) -> None:
    with written_whole(path, BundleError) as file:
        file.write(content)
