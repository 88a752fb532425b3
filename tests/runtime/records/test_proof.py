"""Every kind of tampering is found, and the first bad row is named."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dtgd_edge.runtime.records.anchor import anchor_path, read_anchor
from dtgd_edge.runtime.records.chain import Chain
from dtgd_edge.runtime.records.proof import prove
from dtgd_edge.runtime.records.row import COLUMNS, Row
from tests.runtime.records.made import judged, opened, rows, written

Tamper = Callable[[sqlite3.Connection], object]


def tampered(log: Path, tamper: Tamper) -> None:
    connection = sqlite3.connect(log)
    with connection:
        tamper(connection)
    connection.close()


def swap(connection: sqlite3.Connection) -> None:
    """Exchange two rows, hashes included."""
    for old, new in ((5, -1), (6, 5), (-1, 6)):
        connection.execute("UPDATE entries SET sequence = ? WHERE sequence = ?", (new, old))


def insert(connection: sqlite3.Connection) -> None:
    """Put a copy of row 5 after it and renumber what follows."""
    connection.execute("UPDATE entries SET sequence = -sequence WHERE sequence > 5")
    connection.execute("UPDATE entries SET sequence = 1 - sequence WHERE sequence < 0")
    copied = ", ".join(COLUMNS[1:])
    connection.execute(f"INSERT INTO entries SELECT 6, {copied}, hash FROM entries WHERE sequence = 5")


def remove_and_renumber(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM entries WHERE sequence = 5")
    connection.execute("UPDATE entries SET sequence = -sequence WHERE sequence > 5")
    connection.execute("UPDATE entries SET sequence = -1 - sequence WHERE sequence < 0")


@pytest.mark.parametrize(
    ("tamper", "bad"),
    [
        (lambda c: c.execute("UPDATE entries SET decision = 'OK' WHERE sequence = 5"), 5),
        (lambda c: c.execute("UPDATE entries SET score = 0.51 WHERE sequence = 3"), 3),
        (lambda c: c.execute("UPDATE entries SET score = '0.5' || char(0) WHERE sequence = 3"), 3),
        (lambda c: c.execute("UPDATE entries SET reason = NULL WHERE sequence = 5"), 5),
        (lambda c: c.execute("UPDATE entries SET name = x'00' WHERE sequence = 5"), 5),
        (lambda c: c.execute("UPDATE entries SET who = 'me' WHERE sequence = 1"), 1),
        (lambda c: c.execute("UPDATE entries SET bundle_sha256 = '1' WHERE sequence = 2"), 2),
        (lambda c: c.execute("UPDATE entries SET hash = x'00' WHERE sequence = 4"), 4),
        (lambda c: c.execute("DELETE FROM entries WHERE sequence = 5"), 5),
        (lambda c: c.execute("DELETE FROM entries WHERE sequence = 1"), 1),
        (lambda c: c.execute("DELETE FROM entries WHERE sequence > 9"), 10),
        (lambda c: c.execute("DELETE FROM entries"), 1),
        (lambda c: c.execute("INSERT INTO entries SELECT * FROM entries LIMIT 0"), None),
        (remove_and_renumber, 5),
        (swap, 5),
        (insert, 6),
    ],
)
def test_tampering_is_found(tmp_path: Path, tamper: Tamper, bad: int | None) -> None:
    log = written(tmp_path / "audit.db")
    tampered(log, tamper)
    proof = prove(log)
    assert (proof.bad_sequence, proof.holds) == (bad, bad is None), proof.fault
    assert proof.rows == (bad - 1 if bad else 13)


def test_rows_below_the_first_are_seen(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.db")
    tampered(log, lambda c: c.execute("UPDATE entries SET sequence = -4 WHERE sequence = 5"))
    assert not prove(log).holds and prove(log).rows == 0


def test_a_cut_is_remembered_when_the_log_grows_again(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.db")
    tampered(log, lambda c: c.execute("DELETE FROM entries WHERE sequence > 9"))
    written(log)
    proof = prove(log)
    assert not proof.holds and proof.bad_sequence == 10
    assert "13 rows" in (proof.fault or "") and "found 9" in (proof.fault or "")


def test_an_exchanged_or_missing_side_file(tmp_path: Path) -> None:
    log, other = written(tmp_path / "audit.db"), written(tmp_path / "other.db")
    shutil.copy(anchor_path(other), anchor_path(log))
    assert "another log" in (prove(log).fault or "")
    tampered(log, lambda c: c.execute("UPDATE log SET log_id = 'other'"))
    anchor_path(log).unlink()
    assert prove(log, needs_anchor=False).bad_sequence == 1
    anchor_path(other).unlink()
    proof = prove(other)
    assert not proof.holds and "side file is missing" in (proof.fault or "")
    assert prove(other, needs_anchor=False).holds
    written(other)
    assert prove(other).bad_sequence == 14, "that it was missing is remembered"
    third = written(tmp_path / "third.db")
    third.unlink()
    written(third)
    assert prove(third).bad_sequence == 1, "a log that is begun anew beside its old side file"


def test_a_copy_elsewhere_finds_a_cut_of_both(tmp_path: Path) -> None:
    log, earlier, copy = tmp_path / "audit.db", tmp_path / "earlier", tmp_path / "copy"
    written(log)
    shutil.copy(anchor_path(log), earlier)
    written(log)
    shutil.copy(anchor_path(log), copy)
    tampered(log, lambda c: c.execute("DELETE FROM entries WHERE sequence > 13"))
    shutil.copy(earlier, anchor_path(log))
    assert prove(log).holds, "what nobody outside knows cannot be told"
    assert prove(log, anchor=copy).bad_sequence == 14


def test_a_killed_run_leaves_more_rows_than_its_side_file_knows(tmp_path: Path) -> None:
    log = tmp_path / "audit.db"
    with opened(log, sync_every_ms=60_000) as sink:
        for index in range(5):
            sink.write(*judged(index))
        anchor = read_anchor(anchor_path(log))
        proof = prove(log)
        assert anchor is not None and anchor.sequence < proof.rows == 7 and proof.holds


def test_only_a_key_keeps_a_forger_out(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    secret = key.read_bytes()

    def forge(log: Path) -> None:
        """Change row 4 and make all hashes after it anew, as who has no key can."""
        connection = sqlite3.connect(log)
        with connection:
            connection.execute("UPDATE entries SET decision = 'OK' WHERE sequence = 4")
            log_id = connection.execute("SELECT log_id FROM log").fetchone()[0]
            chain = Chain(log_id)
            last = connection.execute("SELECT hash FROM entries WHERE sequence = 3").fetchone()[0]
            for row in rows(log)[3:]:
                if row.sequence == 4:
                    row = Row(
                        *connection.execute(
                            f"SELECT {', '.join(COLUMNS)} FROM entries WHERE sequence = 4"
                        ).fetchone()
                    )
                last = chain.link(last, row.values())
                connection.execute("UPDATE entries SET hash = ? WHERE sequence = ?", (last, row.sequence))
        connection.close()
        anchor_path(log).unlink()

    plain, keyed = written(tmp_path / "plain.db"), written(tmp_path / "keyed.db", key_file=str(key))
    forge(plain)
    forge(keyed)
    assert prove(plain, needs_anchor=False).holds, "as proof.py says"
    assert prove(keyed, secret, needs_anchor=False).bad_sequence == 4


def test_a_damaged_file_is_a_finding_or_an_error(tmp_path: Path) -> None:
    log = written(tmp_path / "audit.db", 600)
    content = bytearray(log.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 9000):
        content[at] ^= 0xFF
    log.write_bytes(content)
    assert not prove(log).holds
