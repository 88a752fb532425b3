import contextlib
import hashlib
import io
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtgd_edge.appearance import statistics_of
from dtgd_edge.bundle import (
    ENTRIES,
    SCHEMA,
    Bundle,
    Golden,
    Manifest,
    ParityRecord,
    Pooling,
    Provenance,
    TensorSpec,
    Threshold,
)
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import BundleError, DigestError, SchemaVersionError
from dtgd_edge.geometry import Geometry

GRAPH = bytes(range(256)) * 8


def _bundle() -> Bundle:
    manifest = Manifest(
        schema=SCHEMA,
        name="part",
        precision="fp16",
        placement="float",
        graph_sha256=hashlib.sha256(GRAPH).hexdigest(),
        input=TensorSpec("frames", "uint8", (1, 32, 64, 3)),
        outputs=(TensorSpec("score", "float32", (1,)), TensorSpec("map", "float32", (1, 32, 64))),
        geometry=Geometry((32, 64), region_xywh=(1, 2, 30, 40), fit="letterbox", sensor_bits=12),
        threshold=Threshold(0.5, "largest of the held-out normals", 8),
        parity=(ParityRecord("a CPU", "fp32", 8, 0, 0.1, 0.99, 0.01, 0.02, 0, 0.0),),
        golden_tolerance=0.01,
        frame_size_hw=None,
        provenance=Provenance("0" * 64, "data", 10, "small", "2025-01-01T00:00:00Z", {"numpy": "2"}),
    )
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    return Bundle(manifest, GRAPH, Golden(frames, np.array([0.1, 0.9], np.float32)))


