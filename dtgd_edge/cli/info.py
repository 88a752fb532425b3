"""`dtgd-edge info`: what a bundle is."""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Json, print_json
from dtgd_edge.config import mapping_from_record
from dtgd_edge.geometry import Geometry, size_text


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
        "session": f"{manifest.session} (its scores set the threshold)",
        "trained": f"{origin.steps} steps on {origin.data}; teacher: {origin.teacher}",
        "created": origin.created,
        "graph": f"sha256 {manifest.graph_sha256}",
    }
    for name, text in lines.items():
        OUT.print(f"{name:10} {text}", markup=False)
    for p in manifest.parity:
        OUT.print(f"{'parity':10} {p.session}: {p.flips} of {p.frames} verdicts flip against {p.reference}")


def _tiles(geometry: Geometry) -> str:
    """How the frame is cut, in words."""
    if (grid := geometry.tile_grid) is None:
        return ""
    rows, columns = geometry.tiles
    return f", in {rows} x {columns} tiles of {size_text(grid.tile_hw)}"
