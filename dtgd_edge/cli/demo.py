"""`dtgd-edge demo`: the whole path on the pretend line, from pictures to verdicts."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.cli.console import OUT, train_extra
from dtgd_edge.cli.evaluate import evaluated, metrics_table
from dtgd_edge.cli.export import print_exported
from dtgd_edge.cli.pictures import read_pictures
from dtgd_edge.cli.run import line_from_options, print_summary, run_shown
from dtgd_edge.cli.train import train_shown
from dtgd_edge.workspace import RUNS

STEPS = 650
# Of a half-width network in few steps; the default is for an ImageNet ResNet-18.
LEARNING_RATE = 5e-3
PARTS = 80


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = STEPS,
) -> None:
    """Make pictures of a pretend part, train, export three bundles, and judge parts on a pretend line."""
    with train_extra("demo"):
        from dtgd_edge.export.pipeline import PRECISIONS, Exporter
        from dtgd_edge.train.recipe import Recipe
    from dtgd_edge.pretend import write_dataset, write_line_video

    began = time.monotonic()
    pictures_folder, video = out / "pictures", out / "line.avi"
    _step(1, f"pictures of a pretend part in {pictures_folder}")
    if not pictures_folder.exists():
        write_dataset(pictures_folder, parts=PARTS)
    if not video.exists():
        write_line_video(video)
    pictures = read_pictures(pictures_folder)

    _step(2, f"training on good parts only, {steps} steps, with the teacher that ships with dtgd-edge")
    recipe = Recipe()
    recipe = replace(
        recipe,
        holdout=0.25,
        teacher=replace(recipe.teacher, weights="shipped"),
        optimiser=replace(recipe.optimiser, steps=steps, learning_rate=LEARNING_RATE),
    )
    checkpoint = train_shown(
        pictures, recipe, out / RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}", "auto", False
    )

    _step(3, "one bundle per precision, each with proof that its verdicts are the trained model's")
    exporter = Exporter(checkpoint)
    bundles = {precision: exporter.export(precision, workspace=out) for precision in PRECISIONS}
    for exported in bundles.values():
        print_exported(exported)

    _step(4, "metrics on test parts that training never saw")
    metrics_table({name: evaluated(b.path, pictures) for name, b in bundles.items()})

    _step(5, f"the line: {video} through the camera loop, INT8")
    log, overlays = out / "verdicts.jsonl", out / "overlays"
    log.unlink(missing_ok=True)
    line = line_from_options(source=str(video))
    summary = run_shown(line, bundles["int8"].path, log, overlays)
    print_summary(summary)
    _compare_with_truth(log, video.with_suffix(".truth.json"))
    OUT.print(f"overlay pictures of the rejected parts: {overlays}")
    OUT.print(
        f"done in {time.monotonic() - began:.0f} s; next: dtgd-edge run --source sample: --workspace {out}"
    )


def _step(number: int, text: str) -> None:
    OUT.print(f"\n[bold]{number}  {text}[/]")


def _compare_with_truth(log: Path, truth: Path) -> None:
    """Print how the verdicts of a run compare with what the line video really shows."""
    verdicts = [json.loads(line) for line in log.read_text().splitlines()]
    frames = json.loads(truth.read_text())["frames"]
    counts: dict[tuple[str, str], int] = {}
    missed = []
    for frame, verdict in zip(frames, verdicts, strict=True):
        shown = "good" if frame["defect"] == "good" else "defective"
        counts[shown, verdict["decision"]] = counts.get((shown, verdict["decision"]), 0) + 1
        if shown == "defective" and verdict["decision"] == "OK":
            missed.append(f"frame {frame['frame']} ({frame['defect']})")
    for shown in ("good", "defective"):
        parts = ", ".join(f"{n} {d}" for (s, d), n in sorted(counts.items()) if s == shown)
        OUT.print(f"{shown} parts: {parts}")
    if missed:
        OUT.print(f"missed: {', '.join(missed)}")