def _sealed(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A bundle file whose seal fits, whatever is inside."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.comment = b"sha256:" + b"0" * 64
    return _resealed(memory.getvalue())


def _resealed(content: bytes) -> bytes:
    body = content[:-71]
    return body + b"sha256:" + hashlib.sha256(body).hexdigest().encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    _bundle().save(tmp_path / "part.dtgd")
    return tmp_path / "part.dtgd"


@pytest.fixture
def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_round_trip(path: Path) -> None:
    opened, saved = Bundle.open(str(path)), _bundle()
    assert opened.manifest == saved.manifest
    assert opened.graph == saved.graph
    np.testing.assert_array_equal(opened.golden.frames, saved.golden.frames)
    np.testing.assert_array_equal(opened.golden.score, saved.golden.score)


def test_is_a_plain_zip_that_others_can_open(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == list(ENTRIES)
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_equal_bundles_are_equal_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(1_000_000_000))
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    _bundle().save(path.with_name("again.dtgd"))
    assert path.with_name("again.dtgd").read_bytes() == path.read_bytes()


def test_saving_again_replaces_the_file_and_leaves_no_other(path: Path) -> None:
    _bundle().save(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    lengths = {*range(0, 80), *range(len(content) - 200, len(content)), *range(0, len(content), 97)}
    for length in sorted(lengths):
        path.write_bytes(content[:length])
        with pytest.raises(BundleError):
            Bundle.open(path)


def test_every_flipped_byte_is_refused(path: Path) -> None:
    content = path.read_bytes()
    chance = np.random.default_rng(0).integers(0, len(content), 100).tolist()
    for position in {*range(40), *range(len(content) - 120, len(content)), *chance}:
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(BundleError):
            Bundle.open(path)


def test_appended_bytes_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError):
        Bundle.open(path)


def test_a_changed_byte_is_named_as_such(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DigestError, match="changed after it was written"):
        Bundle.open(path)


def test_a_bundle_of_before_statistics_and_pooling_opens(path: Path, entries: dict[str, bytes]) -> None:
    values = json.loads(entries["manifest.json"])
    assert values.pop("statistics") is None and values.pop("pooling") is None
    path.write_bytes(_sealed({**entries, "manifest.json": json.dumps(values).encode()}))
    manifest = Bundle.open(path).manifest
    assert manifest.statistics is None and manifest.pooling is None


@pytest.mark.parametrize("pooling", [(2, 1), (5, 1), (0, 1), (4, 0)])
def test_an_impossible_pooling_is_refused(
    path: Path, entries: dict[str, bytes], pooling: tuple[int, int]
) -> None:
    values = json.loads(entries["manifest.json"])
    values["pooling"] = {"stride": pooling[0], "top": pooling[1]}
    path.write_bytes(_sealed({**entries, "manifest.json": json.dumps(values).encode()}))
    with pytest.raises(BundleError, match="pooling"):
        Bundle.open(path)


def test_statistics_and_pooling_come_back(path: Path) -> None:
    bundle = _bundle()
    statistics = statistics_of(bundle.golden.frames)
    manifest = replace(bundle.manifest, statistics=statistics, pooling=Pooling(4, 3))
    replace(bundle, manifest=manifest).save(path)
    opened = Bundle.open(path).manifest
    assert statistics is not None
    assert (opened.statistics, opened.pooling) == (statistics, Pooling(4, 3))


def test_newer_schema_asks_for_an_update(path: Path, entries: dict[str, bytes]) -> None:
    newer = json.loads(entries["manifest.json"]) | {"schema": SCHEMA + 1, "invented_later": {"a": 1}}
    path.write_bytes(_sealed(entries | {"manifest.json": json.dumps(newer).encode()}))
    with pytest.raises(SchemaVersionError, match="update dtgd-edge"):
        Bundle.open(path)


def test_bombs_are_refused_before_they_are_unpacked(path: Path, entries: dict[str, bytes]) -> None:
    bomb = _sealed(entries | {"graph.onnx": bytes(200 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    path.write_bytes(bomb)
    start = time.monotonic()
    with pytest.raises(BundleError, match="compressed"):
        Bundle.open(path)
    assert time.monotonic() - start < 2


def test_bombs_among_the_golden_frames_are_refused(path: Path, entries: dict[str, bytes]) -> None:
    arrays = io.BytesIO()
    np.savez_compressed(arrays, frames=np.zeros((2, 32, 64, 3), np.uint8), score=np.zeros(2, np.float32))
    path.write_bytes(_sealed(entries | {"golden.npz": arrays.getvalue()}))
    with pytest.raises(BundleError, match="compressed"):
        Bundle.open(path)


def _npy(array: Any, **values: Any) -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, np.asarray(array), **values)
    return memory.getvalue()


def _npz(frames: bytes, score: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("frames.npy", frames)
        archive.writestr("score.npy", score)
    return memory.getvalue()


FRAMES, SCORE = np.zeros((2, 32, 64, 3), np.uint8), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    "golden",
    [
        b"",
        b"no zip",
        _npy(FRAMES),
        _npz(_npy(FRAMES), b""),
        _npz(_npy(FRAMES)[:-1], _npy(SCORE)),
        _npz(_npy(FRAMES).replace(b"(2, 32,", b"(2, 32*"), _npy(SCORE)),
        _npz(_npy(FRAMES).replace(b"(2, 32, 64, 3)", b"(9999999, 64,)"), _npy(SCORE)),
        _npz(_npy(FRAMES[:, :16]), _npy(SCORE)),
        _npz(_npy(FRAMES[0]), _npy(SCORE)),
        _npz(_npy(FRAMES.astype(np.int8)), _npy(SCORE)),
        _npz(_npy(FRAMES), _npy(SCORE[:1])),
        _npz(_npy(FRAMES), _npy(SCORE.astype(np.float64))),
        _npz(_npy(FRAMES), _npy(np.array([{}, {}], object), allow_pickle=True)),
    ],
)
def test_other_golden_frames_are_refused(path: Path, entries: dict[str, bytes], golden: bytes) -> None:
    path.write_bytes(_sealed(entries | {"golden.npz": golden}))
    with pytest.raises(BundleError, match="golden"):
        Bundle.open(path)


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda manifest: manifest | {key: value}


@pytest.mark.parametrize(
    "change",
    [
        _set("schema", "one"),
        _set("schema", None),
        _set("precision", "fp8"),
        _set("threshold", {"value": None, "rule": "", "normals": 0}),
        _set("threshold", {"value": 1.0, "rule": "", "normals": 0, "vlaue": 2}),
        _set("geometry", {"size_hw": [33, 64]}),
        _set("colour", "red"),
        lambda manifest: {k: v for k, v in manifest.items() if k != "parity"},
        lambda manifest: [manifest],
        lambda manifest: "text",
    ],
)
def test_other_manifests_are_refused(
    path: Path, entries: dict[str, bytes], change: Callable[[dict[str, Any]], Any]
) -> None:
    manifest = json.dumps(change(json.loads(entries["manifest.json"]))).encode()
    path.write_bytes(_sealed(entries | {"manifest.json": manifest}))
    with pytest.raises(BundleError, match=r"part\.dtgd"):
        Bundle.open(path)


@pytest.mark.parametrize("manifest", [b"", b"{", b"\xff", b"[" * 500_000, b" " * (2 << 20)])
def test_manifests_that_are_no_json_are_refused(
    path: Path, entries: dict[str, bytes], manifest: bytes
) -> None:
    path.write_bytes(_sealed(entries | {"manifest.json": manifest}))
    with pytest.raises(BundleError, match="manifest"):
        Bundle.open(path)


def test_another_graph_under_the_same_manifest_is_refused(path: Path, entries: dict[str, bytes]) -> None:
    path.write_bytes(_sealed(entries | {"graph.onnx": b"other"}))
    with pytest.raises(DigestError, match="graph"):
        Bundle.open(path)


def test_other_entries_are_refused(path: Path, entries: dict[str, bytes]) -> None:
    for other in (entries | {"extra": b""}, {"graph.onnx": GRAPH}):
        path.write_bytes(_sealed(other))
        with pytest.raises(BundleError, match="expected"):
            Bundle.open(path)


def test_flipped_bytes_under_a_fitting_seal_never_give_a_foreign_error(path: Path) -> None:
    """A seal is no signature: whoever forges a bundle must still meet our own errors only."""
    content = path.read_bytes()
    frames = content.index(_bundle().golden.frames.tobytes())
    for position in [*range(0, frames, 17), *range(len(content) - 1200, len(content) - 71, 3)]:
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(_resealed(bytes(damaged)))
        with contextlib.suppress(BundleError):
            Bundle.open(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK", b"PK\x03\x04" + bytes(1000)])
def test_what_is_no_bundle_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle|seal"):
        Bundle.open(path)


def test_missing_file_folder_and_giant(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        Bundle.open(tmp_path / "none.dtgd")
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.open(tmp_path)
    with (tmp_path / "giant.dtgd").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(BundleError, match="at most"):
        Bundle.open(tmp_path / "giant.dtgd")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, value: float) -> None:
    bundle = _bundle()
    parity = replace(bundle.manifest.parity[0], rank_correlation=value)
    broken = replace(bundle, manifest=replace(bundle.manifest, parity=(parity,)))
    with pytest.raises(BundleError, match=r"parity\.0\.rank_correlation"):
        broken.save(tmp_path / "a.dtgd")
    assert not list(tmp_path.iterdir())


def test_manifest_is_plain_json() -> None:
    json.dumps(mapping_from_record(_bundle().manifest), allow_nan=False)
