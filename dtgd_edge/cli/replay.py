"""`dtgd-edge replay`: do the kept pictures still get the verdicts of the log?"""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Backend, Json, Workspace, print_json, say, table
from dtgd_edge.errors import BundleError, DataError
from dtgd_edge.workspace import bundles

if TYPE_CHECKING:
    from dtgd_edge.runtime.records.replay import Replayed
    from dtgd_edge.runtime.records.row import Row

_SHOWN = 50


def replay(
    log: Annotated[Path, typer.Argument(help="An audit log.")],
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle; default: the workspace's one that the log names.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the kept pictures; default: pictures beside the log.")
    ] = None,
    allow_other_bundle: Annotated[
        bool, typer.Option("--allow-other-bundle", help="Report what another bundle would have said.")
    ] = False,
    backend: Backend = "auto",
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Judge the kept pictures again; exit with 1 when a verdict differs or a picture is another one."""
    from dtgd_edge.runtime.records.digest import file_digest
    from dtgd_edge.runtime.records.log import AuditLog
    from dtgd_edge.runtime.records.replay import Replay, rows_with_pictures
    from dtgd_edge.runtime.session import check_golden, open_session

    with AuditLog(log) as opened:
        rows = list(rows_with_pictures(opened))
    if not rows:
        raise DataError(f"audit log {log} names no kept picture; expected some; run with [pictures] first")
    if bundle is None:
        bundle = _named_bundle(rows, workspace)
        say(f"bundle: {bundle} (the log names it)")
    digest = file_digest(bundle)
    chosen = rows if allow_other_bundle else [row for row in rows if row.bundle_sha256 == digest]
    if not chosen:
        raise BundleError(
            f"{bundle} judged none of the {len(rows)} kept pictures; expected {_names(rows)}; "
            "name that one, or compare with --allow-other-bundle"
        )
    if len(chosen) < len(rows):
        say(f"{len(rows) - len(chosen)} pictures were judged by another bundle and are left out")
    judged = Bundle.open(bundle)
    with open_session(judged, backend) as session:
        if session.spec.backend != "null":
            check_golden(judged, session)
        again = Replay(session, judged.manifest, digest, pictures or log.parent / "pictures")
        replayed = [again.again(row) for row in chosen]
    _print(log, bundle, replayed, as_json)
    if any(one.outcome in ("differs", "damaged") for one in replayed):
        sys.exit(1)


def _named_bundle(rows: "list[Row]", workspace: Path) -> Path:
    """The workspace's bundle that judged last."""
    from dtgd_edge.runtime.records.digest import file_digest

    paths = {file_digest(path): path for path in bundles(workspace)}
    for row in reversed(rows):
        if row.bundle_sha256 in paths:
            return paths[row.bundle_sha256]
    raise BundleError(
        f"workspace {workspace} has no bundle that the log names; expected {_names(rows)}; "
        "name it with --bundle"
    )


def _names(rows: "list[Row]") -> str:
    return " or ".join(
        sorted({f"{row.bundle_name} (sha256 {(row.bundle_sha256 or '')[:12]})" for row in rows})
    )


def _print(log: Path, bundle: Path, replayed: "list[Replayed]", as_json: bool) -> None:
    counts = Counter(one.outcome for one in replayed)
    moved = max(
        (
            abs(one.score - one.row.score)
            for one in replayed
            if one.score is not None and one.row.score is not None
        ),
        default=None,
    )
    if as_json:
        print_json(
            {
                "log": str(log),
                "bundle": str(bundle),
                "counts": {name: counts[name] for name in ("same", "differs", "damaged", "skipped")},
                "largest_difference": moved,
                "rows": [_record(one) for one in replayed],
            }
        )
        return
    told = [one for one in replayed if one.outcome != "same"] or replayed
    cells = [
        [
            str(one.row.picture),
            one.outcome,
            f"{one.row.decision} {_number(one.row.score)}",
            f"{one.decision.value if one.decision else '-'} {_number(one.score)}",
            one.note,
        ]
        for one in told[:_SHOWN]
    ]
    table("replayed", ["picture", "outcome", "in the log", "today", "note"], cells)
    if len(told) > _SHOWN:
        OUT.print(f"and {len(told) - _SHOWN} more (see --json)")
    kinds = ", ".join(f"{counts[name]} {name}" for name in ("same", "differs", "damaged", "skipped"))
    OUT.print(f"{len(replayed)} pictures: {kinds}; largest difference of a score {_number(moved)}")


def _record(one: "Replayed") -> dict[str, object]:
    row = one.row
    return {
        "sequence": row.sequence,
        "picture": row.picture,
        "outcome": one.outcome,
        "decision": row.decision,
        "score": row.score,
        "today_decision": None if one.decision is None else one.decision.value,
        "today_score": one.score,
        "note": one.note,
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
