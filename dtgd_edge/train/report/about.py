"""What was evaluated: without it the numbers of a report are worth nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from dtgd_edge.config import mapping_from_record
from dtgd_edge.geometry import Geometry
from dtgd_edge.manifest import Threshold


@dataclass(frozen=True, slots=True)
class About:
    """What was evaluated, on what, where and when.

    Attributes:
        scored: path of the checkpoint or the bundle, as it was given.
        kind: which of both it is.
        precision: arithmetic inside the graph.
        sha256: digest of the bundle's graph or of the checkpoint's weights.
        session: what computed the scores, for people.
        trained: steps, data and teacher, for people.
        geometry: how a picture becomes the graph's input.
        threshold: above it a part is NG.
        data: folder of the test pictures, as it was given.
        created: when it was evaluated: UTC, ISO 8601.
        machine: processor and system.
        versions: library versions.
    """

    scored: str
    kind: Literal["checkpoint", "bundle"]
    precision: str
    sha256: str
    session: str
    trained: str
    geometry: Geometry
    threshold: Threshold
    data: str
    created: str
    machine: str
    versions: dict[str, str]

    def record(self) -> dict[str, Any]:
        """All attributes as plain JSON values."""
        return mapping_from_record(self)
