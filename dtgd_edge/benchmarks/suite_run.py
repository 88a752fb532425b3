"""Running a suite: what is not finished yet is trained and judged, and the table is kept up to date.

A run is known by its pictures and its recipe alone, seed included: rows and suites that share an output
folder share the runs that are equal, and an edited row never destroys what was trained before.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.benchmarks.machine import PACKAGES, Machine, this_machine
from dtgd_edge.benchmarks.suite import Suite, check_category
from dtgd_edge.benchmarks.tables import Line, Outcome, lines_from_outcomes, markdown, records
from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.trial import Trial
from dtgd_edge.workspace import RUNS

if TYPE_CHECKING:
    from dtgd_edge.train.recipe import Recipe  # at run time it brings OpenCV along

RECIPE, RESULT = "recipe.json", "result.json"
TABLE_MD, TABLE_JSON = "table.md", "table.json"

NOTES = """\
Mean ± sample standard deviation over the seeds. Test measures are at the pictures' native resolution;
held-out ones are on good parts and on a synthetic family that training never saw, at the network's
resolution. Minutes are of training.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run, as `result.json` beside its checkpoint says.

    Attributes:
        category: name of the pictures.
        data: their folder, absolute.
        recipe_sha256: digest of the recipe.
        recipe: as a recipe file spells it, every key.
        trial: what it reached.
        machine: where.
    """

    category: str
    data: str
    recipe_sha256: str
    recipe: dict[str, Any]
    trial: Trial
    machine: Machine


@dataclass(frozen=True, slots=True)
class Table:
    """What a suite has found so far.

    Attributes:
        title: of the suite.
        meanings: by row.
        lines: one per category and method, and the means.
        outcomes: single runs, those of other programs included.
        missing: runs that were asked for and have not been tried yet.
        failed: runs that ended with an error, and its text.
        machines: where the finished ones were trained.
        command: that made this table; "" when it was not a command.
    """

    title: str
    meanings: dict[str, str]
    lines: tuple[Line, ...]
    outcomes: tuple[Outcome, ...]
    missing: tuple[str, ...]
    failed: dict[str, str]
    machines: tuple[str, ...]
    command: str

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**mapping_from_record(self), "lines": records(self.lines)}

    def text(self) -> str:
        """Markdown."""
        parts = [f"# {self.title}\n", markdown(self.lines), NOTES]
        parts.append("".join(f"- {name}: {meaning}\n" for name, meaning in self.meanings.items()))
        if self.missing:
            parts.append(f"Not finished: {'; '.join(self.missing)}.\n")
        parts += [f"Failed: {run}: {reason}.\n" for run, reason in self.failed.items()]
        parts += [f"Machine: {machine}.\n" for machine in self.machines]
        if self.command:
            parts.append(f"Command: `{self.command}`\n")
        return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Run:
    """One row on one category with one seed (which is in the recipe)."""

    row: str
    category: str
    recipe: "Recipe"

    def __str__(self) -> str:
        return f"{self.row} on {self.category}, seed {self.recipe.seed}"


RunTrial = Callable[[DataSet, "Recipe", Path], Trial]


def run_suite(
    suite: Suite,
    data: Mapping[str, DataSet],
    folder: Path,
    trial: RunTrial,
    *,
    also: Sequence[Outcome] = (),
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Table:
    """Train and judge everything that is not finished yet; keep the table on disk up to date.

    Every finished run in `folder` that belongs to one of the rows is in the table, also when this call
    asks for other categories or seeds. A run whose training fails does not keep the others from theirs.

    Args:
        suite: what to train.
        data: pictures by category, with test pictures.
        folder: receives runs/, table.md and table.json.
        trial: trains and judges one recipe in a folder, resuming what is there; see
            dtgd_edge.train.run_trial.
        also: results of other programs.
        command: what the user typed, for the table.
        say: is told which run begins.

    Raises:
        DataError: no test pictures, or the folder's runs were made with other pictures.
        ConfigError: `also` repeats a result.
    """
    for category, pictures in data.items():
        check_category(category)
        if not pictures.test:
            raise DataError(
                f"{pictures.root} has no test pictures; expected good and defective ones; add them"
            )
    runs = [
        Run(row.name, category, replace(row.recipe, seed=seed))
        for seed in suite.seeds
        for row in suite.rows
        for category in data
    ]
    missing = dict.fromkeys(runs)
    failed: dict[str, str] = {}
    places = {run: _place(run, folder / RUNS) for run in runs}
    for run, place in places.items():
        if (place / RESULT).exists():
            _refuse_other_pictures(place, data[run.category])
            del missing[run]

    def write() -> Table:
        found = _found(suite, folder / RUNS)
        outcomes = sorted(found, key=lambda pair: _order(pair[0], suite, list(data)))
        every = (*(outcome for outcome, _ in outcomes), *also)
        table = Table(
            title=suite.title,
            meanings={row.name: row.meaning for row in suite.rows},
            lines=tuple(lines_from_outcomes(every)),
            outcomes=every,
            missing=tuple(map(str, missing)),
            failed=dict(failed),
            machines=tuple(dict.fromkeys(_machine_text(result) for _, result in outcomes)),
            command=command,
        )
        _write(folder / TABLE_JSON, table.record())
        with written_whole(folder / TABLE_MD, DataError) as file:
            file.write(table.text().encode())
        return table

    table = write()
    for index, run in enumerate(runs, 1):
        if run not in missing:
            continue
        say(f"run {index} of {len(runs)}: {run}")
        if not (places[run] / RESULT).exists():  # an equal run of another row may have made it
            try:
                _finish(run, data[run.category], places[run], trial)
            except DataError as exc:
                failed[str(run)] = str(exc)
                say(f"it failed: {exc}")
        del missing[run]
        table = write()
    return table


def recipe_digest(recipe: "Recipe") -> str:
    """SHA-256 of a recipe, hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(mapping_from_record(recipe), order="sorted")).hexdigest()


