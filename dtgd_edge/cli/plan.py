"""`dtgd-edge plan`: which resolution, tiles, graph and precision hold a line's takt on this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.calibrate import share_from_text
from dtgd_edge.cli.console import (
    ERR,
    OUT,
    Backend,
    Json,
    Threads,
    Workspace,
    print_json,
    say,
    table,
    train_extra,
)
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import BackendUnavailable, ConfigError
from dtgd_edge.geometry import size_text
from dtgd_edge.workspace import GRAPHS, bundles, known_graph, newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.benchmarks.machine import Machine
    from dtgd_edge.benchmarks.takt import Candidate, Requirement, TaktPlan, Timing
    from dtgd_edge.manifest import Precision

AUTO = "auto"
ON_GPU = ("tensorrt", "ort-cuda", "ort-tensorrt")


def plan(
    parts_per_minute: Annotated[float, typer.Option(help="The line's pace, one frame per part.")],
    frame: Annotated[str, typer.Option(help="Size of the camera's frames, WIDTHxHEIGHT.")],
    smallest_defect: Annotated[str, typer.Option(help="Side of the smallest defect to be seen, as 0.3mm.")],
    field_of_view: Annotated[str, typer.Option(help="What the frame's width shows, as 80mm.")],
    pixels_per_defect: Annotated[
        float | None, typer.Option(help="Pixels of the graph that a defect must cover; default: 6.")
    ] = None,
    reserve: Annotated[
        str, typer.Option(help="Share of the takt kept free: capture, ejector, a busy machine.")
    ] = "20%",
    graph: Annotated[str, typer.Option(help="A kind of graph, or auto: all kinds.")] = AUTO,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe: networks, region, margin, overlap, shrink and fit are its own."),
    ] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Measure this bundle, in place of untrained graphs, and guess from it; repeatable."
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="Counted frames per candidate; of slow ones fewer.")
    ] = 30,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds after which no further measurement begins.")
    ] = 90.0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what was measured here before.")
    ] = False,
    backend: Backend = AUTO,
    threads: Threads = None,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Say which resolution, tiles, graph and precision hold a takt on this machine, with what margin."""
    from dtgd_edge.benchmarks.length import mm_from_text
    from dtgd_edge.benchmarks.machine import this_machine
    from dtgd_edge.benchmarks.pictures import frame_size
    from dtgd_edge.benchmarks.takt import PIXELS_PER_DEFECT, Requirement, TaktPlan
    from dtgd_edge.benchmarks.takt_text import sentence

    requirement = Requirement(
        parts_per_minute=parts_per_minute,
        frame_hw=frame_size(frame),
        smallest_defect_mm=mm_from_text(smallest_defect, "--smallest-defect"),
        field_of_view_mm=mm_from_text(field_of_view, "--field-of-view"),
        pixels_per_defect=PIXELS_PER_DEFECT if pixels_per_defect is None else pixels_per_defect,
        reserve=share_from_text(reserve, "--reserve"),
    )
    _check_backend(backend)
    if bundle and recipe:
        raise ConfigError(
            "--bundle and --recipe were both given; expected one of them, because a bundle has a geometry of "
            "its own; leave one out"
        )
    machine = this_machine()
    paths: dict[Candidate, Path] = {}
    if bundle or not _can_make_graphs(workspace):
        paths = _by_candidate(requirement, bundle or [newest_bundle(workspace)])
        candidates, timings = _of_bundles(requirement, paths, backend, threads, frames)
    else:
        candidates, timings = _of_untrained(
            requirement, recipe, graph, machine, workspace, backend, threads, frames, budget, fresh
        )
    made = TaktPlan.of(requirement, candidates, timings)
    recipe_lines, commands = _steps(made, paths)
    if as_json:
        text = sentence(requirement, made.advice)
        steps = {"sentence": text, "recipe": recipe_lines, "commands": commands}
        print_json({**made.record(), **steps, "machine": mapping_from_record(machine)})
        return
    _print(made, machine)
    for line in (*recipe_lines, *commands):
        OUT.print(line, markup=False)


def _steps(made: "TaktPlan", paths: "Mapping[Candidate, Path]") -> tuple[list[str], list[str]]:
    """The recipe's lines and the commands for what is recommended; a bundle that is there is run."""
    from dtgd_edge.benchmarks.takt_text import recipe_lines

    if (row := made.advice.recommended) is None:
        return [], []
    candidate = row.timing.candidate
    if candidate in paths:
        return [], [f"dtgd-edge run --bundle {paths[candidate]}"]
    need = made.requirement
    graph = f" --graph {candidate.graph}" if candidate.graph in GRAPHS else ""
    return recipe_lines(row), [
        f"dtgd-edge train PICTURES --recipe plan.toml{graph}",
        f"dtgd-edge export{graph} --precision {candidate.precision}",
        f"dtgd-edge bench --frame {size_text(need.frame_hw)} --parts-per-minute {need.parts_per_minute:g}",
    ]


