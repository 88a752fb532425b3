"""Looks for tampering in an audit log.

Found: a row that was edited, removed, inserted or moved, and a tail that was cut off below what the side file
knows. Not found: rows cut off that no side file knew of yet (at most those of `sync_every_ms`); a cut of the
log and its side file together, unless a copy of the side file was kept elsewhere; and, without a key, a log
that somebody who can write it made anew from some row on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dtgd_edge.errors import DataError
from dtgd_edge.runtime.records.anchor import Anchor, anchor_path, read_anchor
from dtgd_edge.runtime.records.append import LOG_CUT
from dtgd_edge.runtime.records.chain import Chain
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.losses import NOT_RECORDED
from dtgd_edge.runtime.records.row import Row

_REPORT_EVERY = 50_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What a log's check found.

    Attributes:
        rows: that hold, from the first on.
        verdicts: among them.
        head_hash: of the last of them, hexadecimal: write it down elsewhere to prove the log later.
        is_keyed: whether the hashes needed a key.
        fault: the first thing that is wrong; None: nothing is.
        bad_sequence: of the row it was found at; None if it is not a row's.
        anchored: rows that the side file vouches for; None without one.
        notes: events "not recorded", which a whole log may have.
    """

    rows: int
    verdicts: int
    head_hash: str
    is_keyed: bool
    fault: str | None
    bad_sequence: int | None
    anchored: int | None
    notes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.fault is None


def prove(
    path: Path | str,
    key: bytes | None = None,
    *,
    anchor: Path | str | None = None,
    needs_anchor: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Proof:
    """Check every row of a log; a run may be writing it.

    Args:
        path: the log.
        key: of a log that was made with one.
        anchor: a side file, for instance a copy kept elsewhere; None: the one beside the log.
        needs_anchor: without a side file the log does not hold: its tail may be cut.
        say: is told the progress of a long check.

    Raises:
        DataError: no such log, or it cannot be opened.
        ConfigError: a key is needed, not used, or another one.
    """
    # Before the rows: those that a run adds meanwhile do not matter.
    known = read_anchor(Path(anchor) if anchor is not None else anchor_path(Path(path)))
    with AuditLog(path) as log:
        walk = _Walk(log.chain(key), known)
        if known is not None and known.log_id != walk.chain.log_id:
            walk.fail("the side file belongs to another log: one of the two was exchanged", None)
            return walk.proof
        try:
            for row, stored in log.hashed_rows():
                if not walk.step(row, stored):
                    break
                if row.sequence % _REPORT_EVERY == 0:
                    say(f"{row.sequence} rows hold")
        except DataError as exc:
            walk.fail(str(exc), None)
    if not walk.proof.holds:
        return walk.proof
    return _with_tail(walk.proof, known, needs_anchor)


class _Walk:
    """Follows the chain row by row."""

    def __init__(self, chain: Chain, anchor: Anchor | None) -> None:
        self.chain = chain
        self._anchor = anchor
        self._previous = chain.genesis
        self._sequence = 0
        anchored = None if anchor is None else anchor.sequence
        self.proof = Proof(0, 0, chain.genesis.hex(), chain.key is not None, None, None, anchored, ())

    def step(self, row: Row, stored: object) -> bool:
        """Check the next row; False when something is wrong."""
        proof, expected = self.proof, self._sequence + 1
        if row.sequence != expected:
            kind = "missing" if isinstance(row.sequence, int) and row.sequence > expected else "out of order"
            return self.fail(f"row {expected} is {kind}: row {row.sequence} stands in its place", expected)
        try:
            own = self.chain.link(self._previous, row.values())
        except TypeError as exc:
            return self.fail(f"row {expected} {_described(row)} was edited: {exc}", expected)
        if own != stored:
            return self.fail(
                f"row {expected} {_described(row)} does not follow from row {expected - 1}: "
                "it was edited, inserted or moved, or the row before it was removed",
                expected,
            )
        if self._anchor is not None and self._anchor.sequence == expected and own.hex() != self._anchor.hash:
            return self.fail(f"row {expected} is not the one that the side file knows", expected)
        self._previous, self._sequence = own, expected
        notes = proof.notes
        if row.kind == "event" and row.what == NOT_RECORDED:
            notes = (*notes, f"row {expected}: not recorded: {row.detail}")
        if row.kind == "event" and row.what == LOG_CUT:
            return self.fail(f"row {expected} says that rows before it were cut off: {row.detail}", expected)
        verdicts = proof.verdicts + (row.kind == "verdict")
        self.proof = replace(proof, rows=expected, verdicts=verdicts, head_hash=own.hex(), notes=notes)
        return True

    def fail(self, fault: str, sequence: int | None) -> bool:
        """Note what is wrong."""
        self.proof = replace(self.proof, fault=fault, bad_sequence=sequence)
        return False


def _with_tail(proof: Proof, anchor: Anchor | None, needs_anchor: bool) -> Proof:
    """Whether the log is as long as it was."""
    if anchor is None:
        if not needs_anchor:
            return proof
        return replace(proof, fault="the side file is missing: whether the tail was cut cannot be told")
    if anchor.sequence > proof.rows:
        first = proof.rows + 1
        return replace(
            proof,
            fault=f"rows {first} to {anchor.sequence} are missing: the tail was cut off",
            bad_sequence=first,
        )
    return proof


def _described(row: Row) -> str:
    return f"({row.kind}, frame {row.frame})" if row.kind == "verdict" else f"({row.kind})"
