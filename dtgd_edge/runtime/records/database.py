"""The audit log's file: an SQLite database in WAL mode."""

import os
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from dtgd_edge.errors import ConfigError, DataError, DtgdError, SinkError
from dtgd_edge.runtime.records.chain import Chain, key_check
from dtgd_edge.runtime.records.row import COLUMNS

SCHEMA = 1
_APPLICATION = 0x44544744  # "DTGD"
_TYPES = {"score": "REAL", "threshold": "REAL", "margin": "REAL"}
_WHOLE = {"wall_ns", "mono_ns", "judge", "part", "frame", "is_alarm", "told_ns"}

_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {0}.wall_ns / 1000000000.0, 'unixepoch')"
_CREATE = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, "
    + ", ".join(f"{c} {_TYPES.get(c, 'INTEGER' if c in _WHOLE else 'TEXT')}" for c in COLUMNS[1:])
    + ", hash BLOB NOT NULL)",
    "CREATE TABLE log (log_id TEXT NOT NULL, created TEXT NOT NULL, key_check TEXT)",
    # For people with an SQL tool; this package reads the entries.
    f"CREATE VIEW verdicts AS SELECT e.sequence, {_TIME.format('e')} AS time, e.run, e.part, e.frame, "
    "e.name, e.decision, e.score, e.threshold, e.margin, e.reason, e.stages_ms, e.regions, "
    "e.pixels_sha256, e.picture, j.bundle_name, j.bundle_sha256, j.plan_sha256, j.device "
    "FROM entries e LEFT JOIN entries j ON j.sequence = e.judge WHERE e.kind = 'verdict'",
    f"CREATE VIEW events AS SELECT e.sequence, {_TIME.format('e')} AS time, e.run, e.what, e.detail, "
    "e.is_alarm, e.who FROM entries e WHERE e.kind = 'event'",
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log ends.

    Attributes:
        log_id: of the log.
        sequence: of its last row; 0 when it has none.
        hash: of its last row, hexadecimal; of the genesis when it has none.
    """

    log_id: str
    sequence: int
    hash: str


def open_to_write(path: Path, synchronous: str, timeout_ms: int) -> sqlite3.Connection:
    """Open a log, and make it if there is none. The connection may wander to another thread once.

    Raises:
        SinkError: no file can be made there, another program's file, or written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=timeout_ms / 1e3, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as exc:
        raise SinkError(
            f"audit log {path} cannot be opened ({_why(exc)}); expected a place for a file; choose another"
        ) from exc
    try:
        _refuse_foreign(connection, path, SinkError)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise SinkError(
                f"audit log {path} cannot use a write-ahead log (it got {mode!r}); "
                "expected a local disk; choose another place"
            )
        connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
        # The keeper checkpoints, off the way of commits.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection
    except sqlite3.Error as exc:
        connection.close()
        raise SinkError(
            f"audit log {path} cannot be opened ({exc}); expected a log of dtgd-edge that nobody locks; "
            "close what holds it, or choose another place"
        ) from exc
    except BaseException:
        connection.close()
        raise


def make_tables(connection: sqlite3.Connection, key: bytes | None) -> None:
    """Make the tables of a new log; one that has them stays as it is.

    Raises:
        sqlite3.Error: the disk refuses, or the file is locked.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _CREATE:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            made = datetime.now(timezone.utc).isoformat(timespec="seconds")
            check = None if key is None else key_check(key)
            connection.execute("INSERT INTO log VALUES (?, ?, ?)", (secrets.token_hex(16), made, check))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a log read-only; a run may be writing it.

    Raises:
        DataError: no such file, another program's, damaged, or written by a newer version.
    """
    if not path.is_file():
        raise DataError(f"audit log {path} does not exist; expected a file made by a run; check the path")
    place = f"file:{quote(str(path.absolute()))}?mode=ro"
    has_wal = path.with_name(path.name + "-wal").exists()
    if not has_wal and not os.access(path.parent, os.W_OK):
        # On a write-protected medium SQLite cannot share the file; nobody writes it either.
        place += "&immutable=1"
    try:
        connection = sqlite3.connect(place, uri=True, timeout=5.0, check_same_thread=False)
    except sqlite3.Error as exc:
        raise unreadable(path, exc) from exc
    try:
        _refuse_foreign(connection, path, DataError)
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            raise DataError(f"{path} holds no audit log; expected one made by a run; check the path")
        return connection
    except sqlite3.Error as exc:
        connection.close()
        raise unreadable(path, exc) from exc
    except BaseException:
        connection.close()
        raise


def unreadable(path: Path, exc: sqlite3.Error) -> DataError:
    """What to say when SQLite cannot read a log."""
    return DataError(
        f"audit log {path} cannot be read ({exc}); expected a whole log of dtgd-edge; "
        "copy it again together with its -wal file"
    )


def chain_of(connection: sqlite3.Connection, path: Path, key: bytes | None) -> Chain:
    """The chain of an open log.

    Raises:
        ConfigError: a key is needed and missing, given and not used, or another one.
        sqlite3.Error: the log cannot be read.
    """
    rows = connection.execute("SELECT log_id, key_check FROM log").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], str):
        raise sqlite3.DatabaseError("the log's own identity is missing")
    log_id, check = rows[0]
    if check is None and key is not None:
        raise ConfigError(
            f"audit log {path} was made without a key; expected no key file; leave it out or begin a new log"
        )
    if check is not None and key is None:
        raise ConfigError(f"audit log {path} was made with a key; expected its key file; name it")
    if check is not None and key is not None and check != key_check(key):
        raise ConfigError(f"audit log {path} was made with another key; expected that one; check the file")
    return Chain(log_id, key)


def head_of(connection: sqlite3.Connection, chain: Chain) -> Head:
    """The last row of an open log.

    Raises:
        sqlite3.Error: the log cannot be read.
    """
    found = connection.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
    sequence, last = found or (0, chain.genesis)
    if not isinstance(last, bytes):
        raise sqlite3.DatabaseError(f"row {sequence} has no hash")
    return Head(chain.log_id, sequence, last.hex())


def _refuse_foreign(connection: sqlite3.Connection, path: Path, error: type[DtgdError]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != _APPLICATION and (version or application or tables):
        raise error(f"{path} is a database of another program; expected an audit log; choose another file")
    if version > SCHEMA:
        raise error(
            f"audit log {path} has schema {version}; this dtgd-edge knows up to {SCHEMA}; "
            "update dtgd-edge here or begin a new log"
        )


def _why(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
