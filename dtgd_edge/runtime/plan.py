"""A plan, that is a serialised engine: what it belongs to and what lies beside it."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from dtgd_edge.bundle import TensorSpec
from dtgd_edge.config import mapping_from_record

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything that makes a plan another plan.

    How much memory the builder was given is not part of it: it changes how fast a plan is, not what it is.

    Attributes:
        graph_sha256: of the ONNX graph.
        precision: of the bundle.
        library: "tensorrt" or "rtx".
        version: of the library.
        platform: "linux-x86_64".
        gpu: name of the GPU it was built on; "" when built ahead for `targets`.
        targets: compute capabilities.
        flags: of the builder, where they change the plan.
    """

    graph_sha256: str
    precision: str
    library: str
    version: str
    platform: str
    gpu: str
    targets: tuple[str, ...]
    flags: tuple[str, ...] = ("strongly_typed",)

    @property
    def digest(self) -> str:
        """Name of the plan's files: hexadecimal SHA-256, half of it."""
        return hashlib.sha256(msgspec.json.encode(mapping_from_record(self), order="sorted")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """What lies beside an engine.

    Attributes:
        schema: version of this record.
        key: what the plan belongs to.
        inputs, outputs: its tensors.
        engine_sha256: digest of the engine.
        engine_bytes: its size.
        build_seconds: how long TensorRT took.
        memory_limit_mib: workspace the builder was given; None: no limit.
        created: UTC, ISO 8601.
    """

    schema: int
    key: PlanKey
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine_sha256: str
    engine_bytes: int
    build_seconds: float
    memory_limit_mib: int | None
    created: str


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A plan that was checked.

    Attributes:
        path: the engine's file.
        record: what it is.
        engine: its bytes.
        is_hit: whether it was there before it was asked for.
    """

    path: Path
    record: PlanRecord
    engine: bytes
    is_hit: bool


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """What a builder hands to the cache."""

    engine: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    memory_limit_mib: int | None = None


def difference(found: PlanKey, wanted: PlanKey) -> str:
    """The fields in which two keys differ, in words."""
    parts = []
    for field in fields(PlanKey):
        have, want = getattr(found, field.name), getattr(wanted, field.name)
        if have != want:
            have, want = (" ".join(v) if isinstance(v, tuple) else v or "none" for v in (have, want))
            parts.append(f"{field.name.replace('_', ' ')} {have} (here: {want})")
    return ", ".join(parts) or "the same"
