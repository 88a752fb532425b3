"""`dtgd-edge suite`: recipes side by side, over categories and seeds, in one table."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.cli.console import OUT, Json, print_json, say, train_extra
from dtgd_edge.cli.console import table as print_table
from dtgd_edge.cli.pictures import read_pictures
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dtgd_edge.train.data import DataSet
    from dtgd_edge.train.loop import Progress
    from dtgd_edge.train.recipe import Recipe
    from dtgd_edge.train.trial import Trial

# What fits a terminal; the files have the rest.
SHOWN = ["category", "method", "image AUROC", "pixel AP", "AUPRO", "held-out AUROC", "held-out AP", "minutes"]


def suite(
    file: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite in TOML; see benchmarks/suites.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table; finished runs are kept.")],
    data: Annotated[list[str] | None, typer.Option(help="NAME=DIR of a category; may be repeated.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder with a folder per category of the suite.")
    ] = None,
    categories: Annotated[str | None, typer.Option(help="Only these, with commas between.")] = None,
    rows: Annotated[str | None, typer.Option(help="Only these rows, with commas between.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Instead of the suite's, with commas between.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="The teacher's: imagenet, shipped, random or a path.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the graph's input, a multiple of 32.")] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="JSON with results of other programs; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Train and judge the recipes of a suite on several categories and seeds, into one table.

    Interrupted, it goes on where it was when called again. A row that sets weights, steps or size itself
    keeps them.
    """
    from dataclasses import replace

    from dtgd_edge.benchmarks.suite import read_suite
    from dtgd_edge.benchmarks.suite_run import TABLE_MD, run_suite
    from dtgd_edge.benchmarks.tables import read_outcomes

    with train_extra("suite"):
        from dtgd_edge.train.run_trial import run_trial
    plan = read_suite(file, weights=weights, size=size, steps=steps)
    if rows is not None:
        plan = plan.only(_listed(rows))
    if seeds is not None:
        plan = replace(plan, seeds=_seeds(seeds))
    others = [outcome for path in also or [] for outcome in read_outcomes(path)]
    folders = _folders(plan.categories, data or [], data_root, categories)
    pictures = {name: read_pictures(folder) for name, folder in folders.items()}

    def shown(data: "DataSet", recipe: "Recipe", folder: Path) -> "Trial":
        with progress_bar("training") as advance:

            def report(progress: "Progress") -> None:
                advance(progress.step, progress.steps, f"loss {progress.loss:.3f}")

            def scored(done: int, total: int) -> None:
                advance(done, total, "test pictures scored")

            return run_trial(data, recipe, folder, device=device, report=report, scored=scored)

    command = shlex.join(["dtgd-edge", *sys.argv[1:]])
    table = run_suite(plan, pictures, out, shown, also=others, command=command, say=say)
    if as_json:
        print_json(table.record())
    else:
        cells = [line.cells() for line in table.lines]
        print_table(table.title, SHOWN, [[line[column] for column in SHOWN] for line in cells])
        OUT.print(f"table: {out / TABLE_MD}", markup=False)
    for run, reason in table.failed.items():
        raise DataError(
            f"{len(table.failed)} of the runs failed, first {run}: {reason}; the table holds the others; "
            "correct that and call the suite again"
        )


def _folders(
    known: tuple[str, ...], data: list[str], data_root: Path | None, categories: str | None
) -> dict[str, Path]:
    """Where each category lies.

    Raises:
        ConfigError: a folder is not there, or nothing says where a category lies.
    """
    named = dict(_named(text) for text in data)
    names = [*(known if data_root else ()), *named] if categories is None else _listed(categories)
    folders: dict[str, Path] = {}
    for name in names:
        if name in named:
            folders[name] = named[name]
        elif data_root is not None:
            folders[name] = data_root / name
        else:
            raise ConfigError(
                f"category {name!r} has no folder; expected --data {name}=DIR or --data-root DIR; add one"
            )
    if not folders:
        raise ConfigError(
            f"no pictures were named; expected --data-root DIR with folders {', '.join(known)}, "
            "or --data NAME=DIR"
        )
    for name, folder in folders.items():
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder; expected the pictures of {name!r}; check the path")
    return folders


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--data {text!r} was given; expected NAME=DIR, as tile=pictures/tile")
    return name, Path(folder)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in _listed(text)))
    except ValueError:
        seeds = ()
    if not seeds:
        raise ConfigError(f"--seeds {text!r} was given; expected whole numbers, as 0,1,2")
    return seeds
