"""A model repository that Triton would load; there is no server here, so its config is read by hand."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from dtgd_edge.bundle import Bundle, Precision
from dtgd_edge.errors import BackendError, DataError
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.export.triton import batched_onnx, write_repository
from dtgd_edge.runtime.session import open_session

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|-?\d+|[{}\[\]:,])')


def parsed(text: str) -> dict[str, list[Any]]:
    """Read protobuf text: every field is a list of its values, in order; raises on anything else."""
    tokens = _TOKEN.findall(text)
    assert "".join(tokens) == re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", text.replace('\\"', "'")).replace(
        "'", '\\"'
    )
    message, rest = _message(tokens)
    assert not rest
    return message


def _message(tokens: list[str]) -> tuple[dict[str, list[Any]], list[str]]:
    message: dict[str, list[Any]] = {}
    while tokens and tokens[0] != "}":
        name, tokens = tokens[0], tokens[1:]
        assert name.isidentifier()
        if tokens[0] == ":":
            tokens = tokens[1:]
        values = message.setdefault(name, [])
        if tokens[0] != "[":
            value, tokens = _value(tokens)
            values.append(value)
            continue
        tokens = tokens[1:]
        while tokens[0] != "]":
            value, tokens = _value(tokens)
            values.append(value)
            tokens = tokens[1:] if tokens[0] == "," else tokens
        tokens = tokens[1:]
    return message, tokens


def _value(tokens: list[str]) -> tuple[Any, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "{":
        message, rest = _message(rest)
        assert rest[0] == "}"
        return message, rest[1:]
    if first.startswith('"'):
        return json.loads(first), rest
    return (int(first) if first.lstrip("-").isdecimal() else first), rest


def config_of(folder: Path) -> dict[str, list[Any]]:
    return parsed((folder / "config.pbtxt").read_text())


def test_int8_for_the_cpu_is_not_for_a_server(
    tiny_bundles: dict[Precision, Exported], tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match=r"INT8 bundle for the CPU, .*--target tensorrt"):
        write_repository(tiny_bundles["int8"].bundle, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_real_bundle_is_served_in_batches(
    tiny_bundles: dict[Precision, Exported], precision: Precision, tmp_path: Path
) -> None:
    bundle = tiny_bundles[precision].bundle
    (folder,) = write_repository(bundle, tmp_path)
    assert folder == tmp_path / f"pretend-{precision}"
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    config = config_of(folder)
    assert config["name"] == [folder.name] and config["backend"] == ["onnxruntime"]
    assert config["max_batch_size"] == [8] and len(config["dynamic_batching"]) == 1
    for role, found in (("input", session.get_inputs()), ("output", session.get_outputs())):
        assert [t["name"][0] for t in config[role]] == [node.name for node in found]
        for tensor, node in zip(config[role], found, strict=True):
            # What Triton checks: the first dimension is free, the others are those of the config.
            assert not isinstance(node.shape[0], int)
            dims = tensor["reshape"][0]["shape"] if "reshape" in tensor else tensor["dims"]
            assert dims == node.shape[1:]
    assert [t["data_type"][0] for t in (*config["input"], *config["output"])] == [
        "TYPE_UINT8",
        "TYPE_FP32",
        "TYPE_FP32",
    ]
    for count in (1, 3, 8):
        frames = bundle.golden.frames[:count]
        score, anomaly_map = session.run(None, {"frames": frames})
        np.testing.assert_allclose(score, bundle.golden.score[:count], atol=bundle.manifest.golden_tolerance)
        assert anomaly_map.shape == frames.shape[:3]


def test_maps_of_a_batch_are_those_of_its_frames(tiny_bundles: dict[Precision, Exported]) -> None:
    bundle = tiny_bundles["fp32"].bundle
    batched = onnxruntime.InferenceSession(
        batched_onnx(bundle).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    _, maps = batched.run(None, {"frames": bundle.golden.frames})
    with open_session(bundle, "ort") as session:
        for frame, anomaly_map in zip(bundle.golden.frames, maps, strict=True):
            np.testing.assert_allclose(session.score(frame[None]).map[0], anomaly_map, atol=1e-5)


def test_a_client_finds_threshold_and_geometry(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (folder,) = write_repository(tiny_bundle, tmp_path)
    found = {p["key"][0]: p["value"][0]["string_value"][0] for p in config_of(folder)["parameters"]}
    assert float(found["threshold"]) == 2.0 and found["threshold_session"] == "ort"
    assert found["graph_sha256"] == tiny_bundle.manifest.graph_sha256
    assert json.loads(found["geometry"])["size_hw"] == [64, 64]


def test_a_plan_is_served_in_its_own_batch(tiny_bundle: Bundle, tmp_path: Path) -> None:
    plan = tmp_path / "tiny.engine"
    plan.write_bytes(b"a plan")
    _, folder = write_repository(tiny_bundle, tmp_path / "models", plan)
    assert (folder / "1" / "model.plan").read_bytes() == b"a plan"
    config = config_of(folder)
    assert folder.name == "tiny-fp32-tensorrt" and config["backend"] == ["tensorrt"]
    assert config["max_batch_size"] == [0] and "dynamic_batching" not in config
    assert config["input"][0]["dims"] == [1, 64, 64, 3]
    assert [tensor["dims"] for tensor in config["output"]] == [[1], [1, 64, 64]]
    assert config["instance_group"] == [{"count": [1], "kind": ["KIND_GPU"]}]


def test_a_plan_that_is_not_there(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.engine cannot be read"):
        write_repository(tiny_bundle, tmp_path / "models", tmp_path / "none.engine")
    assert not (tmp_path / "models").exists()


def test_names_are_fit_for_folders(tiny_bundle: Bundle, tmp_path: Path) -> None:
    manifest = dataclasses.replace(tiny_bundle.manifest, name='deck / "left"')
    (folder,) = write_repository(dataclasses.replace(tiny_bundle, manifest=manifest), tmp_path)
    assert folder == tmp_path / "deck____left_-fp32" and config_of(folder)["name"] == [folder.name]


def test_a_graph_that_mixes_its_frames_is_not_served(tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny_bundle.graph)
    (pixels,) = (tensor for tensor in model.graph.initializer if tensor.name == "pixels")
    axes = onnx.numpy_helper.from_array(np.array([0, 1, 2]), "pixels")
    pixels.CopyFrom(axes)
    bundle = dataclasses.replace(tiny_bundle, graph=model.SerializeToString())
    with pytest.raises(BackendError):
        write_repository(bundle, tmp_path / "models")
    assert not (tmp_path / "models").exists()
