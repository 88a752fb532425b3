"""Adds rows to the audit log, several in one transaction."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dtgd_edge.errors import DataError, SinkError
from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.records.anchor import Anchor, anchor_path, read_anchor, write_anchor
from dtgd_edge.runtime.records.database import Head, chain_of, head_of, make_tables, open_to_write
from dtgd_edge.runtime.records.digest import pixels_digest
from dtgd_edge.runtime.records.row import COLUMNS, Draft, Judge, Row, draft_of_event, draft_of_judge

LOG_CUT = "log cut"

_INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"


class LogAppender:
    """The end of a log that rows are added to, by one thread at a time.

    The head is read inside of every transaction, so that two processes may add to one log. Whoever holds
    `between` keeps this one from beginning the next.

    Args:
        path: made if missing.
        run: eight hexadecimal digits for the rows of this run.
        key: as Chain has it.
        synchronous: "normal" or "full", as SQLite means it.
        timeout_ms: how long to wait for another process that holds the file.

    Raises:
        SinkError: it cannot be opened, or is none.
        ConfigError: its key is another one.
    """

    def __init__(self, path: Path, run: str, key: bytes | None, synchronous: str, timeout_ms: int) -> None:
        self._path = path
        self._run = run
        self._judge: tuple[Judge, int] | None = None
        self.between = threading.Lock()
        self._connection = open_to_write(path, synchronous, timeout_ms)
        try:
            make_tables(self._connection, key)
            self._chain = chain_of(self._connection, path, key)
            self._head = head_of(self._connection, self._chain)
            if (cut := _cut(self._connection, path, self._head)) is not None:
                self.append([draft_of_event(cut)])
            elif self._head.sequence == 0:
                # Before the first row: rows without a side file are a sign that somebody removed it.
                write_anchor(path, Anchor(self._head.log_id, 0, self._head.hash, time.time_ns()))
        except sqlite3.Error as exc:
            self._connection.close()
            raise SinkError(
                f"audit log {path} cannot be opened ({exc}); expected room and a log that nobody locks; "
                "free some space or choose another place"
            ) from exc
        except BaseException:
            self._connection.close()
            raise

    @property
    def head(self) -> Head:
        """The last row that was committed from here."""
        return self._head

    def append(self, drafts: Sequence[Draft]) -> None:
        """Commit rows, all or none; a new judge gets its row before the first verdict of its own.

        Raises:
            SinkError: none was committed.
        """
        with self.between:
            self._append(drafts)

    def close(self) -> None:
        self._connection.close()

    def _append(self, drafts: Sequence[Draft]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            head = head_of(connection, self._chain)
            sequence, last, judge = head.sequence, bytes.fromhex(head.hash), self._judge
            for draft in drafts:
                if draft.judge is not None and (judge is None or judge[0] != draft.judge):
                    sequence, last = self._insert(draft_of_judge(draft.judge), sequence + 1, last, None)
                    judge = (draft.judge, sequence)
                of = judge[1] if judge is not None and draft.judge is not None else None
                sequence, last = self._insert(draft, sequence + 1, last, of)
            connection.execute("COMMIT")
        # OverflowError: a part number beyond 64 bits.
        except (sqlite3.Error, OverflowError) as exc:
            self._roll_back()
            raise SinkError(
                f"audit log {self._path} refuses {len(drafts)} rows ({exc}); expected room for them and a "
                "file that nobody locks; free some space or close what holds it"
            ) from exc
        except BaseException:
            self._roll_back()
            raise
        self._judge = judge
        self._head = Head(head.log_id, sequence, last.hex())

    def _insert(self, draft: Draft, sequence: int, previous: bytes, judge: int | None) -> tuple[int, bytes]:
        columns = draft.columns
        pixels = None if draft.image is None else _digest(draft)
        row = Row(
            sequence,
            draft.kind,
            self._run,
            draft.wall_ns,
            draft.mono_ns,
            judge=judge,
            pixels_sha256=pixels,
            **columns,
        )
        values = row.values()
        own = self._chain.link(previous, values)
        self._connection.execute(_INSERT, (*values, own))
        return sequence, own

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _digest(draft: Draft) -> str | None:
    image = draft.image
    # A frame that the gate refuses may be anything.
    if image is None or image.ndim not in (2, 3) or image.dtype.kind not in "uif":
        return None
    return pixels_digest(image)


def _cut(connection: sqlite3.Connection, path: Path, head: Head) -> Event | None:
    """Whether a log is shorter than its side file knows; that must not be forgotten when it grows again."""
    side = anchor_path(path)
    try:
        anchor: Anchor | None = read_anchor(side)
    except DataError as exc:
        return Event(LOG_CUT, f"the side file is damaged: {exc}", is_alarm=True, who="audit log")
    if anchor is None:
        if head.sequence == 0:
            return None
        return Event(LOG_CUT, f"{side.name} is missing; found {head.sequence} rows", True, "audit log")
    found = connection.execute("SELECT hash FROM entries WHERE sequence = ?", (anchor.sequence,)).fetchone()
    is_there = anchor.sequence == 0 or (found is not None and found[0] == bytes.fromhex(anchor.hash))
    if anchor.log_id == head.log_id and is_there:
        return None
    detail = (
        f"{side.name} knows {anchor.sequence} rows of log {anchor.log_id[:8]}; found {head.sequence} rows of "
        f"log {head.log_id[:8]} that do not go on from there"
    )
    return Event(LOG_CUT, detail, is_alarm=True, who="audit log")
