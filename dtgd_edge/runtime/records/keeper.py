"""Keeps the audit log's disk in step, off the way of the thread that commits."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.records.anchor import Anchor, write_anchor
from dtgd_edge.runtime.records.append import LogAppender
from dtgd_edge.runtime.records.database import Head

# Above it the write-ahead log is begun anew, which holds commits up for a moment.
_WAL_LIMIT_BYTES = 32 << 20
_RESTART_S = 0.05


class Keeper:
    """A thread that syncs the write-ahead log, moves it into the database and writes the side file.

    Args:
        path: of the log.
        appender: the end of the log.
        every_ms: between two rounds.
        tell: is given what a round failed with, and None when one succeeds again.
    """

    def __init__(
        self, path: Path, appender: LogAppender, every_ms: int, tell: Callable[[str | None], None]
    ) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._appender = appender
        self._every_s = every_ms / 1e3
        self._tell = tell
        self._stop = threading.Event()
        self._is_failing = False
        self._anchored: Head | None = None
        self._thread = threading.Thread(target=self._work, name="dtgd-audit-keeper", daemon=True)

    def start(self) -> None:
        """Do one round here, so that the side file is there from the beginning, and go on in the thread.

        Raises:
            SinkError: the disk refuses.
        """
        self._round()
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """End after a last round."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            self._guarded_round()
        self._guarded_round()

    def _guarded_round(self) -> None:
        try:
            self._round()
        except SinkError as exc:
            if not self._is_failing:
                self._tell(str(exc))
            self._is_failing = True
            return
        if self._is_failing:
            self._tell(None)
        self._is_failing = False

    def _round(self) -> None:
        # The head first: the side file must not know more than the disk has.
        head = self._appender.head
        if head == self._anchored:
            return
        try:
            self._sync()
            self._checkpoint()
        except (sqlite3.Error, OSError) as exc:
            raise SinkError(
                f"audit log {self._path} cannot be synced ({exc}); expected a disk with room; "
                "free some space; verdicts are recorded as long as there is some"
            ) from exc
        write_anchor(self._path, Anchor(head.log_id, head.sequence, head.hash, time.time_ns()))
        self._anchored = head

    def _sync(self) -> None:
        # SQLite's locks are on the other two files, so closing this one gives none of them up.
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(self._wal, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _checkpoint(self) -> None:
        connection = sqlite3.connect(self._path, timeout=_RESTART_S, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if self._wal.exists() and self._wal.stat().st_size > _WAL_LIMIT_BYTES:
                # What came during the first pass, so that little is left while nobody can commit. A thread
                # that commits all the time would never let another connection in by itself.
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                with self._appender.between:
                    # A reader in the way makes this do nothing, and the next round tries again.
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
