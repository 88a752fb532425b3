"""One row of the audit log."""

import math
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.session import SessionSpec
from dtgd_edge.verdict import Verdict

Kind = Literal["judge", "verdict", "event"]


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges: a bundle on a device. Every change of it becomes a row that later verdicts point to.

    Attributes:
        bundle_name: of its file, for people.
        bundle_sha256: of the whole file, as `sha256sum` prints it.
        device: where it runs, for people.
        plan_sha256: of the TensorRT engine; "" where there is none or it is not known.
    """

    bundle_name: str
    bundle_sha256: str
    device: str
    plan_sha256: str = ""

    @classmethod
    def of(cls, bundle: Path | str, spec: SessionSpec, plan_sha256: str = "") -> "Judge":
        """Describe an open session.

        Raises:
            BundleError: its file cannot be read.
        """
        from dtgd_edge.runtime.records.digest import file_digest

        return cls(Path(bundle).name, file_digest(Path(bundle)), spec.device, plan_sha256)


@dataclass(frozen=True, slots=True)
class Row:
    """What the log says in one row. What does not belong to its kind is None.

    Attributes:
        sequence: 1, 2, 3 ... without gaps; the order of the log, whatever the clock did.
        kind: "judge", "verdict" or "event".
        run: eight hexadecimal digits that the rows of one run share.
        wall_ns: time.time_ns() when it was handed over; may step back.
        mono_ns: time.monotonic_ns() then; counts from the machine's start.
        bundle_name, bundle_sha256, plan_sha256, device: of a judge.
        judge: of a verdict: sequence of the judge's row.
        part, frame, name: what was judged.
        decision, score, threshold, reason: the verdict.
        margin: score minus threshold, in score units; above 0 is NG.
        stages_ms: JSON object, milliseconds by stage.
        regions: JSON array of the anomalous areas.
        pixels_sha256: digest of the frame's raw pixels (see digest.py).
        picture: the kept picture, relative to the archive's folder.
        what, detail, is_alarm, who, told_ns: of an event; told_ns is its own time.
    """

    sequence: int
    kind: Kind
    run: str
    wall_ns: int
    mono_ns: int
    bundle_name: str | None = None
    bundle_sha256: str | None = None
    plan_sha256: str | None = None
    device: str | None = None
    judge: int | None = None
    part: int | None = None
    frame: int | None = None
    name: str | None = None
    decision: str | None = None
    score: float | None = None
    threshold: float | None = None
    margin: float | None = None
    reason: str | None = None
    stages_ms: str | None = None
    regions: str | None = None
    pixels_sha256: str | None = None
    picture: str | None = None
    what: str | None = None
    detail: str | None = None
    is_alarm: int | None = None
    who: str | None = None
    told_ns: int | None = None

    def values(self) -> tuple[Any, ...]:
        """In the order of COLUMNS."""
        return tuple([getattr(self, column) for column in COLUMNS])


COLUMNS = tuple(column.name for column in fields(Row))


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A row that has not found its place in the log yet.

    Attributes:
        kind: of the row.
        columns: what is known of it, by column.
        judge: of a verdict.
        image: of a verdict whose pixels are to be digested; must not change any more.
    """

    kind: Kind
    columns: dict[str, Any]
    judge: Judge | None = None
    image: NDArray[Any] | None = None
    wall_ns: int = field(default_factory=lambda: time.time_ns())
    mono_ns: int = field(default_factory=lambda: time.monotonic_ns())


class Entry:
    """A draft on its way into the log; changed only under the sink's lock.

    Attributes:
        draft: what is to be recorded.
        is_settled: it was committed or refused.
        fault: why it was refused.
        is_given_up: nobody waits for it any more.
    """

    __slots__ = ("draft", "fault", "is_given_up", "is_settled")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.fault: str | None = None
        self.is_settled = False
        self.is_given_up = False


def draft_of_verdict(
    verdict: Verdict, judge: Judge, image: NDArray[Any] | None, picture: str | None
) -> Draft:
    """Turn a verdict into a draft; NaN and infinity become None."""
    record = verdict.record()
    score, threshold = record["score"], record["threshold"]
    columns = {
        "part": verdict.part,
        "frame": verdict.frame_index,
        "name": _text(verdict.frame_name),
        "decision": verdict.decision.value,
        "score": score,
        "threshold": threshold,
        "margin": None if score is None or threshold is None else score - threshold,
        "reason": None if verdict.reason is None else _text(verdict.reason),
        "stages_ms": _json({k: v for k, v in record["stages_ms"].items() if math.isfinite(v)}),
        "regions": _json(record["regions"]),
        "picture": picture,
    }
    return Draft("verdict", columns, judge, image)


def draft_of_event(event: Event) -> Draft:
    """Turn an event into a draft."""
    columns = {
        "what": _text(event.kind),
        "detail": _text(event.detail),
        "is_alarm": int(event.is_alarm),
        "who": _text(event.who),
        "told_ns": event.at_ns,
    }
    return Draft("event", columns)


def draft_of_judge(judge: Judge) -> Draft:
    """Turn a judge into a draft."""
    columns = {
        "bundle_name": _text(judge.bundle_name),
        "bundle_sha256": judge.bundle_sha256,
        "plan_sha256": judge.plan_sha256,
        "device": _text(judge.device),
    }
    return Draft("judge", columns)


def _text(text: str) -> str:
    """Keep what neither SQLite nor JSON can hold: file names that are no UTF-8 carry lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(values: Any) -> str:
    return msgspec.json.encode(values, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in the audit log")
