"""The bundle: one file with a scoring graph, what is known about it, and golden frames to prove it.

An uncompressed zip of `manifest.json`, `graph.onnx` and `golden.npz`. The archive's comment is the
SHA-256 of every byte before it, so that one changed bit anywhere is noticed. No pickle anywhere.
"""

import hashlib
import io
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.atomic import written_whole
from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import BundleError, ConfigError, DigestError, SchemaVersionError
from dtgd_edge.manifest import (
    Manifest,
    MetricParity,
    ParityRecord,
    Placement,
    Pooling,
    Precision,
    Promise,
    Provenance,
    TensorSpec,
    Threshold,
)

__all__ = [
    "SCHEMA",
    "SUFFIX",
    "Bundle",
    "Golden",
    "Manifest",
    "MetricParity",
    "ParityRecord",
    "Placement",
    "Pooling",
    "Precision",
    "Promise",
    "Provenance",
    "TensorSpec",
    "Threshold",
]

SCHEMA = 1
SUFFIX = ".dtgd"
ENTRIES = ("manifest.json", "graph.onnx", "golden.npz")
MANIFEST_LIMIT_BYTES = 1 << 20
FILE_LIMIT_BYTES = 4 << 30  # an ONNX graph ends at 2 GiB
_SEAL = b"sha256:"
_SEAL_BYTES = len(_SEAL) + 64


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Frames with the scores that the exporting machine computed.

    Attributes:
        frames: uint8 [G, H, W, 3], RGB, as returned by Geometry.apply.
        score: float32 [G].
    """

    frames: NDArray[np.uint8]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A scoring graph ready to run: `Bundle.open(path)`, `bundle.save(path)`."""

    manifest: Manifest
    graph: bytes
    golden: Golden

    @classmethod
    def open(cls, path: Path | str) -> "Bundle":
        """Read a bundle and check every byte of it.

        Raises:
            BundleError: no such file, not a bundle, truncated, or larger inside than outside.
            DigestError: some byte was changed.
            SchemaVersionError: written by a newer dtgd-edge.
        """
        path = Path(path)
        try:
            if (size := path.stat().st_size) > FILE_LIMIT_BYTES:
                raise BundleError(
                    f"{path} has {size} bytes; expected at most {FILE_LIMIT_BYTES}; check the path"
                )
            content = path.read_bytes()
        except FileNotFoundError:
            raise BundleError(f"{path} does not exist; expected a {SUFFIX} bundle; check the path") from None
        except OSError as exc:
            raise BundleError(f"{path} cannot be read ({exc.strerror}); expected a {SUFFIX} bundle") from exc
        entries = _checked_entries(path, content)
        manifest = _manifest(path, entries["manifest.json"])
        if hashlib.sha256(entries["graph.onnx"]).hexdigest() != manifest.graph_sha256:
            raise DigestError(f"{path}: the graph is not the one its manifest describes; export it again")
        return cls(manifest, entries["graph.onnx"], _golden(path, entries["golden.npz"], manifest))

    def save(self, path: Path | str) -> None:
        """Write the bundle beside `path` and rename it, so that no half-written file is ever seen.

        Raises:
            BundleError: the disk refused, or the manifest holds NaN or infinity, which JSON cannot say.
        """
        values = mapping_from_record(self.manifest)
        if key := _non_finite_key(values):
            raise BundleError(
                f"{path} was not written: {key} is NaN or infinite; expected a number; check the scores"
            )
        arrays = io.BytesIO()
        np.savez(arrays, frames=self.golden.frames, score=self.golden.score)
        contents = (msgspec.json.encode(values), self.graph, arrays.getvalue())
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
            for name, content in zip(ENTRIES, contents, strict=True):
                # A fixed date makes equal contents equal files.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
            archive.comment = _SEAL + b"0" * 64
        body = memory.getvalue()[:-_SEAL_BYTES]
        with written_whole(Path(path), BundleError) as file:
            file.write(body)
            file.write(_SEAL + hashlib.sha256(body).hexdigest().encode())


def _checked_entries(path: Path, content: bytes) -> dict[str, bytes]:
    if not content.startswith(b"PK"):
        raise BundleError(f"{path} is not a bundle; expected a file made by dtgd-edge export; check the path")
    seal = content[-_SEAL_BYTES:]
    if not seal.startswith(_SEAL):
        raise BundleError(f"{path} has no seal at its end: cut short, or no bundle; copy it again")
    if hashlib.sha256(content[:-_SEAL_BYTES]).hexdigest().encode() != seal[len(_SEAL) :]:
        raise DigestError(f"{path} was changed after it was written (its SHA-256 differs); copy it again")
    return _plain_entries(str(path), content, ENTRIES)


def _plain_entries(origin: str, content: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Read an uncompressed zip that holds exactly these entries."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if sorted(i.filename for i in infos) != sorted(names):
                found = ", ".join(i.filename for i in infos[:5])
                raise BundleError(f"{origin} holds {found}; expected {', '.join(names)}; export it again")
            for info in infos:
                # Stored entries cannot be larger than the file: no bomb gets past this line.
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                    raise BundleError(
                        f"{origin}: {info.filename} is compressed; expected plain; export it again"
                    )
            return {info.filename: archive.read(info) for info in infos}
    # zipfile has no error of its own for encrypted entries and for offsets that lead nowhere.
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, EOFError, struct.error) as exc:
        raise BundleError(f"{origin} is damaged ({exc}); copy it again") from exc


def _manifest(path: Path, content: bytes) -> Manifest:
    if len(content) > MANIFEST_LIMIT_BYTES:
        raise BundleError(
            f"{path}: its manifest has {len(content)} bytes; expected at most {MANIFEST_LIMIT_BYTES}"
        )
    try:
        values: Any = msgspec.json.decode(content)
        schema = int(values["schema"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError) as exc:
        raise BundleError(f"{path}: its manifest cannot be read ({exc}); export it again") from exc
    if schema > SCHEMA:
        raise SchemaVersionError(
            f"{path} has schema {schema}; this dtgd-edge reads up to {SCHEMA}; update dtgd-edge here"
        )
    try:
        return record_from_mapping(values, Manifest, f"{path}: manifest.json")
    except ConfigError as exc:
        raise BundleError(f"{exc}, or export the bundle again") from exc


def _golden(path: Path, content: bytes, manifest: Manifest) -> Golden:
    names = ("frames.npy", "score.npy")
    arrays = _plain_entries(f"{path}: golden.npz", content, names)
    try:
        frames, score = (
            np.lib.format.read_array(io.BytesIO(arrays[name]), allow_pickle=False) for name in names
        )
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError) as exc:
        raise BundleError(f"{path}: its golden frames cannot be read ({exc}); export it again") from exc
    expected = tuple(manifest.input.shape[1:])
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
        found, wanted = f"frames are {frames.dtype} {frames.shape}", f"uint8 (any number, *{expected})"
        raise BundleError(f"{path}: golden {found}; expected {wanted}; export it again")
    if score.dtype != np.float32 or score.shape != frames.shape[:1]:
        found, wanted = f"scores are {score.dtype} {score.shape}", f"float32 {frames.shape[:1]}"
        raise BundleError(f"{path}: golden {found}; expected {wanted}; export it again")
    return Golden(frames, score)


def _non_finite_key(values: Any, key: str = "") -> str | None:
    """Name the first number in plain JSON values that is NaN or infinite."""
    if isinstance(values, float) and not math.isfinite(values):
        return key
    if isinstance(values, list | tuple):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return None
    inner = (_non_finite_key(value, f"{key}.{name}" if key else str(name)) for name, value in values.items())
    return next(filter(None, inner), None)
