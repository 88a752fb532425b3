"""A suite: recipes that differ in what is being asked, on several categories and seeds, in one table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtgd_edge.config import mapping_from_record, record_from_mapping, record_from_toml
from dtgd_edge.errors import ConfigError

if TYPE_CHECKING:
    from dtgd_edge.train.recipe import Recipe  # at run time it brings OpenCV along


@dataclass(frozen=True, slots=True)
class Row:
    """One recipe of a suite.

    Attributes:
        name: unique in the suite.
        meaning: one line for people.
        recipe: complete; its seed is replaced by each of the suite's.
    """

    name: str
    meaning: str
    recipe: "Recipe"


@dataclass(frozen=True, slots=True)
class Suite:
    """What to train and to compare.

    Attributes:
        title: of the table.
        rows: at least one.
        categories: names of the pictures it was written for.
        seeds: one run each.
    """

    title: str
    rows: tuple[Row, ...]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]

    def only(self, names: Sequence[str]) -> "Suite":
        """Keep some rows.

        Raises:
            ConfigError: a name is not a row's.
        """
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"row {name!r} is not in the suite; expected some of {', '.join(known)}; correct --rows"
                )
        return replace(self, rows=tuple(row for row in self.rows if row.name in names))


def read_suite(
    path: Path, *, weights: str | None = None, size: int | None = None, steps: int | None = None
) -> Suite:
    """Read a suite file and put its recipes together.

    From weakest to strongest: the base recipe, the suite's [recipe], the arguments here, the row's own
    [row.recipe]: what makes a row that row stays.

    Args:
        path: TOML.
        weights: the teacher's, as a recipe says it.
        size: side of the graph's input.
        steps: of training.

    Raises:
        ConfigError: see record_from_toml; two rows of one name.
    """
    from dtgd_edge.train.recipe import Recipe, read_recipe

    file = record_from_toml(path, _SuiteFile)
    base = mapping_from_record(read_recipe(path.parent / file.base) if file.base else Recipe())
    asked = _asked(weights, size, steps)
    common = _merged(_recipe_mapping(_merged(base, file.recipe), f"{path}, [recipe]"), asked)
    rows = [
        Row(
            row.name,
            row.meaning,
            record_from_mapping(_merged(common, row.recipe), Recipe, f"{path}, row {row.name!r}"),
        )
        for row in file.row
    ]
    return Suite(file.title, tuple(rows), file.categories, file.seeds)


def check_category(name: str) -> None:
    """Make sure that a category can name a folder.

    Raises:
        ConfigError: it cannot.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ConfigError(
            f"category {name!r} cannot name a folder; expected letters, digits, '.', '-' and '_'; rename it"
        )


@dataclass(frozen=True, slots=True)
class _RowFile:
    """A [[row]] of a suite file."""

    name: str
    meaning: str
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _SuiteFile:
    """A suite file."""

    title: str
    row: tuple[_RowFile, ...]
    categories: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    base: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [row.name for row in self.row]
        if not names or not self.seeds:
            raise ConfigError(
                f"the suite has {len(names)} rows and {len(self.seeds)} seeds; expected one or more of each"
            )
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"row {twice.pop()!r} is there twice; expected different names; rename one")


def _asked(weights: str | None, size: int | None, steps: int | None) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if weights is not None:
        asked["teacher"] = {"weights": weights}
    if size is not None:
        asked["geometry"] = {"size_hw": [size, size]}
    if steps is not None:
        asked["optimiser"] = {"steps": steps}
    return asked


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables laid over each other; `above` wins."""
    both = {**below, **above}
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping):
            both[key] = _merged(below[key], value)
    return both


def _recipe_mapping(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The values as a checked recipe spells them."""
    from dtgd_edge.train.recipe import Recipe

    return mapping_from_record(record_from_mapping(values, Recipe, origin))
