"""`dtgd-edge export`: checkpoint to bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtgd_edge.cli.build import build_shown, print_built, require_builder
from dtgd_edge.cli.console import OUT, Json, Workspace, print_json, say, train_extra
from dtgd_edge.cli.pictures import read_pictures
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError
from dtgd_edge.workspace import known_graph, newest_checkpoint

if TYPE_CHECKING:
    from dtgd_edge.bundle import ParityRecord
    from dtgd_edge.export.pipeline import Exported, Exporter

AUTO = "auto"


def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint folder; default: the newest of --graph.")
    ] = None,
    graph: Annotated[
        str,
        typer.Option(
            help="full, compact, or auto: the newest of both, a compact one only if it holds (see distil)."
        ),
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8 or auto (the fastest here).")] = "fp32",
    target: Annotated[
        str, typer.Option(help="What INT8 is made for: auto, cpu, tensorrt or a file; see export/targets.")
    ] = "auto",
    calibration: Annotated[
        Path | None, typer.Option(help="Pictures for INT8; default: those kept with the checkpoint.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="A data set with test pictures: metrics are compared on them too.")
    ] = None,
    qat: Annotated[
        bool, typer.Option("--qat", help="Fine-tune the student for INT8 if it loses verdicts without.")
    ] = False,
    qat_steps: Annotated[int, typer.Option(min=1, max=500, help="Steps of --qat.")] = 100,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="With auto: keep the slower bundles too.")
    ] = False,
    session: Annotated[
        str, typer.Option(help="Backend that will run it: threshold and parity are its own.")
    ] = "ort",
    batch: Annotated[
        int, typer.Option(min=1, max=64, help="Frames the graph takes at once, for cameras that share it.")
    ] = 1,
    triton: Annotated[
        Path | None, typer.Option(help="Also write a model repository for a Triton server here.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="A TensorRT plan of this bundle, for the model repository.")
    ] = None,
    engine: Annotated[
        bool, typer.Option("--engine", help="Build its TensorRT engine too; see dtgd-edge build.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The bundle; default: bundles/<name>-<precision>.dtgd.")
    ] = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into a bundle, with proof that its verdicts are the trained model's."""
    with train_extra("export"):
        from dtgd_edge.export.pipeline import Exporter, judging_session, known_precision
        from dtgd_edge.export.target import target_from_name
        from dtgd_edge.export.triton import write_repository
        from dtgd_edge.train.checkpoint import Checkpoint
    from dtgd_edge.runtime.trt.build import BuildOptions

    if plan is not None and triton is None:
        raise ConfigError("--plan was given without --triton; expected a model repository to put it in")
    if engine:
        require_builder()
    wanted = None if precision == AUTO else known_precision(precision)
    wanted_graph = known_graph(graph)
    made_for, judged_on = target_from_name(target), judging_session(session)
    if checkpoint is None:
        checkpoint = newest_checkpoint(workspace, wanted_graph)
        say(f"checkpoint: {checkpoint} (the newest)")
    if wanted in (None, "int8"):
        say(f"INT8 for: {made_for.placement}, the rest in {made_for.rest}")
    opened = Checkpoint.open(checkpoint)
    if wanted_graph not in ("auto", opened.record.graph):
        raise ConfigError(
            f"{checkpoint} is a {opened.record.graph} checkpoint; expected a {wanted_graph} one, as --graph "
            "says; leave that out, or name another checkpoint"
        )
    pictures = read_pictures(test).test if test else ()
    exporter = Exporter(
        opened,
        say,
        made_for,
        calibration,
        pictures,
        qat_steps if qat else 0,
        judged_on,
        batch,
    )
    document: dict[str, Any] = {}
    if wanted is None:
        exported, document["compared"] = export_fastest_shown(exporter, out, workspace, keep_all)
    else:
        exported = exporter.export(wanted, out, workspace)
    document = {**export_record(exported), **document}
    if engine:
        document["plan"] = build_shown(exported.bundle, BuildOptions())
    if triton is not None:
        document["triton"] = [str(path) for path in write_repository(exported.bundle, triton, plan)]
    if as_json:
        print_json(document)
        return
    print_exported(exported)
    if engine:
        print_built(document["plan"])
    for path in document.get("triton", ()):
        OUT.print(f"{path}  for Triton", markup=False)


def export_fastest_shown(
    exporter: "Exporter", out: Path | None, workspace: Path, keep_all: bool
) -> "tuple[Exported, list[dict[str, Any]]]":
    """Export all precisions, say why each was kept or not; returns the one to run and all reasons."""
    from dtgd_edge.export.auto import export_fastest

    contenders = export_fastest(exporter, out, workspace, keep_all)
    for contender in contenders:
        say(contender.reason)
    kept = next(c.exported for c in contenders if c.is_kept)
    assert kept is not None
    return kept, [
        {
            "precision": c.precision,
            "reason": c.reason,
            "ms": None if c.times_ms is None else c.times_ms.record(),
            "bundle": None if c.exported is None else str(c.exported.path),
        }
        for c in contenders
    ]


def export_record(exported: "Exported") -> dict[str, Any]:
    """The bundle's path and manifest as JSON values."""
    return {"bundle": str(exported.path), "manifest": mapping_from_record(exported.bundle.manifest)}


def print_exported(exported: "Exported") -> None:
    """Print where a bundle is and what was proven about it."""
    manifest = exported.bundle.manifest
    mib = exported.path.stat().st_size / 2**20
    OUT.print(f"{exported.path}  {mib:.1f} MiB  threshold {manifest.threshold.value:.4f}", markup=False)
    if manifest.float_modules:
        OUT.print(f"  kept in float: {', '.join(manifest.float_modules)}", markup=False)
    for record in manifest.parity:
        OUT.print(f"  {parity_line(record)}", markup=False)


def parity_line(record: "ParityRecord") -> str:
    """One line of a parity record."""
    line = (
        f"{record.session} against {record.reference}: {record.flips} of {record.frames} verdicts flip, "
        f"rank correlation {record.rank_correlation:.5f}, "
        f"largest difference score {record.score_difference:.2g} "
        f"map {record.map_difference:.2g}"
    )
    if record.metrics is None:
        return line
    m = record.metrics
    chance = f" (chance: {m.image_auroc_error / 100:.4f})" if m.image_auroc_error else ""
    return (
        f"{line}, {_change('image AUROC', m.reference_image_auroc, m.image_auroc)}{chance}, "
        f"{_change('AUPRO', m.reference_aupro, m.aupro)}"
    )


def _change(name: str, before: float | None, after: float | None) -> str:
    return f"{name} -" if before is None or after is None else f"{name} {before:.4f} to {after:.4f}"
