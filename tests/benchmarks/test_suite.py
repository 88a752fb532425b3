"""Suites: which runs are made, which are kept, and what the table says meanwhile."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dtgd_edge.benchmarks.suite import Suite, read_suite
from dtgd_edge.benchmarks.suite_run import Table, recipe_digest, run_suite
from dtgd_edge.benchmarks.tables import Outcome
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.data import DataSet, Part
from dtgd_edge.train.metrics import Metrics
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.train.trial import Trial

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
TEXT = """
title = "Two rows"
categories = ["tile"]
seeds = [0, 1]
base = "base.toml"

[recipe.optimiser]
steps = 7

[[row]]
name = "full"
meaning = "all of it"

[[row]]
name = "no gate"
meaning = "one part less"
[row.recipe.loss]
gate = 0
"""


class Trainer:
    """Trains nothing: the score is 0.9 with the gate and 0.8 without; counts its calls."""

    def __init__(self, ends_at: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.made: list[Recipe] = []
        self.ends_at, self.error = ends_at, error

    def __call__(self, data: DataSet, recipe: Recipe, folder: Path) -> Trial:
        if len(self.made) == self.ends_at:
            self.ends_at = None
            raise self.error("the loss became nan")
        self.made.append(recipe)
        value = 0.9 if recipe.loss.gate else 0.8
        metrics = Metrics(value, value, value, value, value, value, 4, 2)
        return Trial(metrics, replace(metrics, pixel_ap=0.5), 1.5, recipe.optimiser.steps, "a teacher", "cpu")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text("[optimiser]\nsteps = 5\nbatch = 4\n[loss]\ngate = 0.3\n")
    path = tmp_path / "suite.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def suite(file: Path) -> Suite:
    return read_suite(file)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, DataSet]:
    part = Part(tmp_path / "0.png", False, "good", None)
    return {
        name: DataSet(tmp_path / name, (part,), (part,), (64, 64), (), "folder") for name in ("tile", "screw")
    }


def _methods(table: Table) -> list[tuple[str, str, int]]:
    return [(line.category, line.method, line.seeds) for line in table.lines if line.category != "mean"]


def test_a_row_is_base_then_suite_then_arguments_then_its_own(file: Path) -> None:
    full, no_gate = read_suite(file, weights="shipped", size=64).rows
    assert full.recipe.optimiser.batch == 4 and full.recipe.optimiser.steps == 7
    assert full.recipe.loss.gate == 0.3 and no_gate.recipe.loss.gate == 0
    assert no_gate.recipe == replace(full.recipe, loss=replace(full.recipe.loss, gate=0))
    assert full.recipe.teacher.weights == "shipped" and full.recipe.geometry.size_hw == (64, 64)
    assert read_suite(file, steps=3).rows[0].recipe.optimiser.steps == 3


def test_what_makes_a_row_stays_whatever_the_arguments_say(file: Path) -> None:
    file.write_text(TEXT + "[row.recipe.geometry]\nsize_hw = [96, 128]\n")
    assert [row.recipe.geometry.size_hw for row in read_suite(file, size=64).rows] == [(64, 64), (96, 128)]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "gate = 0",
            "gat = 0",
            r"row 'no gate': table \[loss\], key 'gat' .*did you mean 'gate'",
        ),
        ("steps = 7", "stepz = 7", r"\[recipe\]: table \[optimiser\], key 'stepz'.*did you mean 'steps'"),
        ("seeds =", "seed =", "did you mean 'seeds'"),
        ('name = "no gate"', 'name = "full"', "row 'full' is there twice"),
        ("seeds = [0, 1]", "seeds = []", "0 seeds; expected one or more"),
        ('base = "base.toml"', 'base = "none.toml"', r"none\.toml does not exist"),
    ],
)
def test_a_suite_that_is_not_understood(file: Path, old: str, new: str, complaint: str) -> None:
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigError, match=complaint):
        read_suite(file)


def test_every_row_category_and_seed_is_run_once(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    trainer = Trainer()
    table = run_suite(suite, data, tmp_path / "out", trainer, command="dtgd-edge suite this")
    assert len(trainer.made) == 8 and {recipe.seed for recipe in trainer.made} == {0, 1}
    assert _methods(table) == [
        ("tile", "full", 2),
        ("tile", "no gate", 2),
        ("screw", "full", 2),
        ("screw", "no gate", 2),
    ]
    cells = table.lines[1].cells()
    assert (cells["image AUROC"], cells["held-out AP"]) == ("0.800 ± 0.000", "0.500 ± 0.000")
    assert (cells["minutes"], cells["steps"], cells["size"]) == ("1.5", "7", "256x256")
    text = (tmp_path / "out" / "table.md").read_text()
    assert text == table.text()
    assert "| tile | no gate | 2 | 0.800 ± 0.000 |" in text and "| mean | full | 2 | 0.900 ± 0.000 |" in text
    assert "no gate: one part less" in text and "Command: `dtgd-edge suite this`" in text
    assert "torch" in text and "Not finished" not in text
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == json.loads(json.dumps(table.record()))


def test_finished_runs_are_kept_and_stay_in_the_table(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    run_suite(suite, data, tmp_path, Trainer())
    again = Trainer()
    only_screw = {"screw": data["screw"]}
    table = run_suite(replace(suite.only(["full"]), seeds=(1, 2)), only_screw, tmp_path, again)
    assert [recipe.seed for recipe in again.made] == [2]
    assert _methods(table) == [("screw", "full", 3), ("tile", "full", 2)]


def test_an_interrupted_suite_leaves_a_table_and_goes_on(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    tile = {"tile": data["tile"]}
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tile, tmp_path, Trainer(ends_at=2))
    text = (tmp_path / "table.md").read_text()
    assert "| tile | no gate | 1 | 0.800 |" in text
    assert "Not finished: full on tile, seed 1; no gate on tile, seed 1." in text
    rest = Trainer()
    table = run_suite(suite, tile, tmp_path, rest)
    assert len(rest.made) == 2 and not table.missing


def test_a_run_that_fails_does_not_stop_the_others(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    tile = {"tile": data["tile"]}
    table = run_suite(suite, tile, tmp_path, Trainer(ends_at=1, error=DataError))
    assert table.failed == {"no gate on tile, seed 0": "the loss became nan"}
    assert _methods(table) == [("tile", "full", 2), ("tile", "no gate", 1)]
    assert "Failed: no gate on tile, seed 0: the loss became nan." in (tmp_path / "table.md").read_text()
    again = Trainer()
    assert not run_suite(suite, tile, tmp_path, again).failed and len(again.made) == 1


def test_an_edited_row_is_trained_anew_beside_the_old_one(
    suite: Suite, data: dict[str, DataSet], file: Path, tmp_path: Path
) -> None:
    run_suite(suite, data, tmp_path, Trainer())
    file.write_text(TEXT.replace("gate = 0\n", "gate = 0.6\n"))
    edited = Trainer()
    table = run_suite(read_suite(file), data, tmp_path, edited)
    assert [recipe.loss.gate for recipe in edited.made] == [0.6] * 4
    assert table.lines[1].cells()["image AUROC"] == "0.900 ± 0.000"
    back = Trainer()
    assert len(run_suite(suite, data, tmp_path, back).lines) == 6 and not back.made


def test_equal_recipes_of_different_rows_are_trained_once(
    data: dict[str, DataSet], file: Path, tmp_path: Path
) -> None:
    file.write_text(TEXT + '[[row]]\nname = "the same"\nmeaning = "under another name"\n')
    trainer = Trainer()
    table = run_suite(read_suite(file), {"tile": data["tile"]}, tmp_path, trainer)
    assert len(trainer.made) == 4
    assert _methods(table) == [("tile", "full", 2), ("tile", "no gate", 2), ("tile", "the same", 2)]


def test_a_run_from_before_a_key_was_added_still_counts(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    run_suite(suite, data, tmp_path, Trainer())
    for path in tmp_path.glob("runs/*/recipe.json"):
        values = json.loads(path.read_text())
        del values["augment"]["light"]
        path.write_text(json.dumps(values))
    again = Trainer()
    run_suite(suite, data, tmp_path, again)
    assert not again.made


def test_the_result_says_where_it_comes_from(suite: Suite, data: dict[str, DataSet], tmp_path: Path) -> None:
    run_suite(suite.only(["full"]), {"tile": data["tile"]}, tmp_path, Trainer())
    paths = sorted(tmp_path.glob("runs/tile-seed0-*/result.json"))
    result = json.loads(paths[0].read_text())
    recipe = replace(suite.rows[0].recipe, seed=0)
    assert len(paths) == 1 and result["recipe_sha256"] == recipe_digest(recipe)
    assert result["recipe"]["optimiser"]["steps"] == 7 and result["data"] == str(data["tile"].root)
    assert {"numpy", "torch", "dtgd-edge"} <= result["machine"]["packages"].keys()


def test_other_methods_stand_beside_the_rows(suite: Suite, data: dict[str, DataSet], tmp_path: Path) -> None:
    peer = Outcome("PatchCore", "tile", 0, image_auroc=0.97)
    table = run_suite(suite, {"tile": data["tile"]}, tmp_path, Trainer(), also=[peer])
    assert _methods(table) == [("tile", "full", 2), ("tile", "no gate", 2), ("tile", "PatchCore", 1)]


def test_runs_made_with_other_pictures_are_refused(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    run_suite(suite, {"tile": data["tile"]}, tmp_path, Trainer())
    with pytest.raises(DataError, match=r"was made with the pictures in .*tile; expected those in .*screw"):
        run_suite(suite, {"tile": data["screw"]}, tmp_path, Trainer())


def test_pictures_to_test_with_are_needed_before_anything_is_trained(
    suite: Suite, data: dict[str, DataSet], tmp_path: Path
) -> None:
    trainer = Trainer()
    data["screw"] = replace(data["screw"], test=())
    with pytest.raises(DataError, match="has no test pictures"):
        run_suite(suite, data, tmp_path, trainer)
    assert not trainer.made


def test_a_category_that_cannot_be_a_folder(suite: Suite, data: dict[str, DataSet], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot name a folder"):
        run_suite(suite, {"a/b": data["tile"]}, tmp_path, Trainer())


def test_an_unknown_row_is_refused(suite: Suite) -> None:
    with pytest.raises(ConfigError, match="row 'fool' is not in the suite; expected some of full, no gate"):
        suite.only(["full", "fool"])


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_suites_here_compare_different_recipes(path: Path) -> None:
    suite = read_suite(path)
    assert suite.categories
    assert len({row.recipe for row in suite.rows}) == len(suite.rows)
