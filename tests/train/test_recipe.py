"""The recipe: TOML to record, and clear words for what does not fit."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.recipe import (
    DECIDED,
    AugmentRecipe,
    LossRecipe,
    OptimiserRecipe,
    Recipe,
    StudentRecipe,
    SynthRecipe,
    TeacherRecipe,
    read_recipe,
)
from dtgd_edge.train.synth import FAMILIES


def _read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert _read(tmp_path, "") == Recipe()


def test_given_keys_are_taken_and_the_others_keep_their_defaults(tmp_path: Path) -> None:
    recipe = _read(
        tmp_path,
        """
        seed = 7
        [geometry]
        size_hw = [128, 160]
        [teacher]
        variant = "tuned"
        learning_rate = 2e-5
        [student]
        tnr = "off"
        skips = true
        [loss]
        dissimilarity_form = "mask"
        [synth]
        families = ["texture", "spots"]
        held_out = "warp"
        """,
    )
    assert recipe.seed == 7 and recipe.geometry == Geometry(size_hw=(128, 160))
    assert recipe.student == StudentRecipe(tnr="off", skips=True)
    assert recipe.teacher == TeacherRecipe(variant="tuned", learning_rate=2e-5)
    assert recipe.loss == LossRecipe(dissimilarity_form="mask")
    assert recipe.synth == SynthRecipe(families=("texture", "spots"), held_out="warp")
    assert recipe.optimiser == OptimiserRecipe()


def test_the_recipes_that_ship_can_be_read() -> None:
    paths = sorted((Path(__file__).parents[2] / "train" / "recipes").glob("*.toml"))
    assert all(isinstance(read_recipe(path), Recipe) for path in paths)


def test_survives_json() -> None:
    recipe = Recipe(seed=3, loss=LossRecipe(gate=0.0))
    assert record_from_mapping(mapping_from_record(recipe), Recipe, "json") == recipe


def test_defaults_hold_one_family_out() -> None:
    synth = Recipe().synth
    assert {*synth.families, synth.held_out} <= set(FAMILIES)
    assert synth.held_out not in synth.families


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimiser]\nstep = 5", r"table \[optimiser\], key 'step' is not known.*did you mean 'steps'"),
        ("[optimiser]\nsteps = 0", "expected at least 1 step of 2 pictures"),
        ("[optimiser]\nbatch = 1", "expected at least 1 step of 2 pictures"),
        ("[optimiser]\nsteps = 'many'", r"optimiser\.steps.*expected int"),
        ("[loss]\ndissimilarity_form = 'other'", r"loss\.dissimilarity_form.*'other'"),
        ("[teacher]\nvariant = 'U'", r"teacher\.variant.*'U'"),
        ("[teacher]\nlearning_rate = 0", "teacher.learning_rate is 0; expected more than 0"),
        ("[student]\ntnr = true", r"student\.tnr.*expected str, got bool"),
        ("[scoring]\nfusion = 'max'", r"scoring\.fusion.*'max'"),
        ("[synth]\nfamilies = ['rust']", "'rust' is not known; expected some of texture"),
        ("[synth]\nheld_out = 'spots'", "also in synth.families"),
        ("[synth]\nfamilies = []", "synth.families is empty"),
        ("[geometry]\nsize_hw = [100, 100]", "multiples of 32"),
        ("[augment]\nrotate_degrees = 200", r"augment\.rotate_degrees is 200; expected 0 to 180"),
        ("[augment]\nshift = -0.1", r"augment\.shift is -0\.1; expected 0 to 0\.5"),
        ("[augment]\nlight = 2", r"augment\.light is 2; expected 0 to 1"),
        ("[augment]\nflip_horizontal = 'yes'", r"augment\.flip_horizontal.*'yes'"),
        ("[augment]\nturns = 3", r"augment\.turns"),
        ("[augment]\nsymmetry = 'free'", r"augment\.symmetry.*'free'"),
        ("[augment]\nturns = 4\n[geometry]\nsize_hw = [64, 96]", "expected a square picture"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _read(tmp_path, text)
    assert "recipe.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Recipe().seed = 1  # type: ignore[misc]
    assert replace(Recipe(), seed=1) != Recipe()


def test_what_good_parts_may_undergo_is_left_to_the_pictures_or_said(tmp_path: Path) -> None:
    assert {getattr(Recipe().augment, name) for name in DECIDED} == {"auto"}
    said = _read(tmp_path, "[augment]\nflip_vertical = true\nturns = 2\nrotate_degrees = 180").augment
    assert said == AugmentRecipe(flip_vertical=True, turns=2, rotate_degrees=180.0)
    settled = said.settled(AugmentRecipe(True, False, 4, 5.0, 0.03))
    assert settled == AugmentRecipe(True, True, 2, 180.0, 0.03)
    assert record_from_mapping(mapping_from_record(settled), AugmentRecipe, "json") == settled


def test_the_default_recipe_file_says_the_defaults() -> None:
    path = Path(__file__).parents[2] / "train" / "recipes" / "default.toml"
    assert read_recipe(path) == Recipe()