def _print(made: "TaktPlan", machine: "Machine") -> None:
    from dtgd_edge.benchmarks import takt_text as text

    OUT.print(text.rule(made.requirement), markup=False)
    shown = text.shown(made.rows)
    table(text.title(made.requirement), list(text.COLUMNS), [text.table_row(row) for row in shown])
    for line in text.footnotes(made.rows):
        OUT.print(line, markup=False)
    OUT.print(f"{machine.cpu}, {machine.cores} cores, load {machine.load}, {machine.system}", markup=False)
    OUT.print(text.sentence(made.requirement, made.advice), markup=False)
    if machine.load is not None and machine.load > (os.cpu_count() or 1):
        note = f"other programs kept this machine busy (load {machine.load}); when it is quiet, try --fresh"
        ERR.print(f"note: {note}", markup=False)
    recommended = made.advice.recommended
    training = None if recommended is None else text.training_note(recommended)
    if training is not None:
        ERR.print(f"note: {training}", markup=False)


def _check_backend(backend: str) -> None:
    from dtgd_edge.runtime.session import BACKENDS

    known = [name for name in BACKENDS if name != "null"]
    if backend not in known:
        raise ConfigError(f"backend {backend!r} cannot be planned with; expected one of {', '.join(known)}")


def _can_make_graphs(workspace: Path) -> bool:
    """Whether the training libraries are here; without them a bundle of the workspace has to do.

    Raises:
        BackendUnavailable: neither is there.
    """
    try:
        with train_extra("plan"):
            import dtgd_edge.export.untrained  # noqa: F401
    except BackendUnavailable as exc:
        if not bundles(workspace):
            raise BackendUnavailable(f"{exc}, or give --bundle B to guess from its times") from None
        say(f"no graphs can be made here, so the newest bundle is timed and other sizes are guessed ({exc})")
        return False
    return True


def _by_candidate(requirement: "Requirement", paths: Sequence[Path]) -> "dict[Candidate, Path]":
    """What each bundle is.

    Raises:
        BundleError, ConfigError: one cannot be used, or looks at a region that the frames do not have.
    """
    from dtgd_edge.benchmarks.takt import Candidate, require_inside

    found = {}
    for path in paths:
        manifest = Bundle.open(path).manifest
        require_inside(manifest.geometry, requirement.frame_hw)
        found[Candidate(manifest.name, manifest.precision, manifest.geometry)] = path
    return found


def _of_bundles(
    requirement: "Requirement",
    paths: "Mapping[Candidate, Path]",
    backend: str,
    threads: int | None,
    frames: int,
) -> "tuple[list[Candidate], list[Timing]]":
    """Bundles as they are, and the same graphs in the sizes that answer the question."""
    from dtgd_edge.benchmarks.takt import geometries
    from dtgd_edge.benchmarks.takt_times import time_bundles

    say(f"timing {', '.join(map(str, paths.values()))}; other sizes are guessed from what they take")
    pairs = [(candidate, Bundle.open(path)) for candidate, path in paths.items()]
    timings = time_bundles(pairs, requirement.frame_hw, backend=backend, threads=threads, frames=frames)
    sizes = geometries(requirement, next(iter(paths)).geometry)
    guessed = [replace(candidate, geometry=size) for size in sizes for candidate in paths]
    return list(dict.fromkeys([*paths, *guessed])), timings


def _of_untrained(
    requirement: "Requirement",
    recipe: Path | None,
    graph: str,
    machine: "Machine",
    workspace: Path,
    backend: str,
    threads: int | None,
    frames: int,
    budget: float,
    fresh: bool,
) -> "tuple[list[Candidate], list[Timing]]":
    """Graphs made for this purpose, with random weights."""
    from dtgd_edge.benchmarks.takt import Candidate, geometries
    from dtgd_edge.benchmarks.takt_store import FILE, TimingStore
    from dtgd_edge.benchmarks.takt_times import measured
    from dtgd_edge.export.target import target_from_name
    from dtgd_edge.export.untrained import RECIPES, UntrainedGraphs
    from dtgd_edge.runtime.choice import choose_backend
    from dtgd_edge.train.recipe import Recipe, read_recipe

    wanted = known_graph(graph)
    chosen = choose_backend().backend if backend == AUTO else backend
    on_gpu = chosen in ON_GPU
    precisions: list[Precision] = ["fp32", "fp16", "int8"] if on_gpu else ["fp32", "int8"]
    target = target_from_name("tensorrt" if on_gpu else "cpu")
    plain = read_recipe(recipe) if recipe else Recipe()
    names = [name for name in RECIPES if wanted in (AUTO, name)]
    made: dict[str, UntrainedGraphs] = {}

    def make(group: "Sequence[Candidate]") -> "Mapping[Candidate, Bundle]":
        name = group[0].graph
        if name not in made:
            made[name] = UntrainedGraphs(plain, target, name)
        found = made[name].bundles(group[0].geometry, [candidate.precision for candidate in group])
        return {candidate: found[candidate.precision] for candidate in group}

    sizes = geometries(requirement, plain.geometry)
    candidates = [Candidate(n, p, size) for size in sizes for n in names for p in precisions]
    networks = [mapping_from_record(part) for part in (plain.teacher, plain.student, plain.memory)]
    circumstances = {
        "backend": chosen,
        "threads": threads,
        "frame_hw": list(requirement.frame_hw),
        "networks": networks,
    }
    store = TimingStore(workspace / FILE, machine, circumstances, is_fresh=fresh)
    timings = measured(
        requirement,
        candidates,
        make,
        store,
        backend=backend,
        threads=threads,
        frames=frames,
        budget_s=budget,
        say=say,
    )
    return candidates, timings
