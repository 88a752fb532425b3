"""Tables of results: outcomes of single runs become one line per method and category.

A line gives the mean over the seeds and their sample standard deviation; numbers of other programs
stand in the same table when they come as the same records.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import ConfigError

MEASURES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO",
    "aupro_05": "AUPRO@0.05",
    "f1_max": "F1-max",
    "held_out_auroc": "held-out AUROC",
    "held_out_ap": "held-out AP",
}
COLUMNS = ("category", "method", "seeds", *MEASURES.values(), "minutes", "steps", "size", "teacher")
MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method reached on one category with one seed.

    Attributes:
        method: name of a row, or of another program.
        category: name of the pictures.
        seed: None where a method has none.
        image_auroc, pixel_auroc, pixel_ap, aupro, aupro_05, f1_max: on the test pictures, in [0, 1].
        held_out_auroc, held_out_ap: image AUROC and pixel AP on synthetic defects kept out of training.
        minutes: of training.
        steps: of training.
        size: WIDTHxHEIGHT of the network's input.
        teacher: where its weights come from.
    """

    method: str
    category: str
    seed: int | None = None
    image_auroc: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    aupro: float | None = None
    aupro_05: float | None = None
    f1_max: float | None = None
    held_out_auroc: float | None = None
    held_out_ap: float | None = None
    minutes: float | None = None
    steps: int | None = None
    size: str | None = None
    teacher: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: of the values there are.
        deviation: sample standard deviation; None for a single value.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Summarise; None without values."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table.

    Attributes:
        category: name of the pictures, or "mean" for the mean over all categories.
        method: as in the outcomes.
        seeds: how many.
        measures: by the keys of MEASURES; None where nothing is known.
        minutes: mean over the seeds.
        steps, size, teacher: what the outcomes say, "a, b" where they differ.
    """

    category: str
    method: str
    seeds: int
    measures: dict[str, Spread | None]
    minutes: float | None
    steps: str | None
    size: str | None
    teacher: str | None

    def cells(self) -> dict[str, str]:
        """The line as text, by column, in the columns' order."""
        return {
            "category": self.category,
            "method": self.method,
            "seeds": str(self.seeds),
            **{title: _measure_text(self.measures[key]) for key, title in MEASURES.items()},
            "minutes": "-" if self.minutes is None else f"{self.minutes:.1f}",
            "steps": self.steps or "-",
            "size": self.size or "-",
            "teacher": self.teacher or "-",
        }


def lines_from_outcomes(outcomes: Sequence[Outcome]) -> list[Line]:
    """One line per category and method, then each method's mean over the categories.

    Categories and methods keep the order in which they come first. The mean over the categories takes
    the seeds that all categories have, category by category with equal weight, and is left out for a
    method that misses one.

    Raises:
        ConfigError: a method has two outcomes for the same category and seed.
    """
    _refuse_doubles(outcomes)
    categories = list(dict.fromkeys(o.category for o in outcomes))
    methods = list(dict.fromkeys(o.method for o in outcomes))
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.category, outcome.method].append(outcome)
    lines = [
        _line(category, method, groups[category, method])
        for category in categories
        for method in methods
        if (category, method) in groups
    ]
    if len(categories) > 1:
        for method in methods:
            if means := _means([groups.get((category, method), []) for category in categories]):
                lines.append(_line(MEAN, method, means))
    return lines


def read_outcomes(path: Path) -> list[Outcome]:
    """Read the outcomes of other programs, or those in another suite's table.json.

    Args:
        path: JSON: a list of records as Outcome, or an object whose key "outcomes" holds one.

    Raises:
        ConfigError: no such file, not JSON, or a record that is not understood.
    """
    try:
        values = msgspec.json.decode(path.read_bytes())
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be read ({exc.strerror}); expected a JSON file; check the path"
        ) from exc
    except msgspec.DecodeError as exc:
        raise ConfigError(f"{path} is not valid JSON: {exc}; expected a list of records") from exc
    if isinstance(values, dict):
        values = values.get("outcomes")
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(
            f'{path} holds no outcomes; expected a list of records such as {{"method": "PatchCore", '
            '"category": "tile", "seed": 0, "image_auroc": 0.9}; write one'
        )
    return [
        record_from_mapping(value, Outcome, f"{path}, record {index}") for index, value in enumerate(values)
    ]


def markdown(lines: Iterable[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *([*line.cells().values()] for line in lines)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)


def records(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The lines as plain JSON values."""
    return [mapping_from_record(line) for line in lines]


def _line(category: str, method: str, outcomes: Sequence[Outcome]) -> Line:
    minutes = Spread.of([o.minutes for o in outcomes if o.minutes is not None])
    return Line(
        category=category,
        method=method,
        seeds=len(outcomes),
        measures={key: Spread.of(_known(outcomes, key)) for key in MEASURES},
        minutes=None if minutes is None else minutes.mean,
        steps=_fact(outcomes, lambda o: o.steps),
        size=_fact(outcomes, lambda o: o.size),
        teacher=_fact(outcomes, lambda o: o.teacher),
    )


def _means(groups: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """Per seed that every category has, the mean over the categories."""
    by_seed: list[Mapping[int | None, Outcome]] = [{o.seed: o for o in group} for group in groups]
    means = []
    for seed in by_seed[0]:
        if not all(seed in outcomes for outcomes in by_seed):
            continue
        same = [outcomes[seed] for outcomes in by_seed]
        # A measure that one category lacks has no mean over the categories.
        values: dict[str, Any] = {
            key: statistics.fmean(known)
            for key in (*MEASURES, "minutes")
            if len(known := _known(same, key)) == len(same)
        }
        means.append(Outcome(same[0].method, MEAN, seed, **values))
    return means


def _known(outcomes: Iterable[Outcome], key: str) -> list[float]:
    return [value for o in outcomes if (value := getattr(o, key)) is not None]


def _fact(outcomes: Iterable[Outcome], fact: Callable[[Outcome], int | str | None]) -> str | None:
    return ", ".join(dict.fromkeys(str(v) for o in outcomes if (v := fact(o)) is not None)) or None


def _measure_text(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean:.3f}" if spread.deviation is None else f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def _refuse_doubles(outcomes: Iterable[Outcome]) -> None:
    seen = set()
    for o in outcomes:
        key = (o.method, o.category, o.seed)
        if key in seen:
            raise ConfigError(
                f"{o.method!r} on {o.category!r} with seed {o.seed} is there twice; expected one result "
                "each; rename the method or take one of them out"
            )
        seen.add(key)
