"""`dtgd-edge promise`: whether a promise about false rejects holds on parts that were held out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.cli.calibrate import share_from_text
from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.config import mapping_from_record
from dtgd_edge.runtime.promise import percent


def promise(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    good: Annotated[Path, typer.Argument(help="A folder of good parts that training has not seen.")],
    max_false_reject: Annotated[
        str | None,
        typer.Option(help="What to promise, such as 5%; default: the strictest that so many parts can show."),
    ] = None,
    confidence: Annotated[str, typer.Option(help="How sure the promise is.")] = "95%",
    splits: Annotated[int, typer.Option(min=1, help="Random splits.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
    backend: Annotated[str | None, typer.Option(help="Default: what the bundle was exported for.")] = None,
    as_json: Json = False,
) -> None:
    """Calibrate on a random half of good parts and measure the other, many times; exit 1 if broken."""
    from dtgd_edge.benchmarks.promise import promise_on_pictures

    with progress_bar("scoring") as advance:
        found = promise_on_pictures(
            bundle,
            good,
            max_false_reject=None
            if max_false_reject is None
            else share_from_text(max_false_reject, "--max-false-reject"),
            confidence=share_from_text(confidence, "--confidence"),
            splits=splits,
            seed=seed,
            backend=backend,
            progress=advance,
        )
    if as_json:
        print_json(mapping_from_record(found))
    else:
        OUT.print(
            f"{found.parts} good parts, {found.calibrated_on} of them choose the threshold: at most "
            f"{percent(found.max_false_reject)} false rejects was kept in {found.kept} of {found.splits} "
            f"splits, {found.kept_share:.1%} (expected {found.exact_chance:.1%}, promised "
            f"{percent(found.confidence)})",
            markup=False,
        )
        OUT.print(
            f"measured: {found.mean_false_reject:.2%} on average, {found.worst_false_reject:.2%} at worst",
            markup=False,
        )
    if not found.is_kept:
        sys.exit(1)
