"""`dtgd-edge eval`: metrics of a checkpoint or a bundle on test pictures, and a report to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dtgd_edge.bundle import SUFFIX, Bundle, Threshold
from dtgd_edge.cli.console import OUT, Backend, Json, print_json, table, train_extra
from dtgd_edge.cli.pictures import LayoutName, read_pictures
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.geometry import Geometry, size_text
from dtgd_edge.runtime.session import open_session, score_all

if TYPE_CHECKING:
    from dtgd_edge.train.data import DataSet
    from dtgd_edge.train.evaluate import Evaluation, ScoreFrames, Watch
    from dtgd_edge.train.metrics import Metrics
    from dtgd_edge.train.report import About


def evaluate(
    scored: Annotated[Path, typer.Argument(help="A checkpoint folder or a bundle.")],
    data: Annotated[Path, typer.Argument(help="A data set with test pictures.")],
    defects: Annotated[Path | None, typer.Option(help="Pictures of defective parts.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks of those defects.")] = None,
    layout: LayoutName = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with curves and pictures here, FILE.html, and FILE.json."),
    ] = None,
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Measure how well good and defective parts are told apart."""
    from dtgd_edge.train.report import Album, report_record, require_report_path, write_report

    if report is not None:
        require_report_path(report)
    pictures = read_pictures(data, defects, masks, layout)
    with opened(scored, backend) as subject:
        album = None if report is None else Album(subject.geometry, subject.threshold.value)
        evaluation = _evaluated(subject, pictures, None if album is None else album.add)
    about = _about(subject, scored, data)
    if report is not None and album is not None:
        write_report(report, about, evaluation, album)
    if as_json:
        print_json(report_record(about, evaluation))
        return
    metrics_table({scored.name: evaluation})
    _print_verdicts(evaluation)
    if report is not None:
        OUT.print(f"report: {report}, the same as JSON: {report.with_suffix('.json')}", markup=False)


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
    with opened(scored, backend) as subject:
        return _evaluated(subject, pictures)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A checkpoint or a bundle, ready to score.

    Attributes:
        score: takes prepared frames, any number.
        geometry: of its graph.
        threshold: the bundle's own; the one an export of the checkpoint would choose.
        kind, precision, sha256, session, trained: as in About.
    """

    score: "ScoreFrames"
    geometry: Geometry
    threshold: Threshold
    kind: Literal["checkpoint", "bundle"]
    precision: str
    sha256: str
    session: str
    trained: str


@contextmanager
def opened(scored: Path, backend: str = "auto") -> Iterator[Subject]:
    """Open a checkpoint or a bundle for scoring."""
    if scored.suffix != SUFFIX:
        yield _opened_checkpoint(scored)
        return
    bundle = Bundle.open(scored)
    manifest, origin = bundle.manifest, bundle.manifest.provenance
    with open_session(bundle, backend) as session:
        yield Subject(
            score=lambda frames: score_all(session, frames),
            geometry=manifest.geometry,
            threshold=manifest.threshold,
            kind="bundle",
            precision=manifest.precision,
            sha256=manifest.graph_sha256,
            session=session.spec.device,
            trained=_trained(origin.steps, origin.data, origin.teacher),
        )


def _opened_checkpoint(folder: Path) -> Subject:
    with train_extra("eval"):
        import numpy as np

        from dtgd_edge.train.checkpoint import Checkpoint
        from dtgd_edge.train.graph import distil
        from dtgd_edge.train.threshold import chosen_threshold

    checkpoint = Checkpoint.open(folder)
    record, frames = checkpoint.record, checkpoint.frames()
    graph = distil(checkpoint, frames)
    judged = graph.score(np.concatenate([frames.normals, frames.defects])).score
    return Subject(
        score=graph.score,
        geometry=record.recipe.geometry,
        threshold=chosen_threshold(judged, len(frames.normals), record.recipe.scoring),
        kind="checkpoint",
        precision="fp32",
        sha256=record.weights_sha256,
        session="PyTorch",
        trained=_trained(record.step, record.data, record.teacher),
    )


def _evaluated(subject: Subject, pictures: "DataSet", watch: "Watch | None" = None) -> "Evaluation":
    from dtgd_edge.train.evaluate import evaluate as evaluate_parts

    with progress_bar("scoring") as advance:
        return evaluate_parts(
            subject.score,
            pictures.test,
            subject.geometry,
            progress=advance,
            threshold=subject.threshold.value,
            watch=watch,
        )


def _about(subject: Subject, scored: Path, data: Path) -> "About":
    from dtgd_edge.benchmarks.machine import this_machine
    from dtgd_edge.train.report import About

    machine = this_machine()
    return About(
        scored=str(scored),
        kind=subject.kind,
        precision=subject.precision,
        sha256=subject.sha256,
        session=subject.session,
        trained=subject.trained,
        geometry=subject.geometry,
        threshold=subject.threshold,
        data=str(data),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=f"{machine.cpu}, {machine.system}",
        versions={**machine.packages, "Python": machine.python},
    )


def _trained(steps: int, data: str, teacher: str) -> str:
    return f"{steps} steps on {data}; teacher: {teacher}"


def _print_verdicts(evaluation: "Evaluation") -> None:
    """Print each kind of defect, and what happens at the thresholds that matter."""
    rows = [[k.kind, str(k.native.defective), str(k.detected), *_values(k.native)] for k in evaluation.kinds]
    columns = ["kind", "parts", "detected", "image AUROC", "pixel AUROC", "pixel AP", "AUPRO", "AUPRO@0.05"]
    table("kinds of defects, each against all good parts", [*columns, "F1-max"], rows)
    own = evaluation.at_threshold
    points = [("the threshold in use", own)] if own is not None else []
    names = ("every defective part", "99 % of them", "95 % of them")
    points += [(f"detects {name}", p) for name, p in zip(names, evaluation.at_detection, strict=False)]
    table(
        "verdicts",
        ["at", "threshold", "missed", "false alarms", "good rejected"],
        [
            [
                name,
                f"{p.threshold:.4f}",
                f"{p.missed} of {p.missed + p.detected}",
                f"{p.false_alarms} of {p.false_alarms + p.passed}",
                "-" if p.false_reject is None else f"{p.false_reject:.1%}",
            ]
            for name, p in points
        ],
    )


def _values(metrics: "Metrics") -> list[str]:
    record = metrics.record()
    keys = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "aupro_05", "f1_max")
    return ["-" if record[key] is None else f"{record[key]:.4f}" for key in keys]
