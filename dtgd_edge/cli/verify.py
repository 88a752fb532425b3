"""`dtgd-edge verify`: does a bundle still score as it did where it was made?"""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Backend, Json, print_json
from dtgd_edge.config import mapping_from_record
from dtgd_edge.runtime.promise import promise_text
from dtgd_edge.runtime.session import check_golden, open_session


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Check a bundle's bytes, and score its golden frames on this machine."""
    opened = Bundle.open(bundle)
    with open_session(opened, backend) as session:
        difference = check_golden(opened, session)
        device = session.spec.device
    threshold = opened.manifest.threshold
    tolerance, frames = opened.manifest.golden_tolerance, len(opened.golden.frames)
    if as_json:
        print_json(
            {
                "bundle": str(bundle),
                "device": device,
                "golden_frames": frames,
                "largest_difference": difference,
                "tolerance": tolerance,
                "threshold": mapping_from_record(threshold),
            }
        )
        return
    OUT.print(
        f"{bundle}: intact; {frames} golden frames on {device} differ by at most {difference:.2g} "
        f"(allowed {tolerance:.2g})",
        markup=False,
    )
    OUT.print(f"  threshold {threshold.value:.4f} promises: {promise_text(threshold)}", markup=False)
