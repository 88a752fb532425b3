"""What one fault amounts to, and the table of all of them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.config import mapping_from_record
from dtgd_edge.percentiles import Percentiles

COLUMNS = (
    "fault",
    "how injected",
    "times",
    "expected",
    "happened",
    "wrong OK",
    "back after, median / longest",
    "as expected",
)


@dataclass(frozen=True, slots=True)
class Shortfalls:
    """What was checked and did not hold; empty is good."""

    texts: tuple[str, ...] = ()

    def unless(self, holds: bool, text: str) -> "Shortfalls":
        """Add a text unless something holds."""
        return self if holds else Shortfalls((*self.texts, text))


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: which.
        injected: how it was made to happen.
        times: how often.
        expected: of the line.
        happened: what it did, with numbers.
        wrong_ok: OK verdicts about frames that could not be judged; there must be none.
        recovery_ms: from the end of the fault to the next judged frame or delivered verdict.
        shortfalls: expectations that were not met.
        skipped: why it was not tried here; "" if it was.
        seconds: that the row took.
    """

    fault: str
    injected: str
    times: int
    expected: str
    happened: str
    wrong_ok: int = 0
    recovery_ms: Percentiles = field(default_factory=lambda: Percentiles(0))
    shortfalls: tuple[str, ...] = ()
    skipped: str = ""
    seconds: float = 0.0

    def cells(self) -> tuple[str, ...]:
        """As COLUMNS."""
        back = self.recovery_ms
        recovery = "-" if back.max is None else f"{back.p50:.0f} / {back.max:.0f} ms"
        outcome = "not tried" if self.skipped else "yes" if self.is_met else "NO"
        happened = self.happened or self.skipped
        return (
            self.fault,
            self.injected,
            str(self.times),
            self.expected,
            happened,
            str(self.wrong_ok),
            recovery,
            outcome,
        )

    @property
    def is_met(self) -> bool:
        """Whether the line did what was expected; a row that was not tried shows nothing."""
        return not self.skipped and not self.shortfalls and not self.wrong_ok


@dataclass(frozen=True, slots=True)
class FaultTable:
    """All rows.

    Attributes:
        rows: in the order they ran.
        machine: where.
        seconds: all of it.
    """

    rows: tuple[Row, ...]
    machine: Machine
    seconds: float

    @property
    def fell_short(self) -> tuple[Row, ...]:
        """Rows that were tried and did not meet what was expected."""
        return tuple(row for row in self.rows if not row.skipped and not row.is_met)

    def text(self) -> str:
        """Markdown: the table, and below it what fell short or was not tried."""
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(row.cells()) + " |" for row in self.rows]
        lines.append("")
        lines += [f"FELL SHORT, {row.fault}: {text}" for row in self.rows for text in row.shortfalls]
        lines += [f"NOT TRIED, {row.fault}: {row.skipped}" for row in self.rows if row.skipped]
        met = sum(row.is_met for row in self.rows)
        machine = self.machine
        lines.append(
            f"{met} of {len(self.rows)} rows as expected, in {self.seconds:.0f} s on {machine.cpu}, "
            f"{machine.cores} cores, load {machine.load}"
        )
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [{**mapping_from_record(row), "is_met": row.is_met} for row in self.rows]
        return {"rows": rows, "machine": mapping_from_record(self.machine), "seconds": round(self.seconds, 1)}


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not change from one outcome to the other.

    Attributes:
        name, injected, expected: as Row.
    """

    name: str
    injected: str
    expected: str

    def skipped(self, why: str) -> Row:
        """It was not tried here."""
        return Row(self.name, self.injected, 0, self.expected, "", skipped=why)

    def died(self, text: str) -> Row:
        """The line under test ended with a traceback."""
        return Row(
            self.name, self.injected, 0, self.expected, "", shortfalls=(f"the line died: {text[-300:]}",)
        )

    def row(
        self,
        times: int,
        happened: str,
        wrong_ok: int,
        recovery_ms: Iterable[float],
        shortfalls: tuple[str, ...],
    ) -> Row:
        """It was tried."""
        return Row(
            self.name,
            self.injected,
            times,
            self.expected,
            happened,
            wrong_ok,
            Percentiles.of(recovery_ms),
            shortfalls,
        )


Injection = Callable[[], Row]


def try_all(injections: Sequence[Injection], say: Callable[[str], None]) -> FaultTable:
    """Inject one fault after the other.

    Args:
        injections: each builds its line, breaks it and says what happened.
        say: is told each row when it is done.
    """
    begun = time.monotonic()
    rows: list[Row] = []
    for injection in injections:
        row_begun = time.monotonic()
        row = replace(injection(), seconds=round(time.monotonic() - row_begun, 1))
        rows.append(row)
        outcome = f"skipped, {row.skipped}" if row.skipped else "as expected" if row.is_met else "FELL SHORT"
        say(f"{row.fault}: {outcome} ({row.seconds:.1f} s)")
    return FaultTable(tuple(rows), this_machine(), time.monotonic() - begun)
