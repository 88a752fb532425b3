"""`dtgd-edge info`: what a bundle is."""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.bundle import Bundle, ParityRecord
from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.config import mapping_from_record
from dtgd_edge.geometry import Geometry, size_text
from dtgd_edge.runtime.promise import promise_text


def info(bundle: Annotated[Path, typer.Argument(help="A bundle.")], as_json: Json = False) -> None:
    """Print what a bundle inspects, how, and what was proven about it."""
    manifest = Bundle.open(bundle).manifest
    if as_json:
        print_json(mapping_from_record(manifest))
        return
    geometry, threshold, origin = manifest.geometry, manifest.threshold, manifest.provenance
    region = (
        "the whole frame" if geometry.region_xywh is None else f"region {geometry.region_xywh} (x, y, w, h)"
    )
    lines = {
        "name": manifest.name,
        "precision": f"{manifest.precision} (placement: {manifest.placement})",
        "frames": f"{region}, {geometry.fit} to {size_text(geometry.size_hw)}{_tiles(geometry)}",
        "threshold": f"{threshold.value:.4f}: {threshold.rule}; from {threshold.normals} parts",
        "promise": promise_text(threshold),
        "session": f"{manifest.session} (what it was judged on; the golden scores are its)",
        "trained": f"{origin.steps} steps on {origin.data}; teacher: {origin.teacher}",
        "created": origin.created,
        "graph": f"sha256 {manifest.graph_sha256}",
    }
    for name, text in lines.items():
        OUT.print(f"{name:10} {text}", markup=False)
    for p in manifest.parity:
        OUT.print(
            f"{'parity':10} {p.session}: {p.flips} of {p.frames} verdicts flip against {p.reference}"
            f"{_counted_at(p)}",
            markup=False,
        )


def _counted_at(record: ParityRecord) -> str:
    """Say so when flips were counted at another threshold than the bundle has now."""
    return "" if record.threshold is None else f", counted at its export's threshold {record.threshold:.4f}"


def _tiles(geometry: Geometry) -> str:
    """How the frame is cut, in words."""
    if (grid := geometry.tile_grid) is None:
        return ""
    rows, columns = geometry.tiles
    return f", in {rows} x {columns} tiles of {size_text(grid.tile_hw)}"
