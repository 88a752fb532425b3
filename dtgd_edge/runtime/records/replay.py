"""Scores kept pictures again: the verdicts of the log must come out the same."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from dtgd_edge.appearance import Appearance
from dtgd_edge.errors import DataError
from dtgd_edge.manifest import Manifest
from dtgd_edge.pictures import read_as_written
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.records.digest import pixels_digest
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.row import Row
from dtgd_edge.runtime.session import Session
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

Outcome = Literal["same", "differs", "damaged", "skipped"]

# What a picture shows by itself; other reasons come from the frames before it, the clock or the device.
_REPEATABLE = ("black", "white", "wrong size", "wrong layout", "not a number")


@dataclass(frozen=True, slots=True)
class Replayed:
    """One verdict of the log and the same frame's today.

    Attributes:
        row: of the log, with its judge.
        outcome: "same"; "differs"; "damaged": the picture is not the frame that was judged, or is gone;
            "skipped": it cannot come out again, for instance a frozen camera.
        decision, score: today's; None without a score.
        note: why it is not the same.
    """

    row: Row
    outcome: Outcome
    decision: Decision | None = None
    score: float | None = None
    note: str = ""


def rows_with_pictures(log: AuditLog) -> Iterator[Row]:
    """Verdicts whose frame was kept, with their judge; raises DataError as AuditLog.rows."""
    judges: dict[int, Row] = {}
    for row in log.rows():
        if row.kind == "verdict" and row.picture is not None:
            yield log.with_judge(row, judges)


class Replay:
    """Judges kept pictures with an open session.

    Args:
        session: of the bundle.
        manifest: of the bundle.
        bundle_sha256: of the bundle's file.
        pictures: the archive's folder.
    """

    def __init__(self, session: Session, manifest: Manifest, bundle_sha256: str, pictures: Path) -> None:
        self._session = session
        self._manifest = manifest
        self._bundle_sha256 = bundle_sha256
        self._pictures = pictures

    def again(self, row: Row) -> Replayed:
        """Judge one row's picture.

        With the bundle that judged it, at the row's threshold, decision and score must be the same (the score
        within the bundle's golden tolerance); with another bundle, at its own threshold, the decision.

        Raises:
            BackendError: the session failed.
        """
        assert row.picture is not None, "only rows with a picture can be replayed"
        try:
            image = self._image(row.picture)
        except DataError as exc:
            return Replayed(row, "damaged", note=str(exc))
        if row.pixels_sha256 is not None and pixels_digest(image) != row.pixels_sha256:
            return Replayed(row, "damaged", note=f"{row.picture} does not show the frame that was judged")
        is_own = row.bundle_sha256 == self._bundle_sha256
        verdict = self._verdict(row, image, is_own)
        outcome, note = self._compared(row, verdict, is_own)
        return Replayed(row, outcome, verdict.decision, verdict.score, note)

    def _image(self, name: str) -> NDArray[Any]:
        """Read a kept frame; raises DataError when it is gone or damaged, or the name leads elsewhere."""
        path = self._pictures / name
        if not path.resolve().is_relative_to(self._pictures.resolve()):
            raise DataError(f"{name} lies outside of {self._pictures}; expected a picture of the archive")
        return read_as_written(path)

    def _verdict(self, row: Row, image: NDArray[Any], is_own: bool) -> Verdict:
        manifest = self._manifest
        if is_own and row.threshold is not None:
            threshold = replace(manifest.threshold, value=row.threshold)
            manifest = replace(manifest, threshold=threshold)
        # A new one for each frame: a gate remembers the frames before, and they are not here. A frame with
        # a score had passed a gate that may have had other limits.
        gate = _OpenGate() if row.score is not None else None
        frame = Frame(image, row.frame or 0, name=row.name or "", part=row.part)
        return Inspector(self._session, manifest, gate).inspect(frame)

    def _compared(self, row: Row, verdict: Verdict, is_own: bool) -> tuple[Outcome, str]:
        if row.score is None and row.decision == Decision.NO_DECISION.value:
            return _compared_reasons(row, verdict)
        if verdict.decision.value != row.decision:
            return "differs", verdict.reason or f"{row.decision} became {verdict.decision.value}"
        if not is_own or row.score is None or verdict.score is None:
            return "same", ""
        difference = abs(verdict.score - row.score)
        if difference > self._manifest.golden_tolerance:
            allowed = self._manifest.golden_tolerance
            return "differs", f"the score moved by {difference:.2g}; allowed are {allowed:.2g}"
        return "same", ""


class _OpenGate:
    """Lets every frame through."""

    def fault(self, frame: Frame) -> str | None:
        return None

    def appearance_fault(self, appearance: Appearance) -> str | None:
        return None


def _compared_reasons(row: Row, verdict: Verdict) -> tuple[Outcome, str]:
    recorded = (row.reason or "").partition(":")[0]
    today = (verdict.reason or "").partition(":")[0]
    if verdict.decision is Decision.NO_DECISION and recorded == today:
        return "same", ""
    if recorded in _REPEATABLE:
        return "differs", f"it was {recorded!r} and is {today or verdict.decision.value!r}"
    return "skipped", f"{recorded!r} cannot be seen in one picture"
