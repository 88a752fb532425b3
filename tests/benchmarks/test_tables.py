"""Outcomes become lines: means, spreads, order, and what other programs say."""

import json
from pathlib import Path
from typing import Any

import pytest

from dtgd_edge.benchmarks.tables import Outcome, lines_from_outcomes, markdown, read_outcomes
from dtgd_edge.errors import ConfigError


def _outcome(method: str, category: str, seed: int | None, value: float | None, **facts: Any) -> Outcome:
    return Outcome(method, category, seed, image_auroc=value, **facts)


def test_mean_and_sample_deviation_over_the_seeds() -> None:
    outcomes = [
        _outcome("a", "tile", seed, value, minutes=seed) for seed, value in enumerate((0.7, 0.8, 0.9))
    ]
    (line,) = lines_from_outcomes(outcomes)
    cells = line.cells()
    assert (cells["seeds"], cells["image AUROC"], cells["minutes"]) == ("3", "0.800 ± 0.100", "1.0")
    assert cells["pixel AP"] == "-"


def test_one_seed_is_a_plain_value() -> None:
    (line,) = lines_from_outcomes([_outcome("a", "tile", 0, 0.81236)])
    assert line.cells()["image AUROC"] == "0.812"


def test_methods_stand_side_by_side_in_each_category_and_then_their_means() -> None:
    outcomes = [
        _outcome("a", "tile", 0, 0.9),
        _outcome("a", "screw", 0, 0.7),
        _outcome("b", "tile", None, 0.5),
        _outcome("b", "screw", None, 0.6),
    ]
    lines = lines_from_outcomes(outcomes)
    assert [(line.category, line.method) for line in lines] == [
        ("tile", "a"),
        ("tile", "b"),
        ("screw", "a"),
        ("screw", "b"),
        ("mean", "a"),
        ("mean", "b"),
    ]
    assert [line.cells()["image AUROC"] for line in lines[4:]] == ["0.800", "0.550"]


def test_the_mean_over_categories_takes_the_seeds_that_all_have() -> None:
    outcomes = [
        _outcome("a", "tile", 0, 0.9),
        _outcome("a", "tile", 1, 0.5),
        _outcome("a", "screw", 0, 0.7),
        _outcome("b", "tile", 0, 0.6),
    ]
    means = [line for line in lines_from_outcomes(outcomes) if line.category == "mean"]
    assert [(line.method, line.seeds, line.cells()["image AUROC"]) for line in means] == [("a", 1, "0.800")]


def test_a_measure_that_one_category_lacks_has_no_mean() -> None:
    outcomes = [_outcome("a", "tile", 0, 0.9), _outcome("a", "screw", 0, None)]
    assert lines_from_outcomes(outcomes)[-1].cells()["image AUROC"] == "-"


def test_facts_that_differ_are_all_named() -> None:
    outcomes = [_outcome("a", "tile", seed, 0.9, teacher=t) for seed, t in enumerate(("x", "y", "x"))]
    assert lines_from_outcomes(outcomes)[0].cells()["teacher"] == "x, y"


def test_two_results_of_the_same_run_are_refused() -> None:
    with pytest.raises(ConfigError, match="'a' on 'tile' with seed 0 is there twice"):
        lines_from_outcomes([_outcome("a", "tile", 0, 0.9)] * 2)


def test_markdown_has_as_many_cells_in_every_row() -> None:
    text = markdown(lines_from_outcomes([_outcome("a|b", "tile", 0, 0.9)]))
    head, rule, row = text.splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    assert "a/b" in row


def test_other_programs_results_are_read(tmp_path: Path) -> None:
    record = {"method": "PatchCore", "category": "tile", "seed": 0, "image_auroc": 0.97, "minutes": 2}
    path = tmp_path / "peers.json"
    path.write_text(json.dumps([record]))
    assert read_outcomes(path) == [Outcome("PatchCore", "tile", 0, image_auroc=0.97, minutes=2.0)]
    path.write_text(json.dumps({"title": "another suite", "outcomes": [record]}))
    assert read_outcomes(path)[0].method == "PatchCore"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not valid JSON"),
        ('{"method": "a"}', "holds no outcomes"),
        ('[{"method": "a"}]', "record 0: missing required field category"),
        ('[{"method": "a", "category": "b", "image_aurok": 1}]', "did you mean 'image_auroc'"),
    ],
)
def test_results_that_are_not_understood(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_outcomes(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        read_outcomes(tmp_path / "none.json")
