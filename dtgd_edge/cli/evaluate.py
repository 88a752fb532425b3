"""`dtgd-edge eval`: metrics of a checkpoint or a bundle on test pictures."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.bundle import SUFFIX, Bundle
from dtgd_edge.cli.console import Backend, Json, print_json, table, train_extra
from dtgd_edge.cli.train import progress_bar, read_pictures
from dtgd_edge.geometry import size_text
from dtgd_edge.runtime.session import open_session, score_all

if TYPE_CHECKING:
    from dtgd_edge.train.data import DataSet
    from dtgd_edge.train.evaluate import Evaluation
    from dtgd_edge.train.metrics import Metrics


def evaluate(
    scored: Annotated[Path, typer.Argument(help="A checkpoint folder or a bundle.")],
    data: Annotated[Path, typer.Argument(help="A data set with test pictures.")],
    defects: Annotated[Path | None, typer.Option(help="Pictures of defective parts.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks of those defects.")] = None,
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Measure how well good and defective parts are told apart."""
    evaluation = evaluated(scored, read_pictures(data, defects, masks), backend)
    if as_json:
        print_json({"scored": str(scored), **evaluation.record()})
        return
    metrics_table({scored.name: evaluation})


def metrics_table(evaluations: "dict[str, Evaluation]") -> None:
    """Print metrics at the pictures' own and at the graph's resolution."""
    columns = [
        "scored",
        "resolution",
        "image AUROC",
        "pixel AUROC",
        "pixel AP",
        "AUPRO",
        "AUPRO@0.05",
        "F1-max",
    ]
    rows = []
    for name, e in evaluations.items():
        size = size_text(e.graph_size_hw)
        rows += [[name, "native", *_values(e.native)], [name, size, *_values(e.graph)]]
    table(f"{len(e.per_part)} pictures", columns, rows)


def evaluated(scored: Path, pictures: "DataSet", backend: str = "auto") -> "Evaluation":
    """Score the test pictures with a checkpoint or a bundle, with a progress bar."""
    from dtgd_edge.train.evaluate import evaluate as evaluate_parts

    with ExitStack() as stack:
        if scored.suffix == SUFFIX:
            bundle = Bundle.open(scored)
            session = stack.enter_context(open_session(bundle, backend))
            geometry = bundle.manifest.geometry
            score = lambda frames: score_all(session, frames)  # noqa: E731
        else:
            with train_extra("eval"):
                from dtgd_edge.train.checkpoint import Checkpoint
                from dtgd_edge.train.graph import distil

            checkpoint = Checkpoint.open(scored)
            geometry = checkpoint.record.recipe.geometry
            score = distil(checkpoint).score
        advance = stack.enter_context(progress_bar("scoring"))
        return evaluate_parts(score, pictures.test, geometry, progress=advance)


def _values(metrics: "Metrics") -> list[str]:
    record = metrics.record()
    keys = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "aupro_05", "f1_max")
    return ["-" if record[key] is None else f"{record[key]:.4f}" for key in keys]
