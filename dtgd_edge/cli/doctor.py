"""`dtgd-edge doctor`: what works on this machine, and what to do about the rest."""

from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.config import mapping_from_record


def doctor(as_json: Json = False) -> None:
    """Say where a bundle would run here, what is usable, and why the rest is not."""
    from dtgd_edge.runtime.doctor import diagnose

    diagnosis = diagnose()
    if as_json:
        print_json(mapping_from_record(diagnosis))
        return
    OUT.print(f"dtgd-edge will run on: {diagnosis.runs_on}", markup=False, style="bold")
    OUT.print(f"because {diagnosis.reason}", markup=False)
    for f in diagnosis.findings:
        mark, style = ("yes", "green") if f.is_usable else ("no ", "yellow")
        OUT.print(f"[{style}]{mark}[/]  ", end="")
        OUT.print(f"{f.name}: {f.detail}", markup=False)
        if f.fix:
            OUT.print(f"     {f.fix}", style="dim", markup=False)
