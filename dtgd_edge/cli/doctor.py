"""`dtgd-edge doctor`: what works on this machine, and what to do about the rest."""

from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.config import mapping_from_record


def doctor(as_json: Json = False) -> None:
    """Say which backends and cameras are usable here, and why the others are not."""
    from dtgd_edge.runtime.doctor import examine

    findings = examine()
    if as_json:
        print_json({"findings": [mapping_from_record(f) for f in findings]})
        return
    for f in findings:
        mark, style = ("yes", "green") if f.is_usable else ("no ", "yellow")
        OUT.print(f"[{style}]{mark}[/]  {f.name}: {f.detail}")
        if f.fix:
            OUT.print(f"     {f.fix}", style="dim", markup=False)