def _place(run: Run, runs: Path) -> Path:
    """The folder of a run: where its recipe lies already, or a new one.

    Recipes are compared as records, so that a key that was added since, with its default, changes nothing.
    """
    name = f"{run.category}-seed{run.recipe.seed}"
    for path in sorted(runs.glob(f"{name}-*/{RECIPE}")):
        if _recipe_in(path) == run.recipe:
            return path.parent
    return runs / f"{name}-{recipe_digest(run.recipe)[:8]}"


def _recipe_in(path: Path) -> "Recipe | None":
    from dtgd_edge.train.recipe import Recipe

    try:
        return record_from_mapping(msgspec.json.decode(path.read_bytes()), Recipe, str(path))
    except ConfigError:  # another version's recipe is another recipe
        return None


def _finish(run: Run, pictures: DataSet, place: Path, trial: RunTrial) -> None:
    recipe = mapping_from_record(run.recipe)
    _write(place / RECIPE, recipe)
    reached = trial(pictures, run.recipe, place)
    result = Result(
        category=run.category,
        data=str(pictures.root.resolve()),
        recipe_sha256=recipe_digest(run.recipe),
        recipe=recipe,
        trial=reached,
        machine=this_machine((*PACKAGES, "torch")),
    )
    _write(place / RESULT, mapping_from_record(result))


def _refuse_other_pictures(place: Path, pictures: DataSet) -> None:
    result = _read_result(place / RESULT)
    if result.data != str(pictures.root.resolve()):
        raise DataError(
            f"{place} was made with the pictures in {result.data}; expected those in {pictures.root}; "
            "choose another --out or another name for the category"
        )


def _read_result(path: Path) -> Result:
    return record_from_mapping(msgspec.json.decode(path.read_bytes()), Result, str(path))


def _found(suite: Suite, runs: Path) -> Iterator[tuple[Outcome, Result]]:
    """Every finished run that belongs to a row."""
    for path in sorted(runs.glob(f"*/{RESULT}")):
        recipe = _recipe_in(path.parent / RECIPE)
        names = [
            row.name
            for row in suite.rows
            if recipe is not None and replace(row.recipe, seed=recipe.seed) == recipe
        ]
        if recipe is None or not names:
            continue
        result = _read_result(path)
        height, width = recipe.geometry.size_hw
        for name in names:
            yield _outcome(name, recipe.seed, f"{width}x{height}", result), result


def _outcome(method: str, seed: int, size: str, result: Result) -> Outcome:
    trial = result.trial
    return Outcome(
        method=method,
        category=result.category,
        seed=seed,
        image_auroc=trial.test.image_auroc,
        pixel_auroc=trial.test.pixel_auroc,
        pixel_ap=trial.test.pixel_ap,
        aupro=trial.test.aupro,
        aupro_05=trial.test.aupro_05,
        f1_max=trial.test.f1_max,
        held_out_auroc=trial.held_out.image_auroc,
        held_out_ap=trial.held_out.pixel_ap,
        minutes=trial.minutes,
        steps=trial.steps,
        size=size,
        teacher=trial.teacher,
    )


def _order(outcome: Outcome, suite: Suite, categories: list[str]) -> tuple[Any, ...]:
    """As asked for; categories that were not asked for this time come after, by name."""
    known = outcome.category in categories
    place = categories.index(outcome.category) if known else len(categories)
    row = [row.name for row in suite.rows].index(outcome.method)
    return place, outcome.category, row, outcome.seed


def _machine_text(result: Result) -> str:
    m = result.machine
    packages = ", ".join(f"{name} {version}" for name, version in m.packages.items())
    memory = f"{m.memory_mib / 1024:.0f} GiB"
    where = [m.board, m.cpu, f"{m.cores} cores", memory, m.system, f"Python {m.python}", packages]
    return f"{', '.join(filter(None, where))}; trained on {result.trial.device}"


def _write(path: Path, values: dict[str, Any]) -> None:
    with written_whole(path, DataError) as file:
        file.write(msgspec.json.format(msgspec.json.encode(values)))
