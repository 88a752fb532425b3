"""A verdict as the JSON message of MQTT and webhooks; verdict.schema.json describes it."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import msgspec

from dtgd_edge.verdict import Decision, Region, Verdict

SCHEMA_PATH = Path(__file__).parent / "verdict.schema.json"


@dataclass(frozen=True, slots=True)
class VerdictMessage:
    """One verdict.

    Attributes:
        schema: the version of this message.
        time: when it was sent, UTC, ISO 8601.
        sequence: counts the messages of this run from 1; the same number twice is the same verdict twice.
        part: number of the part; the frame's number where the source knows no parts.
        frame: the frame's number in its source.
        name: what the source calls the frame; "" if nothing.
        decision: OK, NG or NO_DECISION.
        score: null when no score was computed.
        threshold: a score above it is NG.
        reason: why there is no decision, as "kind: detail"; null otherwise.
        regions: anomalous areas in frame pixels, largest peak first.
        stages_ms: duration of each stage, milliseconds.
    """

    schema: Literal["dtgd-edge/verdict/1"]
    time: str
    sequence: int
    part: int
    frame: int
    name: str
    decision: Decision
    score: float | None
    threshold: float | None
    reason: str | None
    regions: tuple[Region, ...]
    stages_ms: dict[str, float]


def message_from_verdict(verdict: Verdict, sequence: int) -> bytes:
    """JSON in UTF-8, one VerdictMessage."""
    record = verdict.record()
    values = {
        "schema": "dtgd-edge/verdict/1",
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "part": verdict.frame_index if verdict.part is None else verdict.part,
    }
    taken = ("frame", "name", "decision", "score", "threshold", "reason", "regions", "stages_ms")
    return msgspec.json.encode({**values, **{key: record[key] for key in taken}})


def message_schema() -> dict[str, Any]:
    """The JSON schema of VerdictMessage, as verdict.schema.json has it."""
    return msgspec.json.schema(VerdictMessage)
