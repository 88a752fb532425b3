"""A takt plan in words."""

from dataclasses import replace

import msgspec

from dtgd_edge.benchmarks.takt import Candidate, Requirement, TaktPlan, Timing
from dtgd_edge.benchmarks.takt_text import footnotes, recipe_lines, sentence, shown, table_row, training_note
from dtgd_edge.config import record_from_mapping
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.recipe import Recipe

LINE = Requirement(60, (1024, 1024), 1, 64)
SEEN = Candidate("full", "fp32", Geometry(size_hw=(384, 384)))
COARSE = Candidate("full", "fp32", Geometry(size_hw=(256, 256)))


def plan(requirement: Requirement, *timings: Timing, also: tuple[Candidate, ...] = ()) -> TaktPlan:
    return TaktPlan.of(requirement, [*(t.candidate for t in timings), *also], timings)


def test_a_recommendation_names_graph_time_and_margin() -> None:
    int8 = replace(SEEN, precision="int8")
    made = plan(LINE, Timing(SEEN, 500, 600, 1, 30, "CPU"), Timing(int8, 100, 200, 1, 30, "CPU"))
    assert sentence(LINE, made.advice) == (
        "run the full graph at 384x384 in fp32: 99 of 100 verdicts within 600.0 ms of 800.0 ms, "
        "a margin of 25%; the full graph at 384x384 in int8 would leave 75%"
    )
    assert table_row(made.rows[0])[-4:] == ["500.0", "600.0", "25%", "holds"]


def test_guesses_are_marked() -> None:
    made = plan(LINE, Timing(COARSE, 100, 100, 0, 30, "CPU"), also=(SEEN,))
    assert table_row(made.rows[1])[-4:] == ["~225.0", "~225.0", "~72%", "holds"]
    assert "to be measured before you rely on it" in sentence(LINE, made.advice)
    assert any("~ guessed" in line for line in footnotes(made.rows))
    assert not any("~" in line for line in footnotes(made.rows[:1]))


def test_why_nothing_holds_and_what_would() -> None:
    made = plan(LINE, Timing(SEEN, 900, 1600, 0, 30, "CPU"), Timing(COARSE, 300, 320, 0, 30, "CPU"))
    assert sentence(LINE, made.advice) == (
        "nothing that sees the defect holds the takt here: the quickest, the full graph at 384x384 in fp32, "
        "takes 1600.0 ms of 800.0 ms; it would hold 30 parts a minute, or needs a machine or a graph 2.0 "
        "times as fast; the full graph at 256x256 in fp32 holds the takt and sees defects from 1.5 mm"
    )
    assert table_row(made.rows[0])[-2:] == ["-100%", "too slow"]
    far = plan(LINE, Timing(SEEN, 900, 3200, 0, 30, "CPU"))
    assert table_row(far.rows[0])[-2:] == ["takes 4.0x", "too slow"]
    assert "not even the smallest graph" in sentence(LINE, far.advice)


def test_a_reachable_rate_is_rounded_down() -> None:
    made = plan(LINE, Timing(SEEN, 900, 48e3 / 34.9, 0, 30, "CPU"))
    assert "it would hold 34 parts a minute" in sentence(LINE, made.advice)


def test_a_coarse_camera_is_told_what_camera_would_do() -> None:
    line = replace(LINE, smallest_defect_mm=0.1, frame_hw=(512, 1024))
    text = sentence(line, plan(line, Timing(COARSE, 10, 20, 0, 30, "CPU")).advice)
    assert "no graph helps" in text and "1.6 pixels" in text
    assert "3840x1920 px" in text and "at most 17.1 mm" in text


def test_hopeless_guesses_are_left_out_and_counted() -> None:
    int8 = replace(COARSE, precision="int8")
    coarse = replace(int8, geometry=Geometry(size_hw=(320, 320)))
    made = plan(
        LINE, Timing(int8, 900, 900, 0, 30, "CPU"), also=(coarse, replace(int8, geometry=SEEN.geometry))
    )
    assert [r.timing.candidate for r in shown(made.rows)] == [int8, replace(int8, geometry=SEEN.geometry)]
    assert any("--json: 1 of" in line for line in footnotes(made.rows))


def test_the_recipe_s_lines_make_that_geometry() -> None:
    geometry = Geometry(
        size_hw=(768, 1024),
        tiles=(3, 4),
        fit="letterbox",
        bars="edge",
        shrink="halves",
        margin=16,
        region_xywh=(1, 2, 300, 200),
        overlap=0.3,
        sensor_bits=12,
    )
    made = plan(LINE, Timing(replace(SEEN, geometry=geometry), 1, 1, 0, 30, "CPU"))
    values = msgspec.toml.decode("\n".join(recipe_lines(made.rows[0])))
    assert record_from_mapping(values, Recipe, "plan.toml").geometry == geometry


def test_only_large_uncut_frames_are_heavy_to_train() -> None:
    large = replace(SEEN, geometry=Geometry(size_hw=(928, 1600)))
    cut = replace(large, geometry=replace(large.geometry, tiles=(4, 6)))
    made = plan(LINE, *(Timing(c, 1, 1, 0, 30, "CPU") for c in (SEEN, large, cut)))
    notes = [training_note(row) for row in made.rows]
    # 124 MiB for each 256 x 256, 8 at a time: 22.66 times 992 MiB.
    assert notes[0] is None and notes[2] is None
    assert notes[1] is not None and "22 GiB" in notes[1]
