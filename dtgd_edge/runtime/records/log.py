"""Reads an audit log, also while a run writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dtgd_edge.errors import DataError
from dtgd_edge.runtime.records.chain import Chain
from dtgd_edge.runtime.records.database import Head, chain_of, head_of, open_to_read, unreadable
from dtgd_edge.runtime.records.row import COLUMNS, Row

_ALL = f"SELECT {', '.join(COLUMNS)} FROM entries"
# Rows are read in pages, so that a slow reader never holds an old state of the file open.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """What a log holds.

    Attributes:
        verdicts: by decision.
        events, runs: of all kinds.
    """

    verdicts: dict[str, int]
    events: int
    runs: int


class AuditLog:
    """An open log, read-only. One thread at a time.

    Args:
        path: made by an AuditSink.

    Raises:
        DataError: no such file, another program's, damaged, or written by a newer version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._connection = open_to_read(self.path)

    def chain(self, key: bytes | None = None) -> Chain:
        """How the rows prove each other.

        Raises:
            ConfigError: a key is needed, not used, or another one.
            DataError: the log cannot be read.
        """
        with self._translated():
            return chain_of(self._connection, self.path, key)

    def head(self, chain: Chain) -> Head:
        """The last row; raises DataError as `rows`."""
        with self._translated():
            return head_of(self._connection, chain)

    def rows(self, after: int = 0) -> Iterator[Row]:
        """All rows with a sequence above `after`, in the order of the log.

        Raises:
            DataError: the log cannot be read.
        """
        while page := self._page(after):
            yield from page
            after = page[-1].sequence

    def newest(self, count: int, decision: str | None = None) -> list[Row]:
        """The last rows, oldest first.

        Args:
            count: at most so many.
            decision: only verdicts of this kind; None: every row.

        Raises:
            DataError: the log cannot be read.
        """
        where, values = ("", ()) if decision is None else (" WHERE decision = ?", (decision,))
        with self._translated():
            found = self._connection.execute(
                f"{_ALL}{where} ORDER BY sequence DESC LIMIT ?", (*values, count)
            ).fetchall()
        return [Row(*values) for values in reversed(found)]

    def counts(self) -> Counts:
        """Count what is in the log; reads all of it."""
        with self._translated():
            query = "SELECT decision, count(*) FROM entries WHERE kind = 'verdict' GROUP BY decision"
            verdicts = dict(self._connection.execute(query).fetchall())
            events, runs = self._connection.execute(
                "SELECT count(CASE WHEN kind = 'event' THEN 1 END), count(DISTINCT run) FROM entries"
            ).fetchone()
        return Counts(verdicts, events, runs)

    def hashed_rows(self) -> Iterator[tuple[Row, object]]:
        """All rows with their stored hashes; raises DataError as `rows`."""
        after: int | None = None
        while True:
            # From below 1 too: whoever inserts a row may number it so.
            where, values = ("", ()) if after is None else (" WHERE sequence > ?", (after,))
            with self._translated():
                page = self._connection.execute(
                    f"SELECT {', '.join(COLUMNS)}, hash FROM entries{where} ORDER BY sequence LIMIT {_PAGE}",
                    values,
                ).fetchall()
            if not page:
                return
            for values in page:
                yield Row(*values[:-1]), values[-1]
            after = page[-1][0]

    def with_judge(self, row: Row, judges: dict[int, Row]) -> Row:
        """Fill in who judged.

        Args:
            row: a verdict; other rows come back as they are.
            judges: judges that were met, by sequence; filled here.

        Raises:
            DataError: the log cannot be read.
        """
        if row.kind != "verdict" or row.judge is None:
            return row
        if (judge := judges.get(row.judge)) is None:
            with self._translated():
                found = self._connection.execute(f"{_ALL} WHERE sequence = ?", (row.judge,)).fetchone()
            if found is None:
                return row
            judge = judges[row.judge] = Row(*found)
        return replace(
            row,
            bundle_name=judge.bundle_name,
            bundle_sha256=judge.bundle_sha256,
            plan_sha256=judge.plan_sha256,
            device=judge.device,
        )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _page(self, after: int) -> list[Row]:
        with self._translated():
            found = self._connection.execute(
                f"{_ALL} WHERE sequence > ? ORDER BY sequence LIMIT {_PAGE}", (after,)
            ).fetchall()
        return [Row(*values) for values in found]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise unreadable(self.path, exc) from exc
        except UnicodeDecodeError as exc:
            raise DataError(
                f"audit log {self.path} holds text that is no UTF-8; expected what a run wrote; "
                "it was edited or damaged"
            ) from exc
