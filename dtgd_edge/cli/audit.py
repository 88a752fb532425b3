"""`dtgd-edge audit`: is the log whole, what is in it, and as CSV."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dtgd_edge.cli.console import ERR, OUT, Json, print_json, say, table

if TYPE_CHECKING:
    from dtgd_edge.runtime.records.row import Row

audit = typer.Typer(no_args_is_help=True, help="The audit log: verify it, show it, export it.")

Log = Annotated[Path, typer.Argument(help="An audit log.")]


@audit.command()
def verify(
    log: Log,
    key_file: Annotated[Path | None, typer.Option(help="Key of a log that was made with one.")] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="A copy of LOG.anchor that was kept elsewhere; default: LOG.anchor.")
    ] = None,
    no_anchor: Annotated[
        bool, typer.Option("--no-anchor", help="Accept a log without LOG.anchor; its tail may be cut.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for rows that were edited, removed, inserted, moved or cut off; exit with 1 at the first."""
    from dtgd_edge.runtime.records.chain import read_key
    from dtgd_edge.runtime.records.proof import prove

    key = None if key_file is None else read_key(key_file)
    proof = prove(log, key, anchor=anchor, needs_anchor=not no_anchor, say=say)
    if as_json:
        print_json({"log": str(log), "holds": proof.holds, **asdict(proof)})
    elif proof.holds:
        vouched = "no side file" if proof.anchored is None else f"its side file vouches for {proof.anchored}"
        OUT.print(f"{log}: whole; {proof.rows} rows, {proof.verdicts} verdicts; {vouched}", markup=False)
        OUT.print(f"  last hash {proof.head_hash}", markup=False)
        if not proof.is_keyed:
            ERR.print("note: no key; whoever can write the file could have made it anew", markup=False)
    else:
        OUT.print(f"{log}: does not hold after row {proof.rows}: {proof.fault}", markup=False)
    for note in proof.notes:
        ERR.print(f"note: {note}", markup=False)
    if not proof.holds:
        sys.exit(1)


@audit.command()
def export(
    log: Log, csv: Annotated[Path, typer.Option(help="The file to write.")], as_json: Json = False
) -> None:
    """Write all rows as CSV."""
    from dtgd_edge.runtime.records.log import AuditLog
    from dtgd_edge.runtime.records.table import write_csv

    with AuditLog(log) as opened:
        rows = write_csv(opened, csv)
    if as_json:
        print_json({"csv": str(csv), "rows": rows})
    else:
        OUT.print(f"{csv}: {rows} rows", markup=False)


@audit.command()
def show(
    log: Log,
    rows: Annotated[int, typer.Option(min=1, help="The newest so many rows.")] = 20,
    only: Annotated[
        Literal["OK", "NG", "NO_DECISION"] | None, typer.Option(help="Only verdicts of this kind.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the newest rows."""
    from dtgd_edge.runtime.records.log import AuditLog

    with AuditLog(log) as opened:
        counts = opened.counts()
        judges: dict[int, Row] = {}
        newest = [opened.with_judge(row, judges) for row in opened.newest(rows, only)]
    if as_json:
        print_json({"log": str(log), **asdict(counts), "rows": [_plain(row) for row in newest]})
        return
    kinds = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.verdicts.items()))
    OUT.print(f"{log}: {counts.runs} runs; {kinds or 'no verdicts'}; {counts.events} events", markup=False)
    table("newest rows, UTC", ["time", "row", "frame", "what", "score", "margin", "detail"], _cells(newest))


def _plain(row: "Row") -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if value is not None}


def _cells(rows: "list[Row]") -> list[list[str]]:
    from dtgd_edge.runtime.records.table import time_text

    cells = []
    for row in rows:
        what, detail = row.decision or row.what or row.kind, row.reason or row.detail or row.name
        if row.kind == "judge":
            detail = f"{row.bundle_name} on {row.device}"
        numbers = ["-" if value is None else f"{value:.4f}" for value in (row.score, row.margin)]
        frame = "-" if row.frame is None else str(row.frame)
        time = time_text(row.wall_ns).removesuffix("+00:00")
        cells.append([time, str(row.sequence), frame, what, *numbers, detail or ""])
    return cells
