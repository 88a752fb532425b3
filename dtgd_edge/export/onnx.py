"""A scoring graph as an ONNX model: fixed names, fixed shapes, checked."""

import ast
import logging
import warnings

import onnx
import torch
from onnx import ModelProto, NodeProto

from dtgd_edge.bundle import TensorSpec
from dtgd_edge.errors import BackendError
from dtgd_edge.train.graph import ScoringGraph

OPSET = 20
INPUT, SCORE, MAP = "frames", "score", "map"


def onnx_from_graph(graph: ScoringGraph, batch: int = 1) -> ModelProto:
    """Export a scoring graph.

    Args:
        graph: in eval mode, float32 or with its convolutions in float16.
        batch: fixed number of frames at once.

    Returns:
        A model that passes the full checker, with inferred shapes and inputs and outputs as
        `tensor_specs` says.

    Raises:
        BackendError: the exporter or the checker refuses the graph.
    """
    height, width = graph.tail.size_hw
    example = torch.zeros((batch, height, width, 3), dtype=torch.uint8, device=graph.gain.device)
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    try:
        noisy.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's notes on its own deprecations
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[SCORE, MAP],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        assert program is not None
        model = onnx.shape_inference.infer_shapes(program.model_proto, strict_mode=True)
        return checked(model)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise BackendError(
            f"the scoring graph cannot be written as ONNX ({str(exc).splitlines()[0]})"
        ) from exc
    finally:
        noisy.setLevel(level)


def checked(model: ModelProto) -> ModelProto:
    """Run the full ONNX checker; returns the model."""
    onnx.checker.check_model(model, full_check=True)
    return model


def batch_of(model: ModelProto) -> int:
    """How many frames an exported graph takes at once."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def tensor_specs(
    size_hw: tuple[int, int], batch: int = 1
) -> tuple[TensorSpec, tuple[TensorSpec, TensorSpec]]:
    """The input and the outputs that every exported graph has."""
    frames = TensorSpec(INPUT, "uint8", (batch, *size_hw, 3))
    return frames, (TensorSpec(SCORE, "float32", (batch,)), TensorSpec(MAP, "float32", (batch, *size_hw)))


def integers(node: NodeProto, name: str) -> list[int]:
    """A node's attribute that is a list of integers; empty where it has none of that name."""
    return next((list(a.ints) for a in node.attribute if a.name == name), [])


def drop_unused(model: ModelProto) -> None:
    """Take out the nodes and constants that nothing reads; ONNX Runtime would compute them all the same."""
    graph = model.graph
    while True:
        used = {name for node in graph.node for name in node.input} | {out.name for out in graph.output}
        idle = [node for node in graph.node if not used & set(node.output)]
        for node in idle:
            graph.node.remove(node)
        if not idle:
            break
    for initializer in [i for i in graph.initializer if i.name not in used]:
        graph.initializer.remove(initializer)


def node_scopes(model: ModelProto) -> dict[str, str]:
    """Map each node's name to the module that it comes from, for instance "tail"."""
    scopes = {}
    for node in model.graph.node:
        metadata = {p.key: p.value for p in node.metadata_props}
        path = ast.literal_eval(metadata.get("pkg.torch.onnx.name_scopes", "['', '']"))
        scopes[node.name] = path[-2] if len(path) > 1 else ""
    return scopes
