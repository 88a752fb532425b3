"""`dtgd-edge export`: checkpoint to bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtgd_edge.cli.build import build_shown, print_built, require_builder
from dtgd_edge.cli.console import OUT, Json, Workspace, print_json, say, train_extra
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError
from dtgd_edge.workspace import newest_checkpoint

if TYPE_CHECKING:
    from dtgd_edge.bundle import ParityRecord
    from dtgd_edge.export.pipeline import Exported


def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint folder; default: the newest.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    out: Annotated[
        Path | None, typer.Option(help="The bundle; default: bundles/<name>-<precision>.dtgd.")
    ] = None,
    session: Annotated[
        str, typer.Option(help="Backend that will run it: threshold and parity are its own.")
    ] = "ort",
    triton: Annotated[
        Path | None, typer.Option(help="Also write a model repository for a Triton server here.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="A TensorRT plan of this bundle, for the model repository.")
    ] = None,
    engine: Annotated[
        bool, typer.Option("--engine", help="Build its TensorRT engine too; see dtgd-edge build.")
    ] = False,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into a bundle, with proof that its verdicts are the trained model's."""
    with train_extra("export"):
        from dtgd_edge.export.pipeline import Exporter, judging_session, known_precision
        from dtgd_edge.export.triton import write_repository
        from dtgd_edge.train.checkpoint import Checkpoint

    wanted, judged_on = known_precision(precision), judging_session(session)
    if plan is not None and triton is None:
        raise ConfigError("--plan was given without --triton; expected a model repository to put it in")
    if engine:
        require_builder()
    if checkpoint is None:
        checkpoint = newest_checkpoint(workspace)
        say(f"checkpoint: {checkpoint} (the newest)")
    exported = Exporter(Checkpoint.open(checkpoint), say).export(wanted, out, workspace, judged_on)
    built = engine_shown(exported) if engine else None
    served = [] if triton is None else write_repository(exported.bundle, triton, plan)
    if as_json:
        document = export_record(exported)
        document |= {"plan": built} if built else {}
        document |= {"triton": [str(path) for path in served]} if served else {}
        print_json(document)
        return
    print_exported(exported)
    if built:
        print_built(built)
    for path in served:
        OUT.print(f"{path}  for Triton", markup=False)


def engine_shown(exported: "Exported") -> dict[str, Any]:
    """Build the exported bundle's engine for this machine, with progress on stderr."""
    from dtgd_edge.runtime.trt.build import BuildOptions

    return build_shown(exported.bundle, BuildOptions())


def export_record(exported: "Exported") -> dict[str, Any]:
    """The bundle's path and manifest as JSON values."""
    return {"bundle": str(exported.path), "manifest": mapping_from_record(exported.bundle.manifest)}


def print_exported(exported: "Exported") -> None:
    """Print where a bundle is and what was proven about it."""
    manifest = exported.bundle.manifest
    mib = exported.path.stat().st_size / 2**20
    OUT.print(f"{exported.path}  {mib:.1f} MiB  threshold {manifest.threshold.value:.4f}", markup=False)
    for record in manifest.parity:
        OUT.print(f"  {parity_line(record)}", markup=False)


def parity_line(record: "ParityRecord") -> str:
    """One line of a parity record."""
    return (
        f"{record.session} against {record.reference}: {record.flips} of {record.frames} verdicts flip, "
        f"rank correlation {record.rank_correlation:.5f}, "
        f"largest difference score {record.score_difference:.2g} "
        f"map {record.map_difference:.2g}"
    )
