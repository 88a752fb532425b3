"""Takt arithmetic, computed by hand beside it."""

from dataclasses import replace

import pytest

from dtgd_edge.benchmarks.takt import (
    Candidate,
    Requirement,
    TaktPlan,
    Timing,
    advice,
    geometries,
    require_inside,
    rows,
    timing_of,
)
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry
from dtgd_edge.manifest import Precision

# The issue's own line: 0.3 mm at 80 mm over 1920 px are 7.2 px of the camera.
LINE = Requirement(300, (1080, 1920), 0.3, 80)
# 1 mm at 64 mm over 1024 px are 16 px; 6 of the graph are reached at 384 px across.
EASY = Requirement(60, (1024, 1024), 1, 64)


def candidate(side: int, precision: Precision = "fp32", graph: str = "full", **geometry: object) -> Candidate:
    return Candidate(graph, precision, replace(Geometry(size_hw=(side, side)), **geometry))  # type: ignore[arg-type]


def timed(one: Candidate, p50: float, p99: float, loop: float = 0.0, frames: int = 30) -> Timing:
    return Timing(one, p50, p99, loop, frames, "CPU")


def test_takt_and_camera() -> None:
    assert (LINE.takt_ms, LINE.available_ms) == (200, 160)
    assert replace(LINE, reserve=0.0).available_ms == 200
    assert LINE.camera_mm_per_px == pytest.approx(1 / 24)
    assert LINE.camera_px == pytest.approx(7.2)
    assert LINE.camera_sees


def test_a_camera_with_too_few_pixels_names_the_one_that_would_do() -> None:
    line = replace(LINE, smallest_defect_mm=0.1)
    assert line.camera_px == pytest.approx(2.4)
    assert not line.camera_sees
    assert line.needed_frame_width_px == 4800  # 6 px for each of 800 tenths of a millimetre
    assert line.widest_field_mm == pytest.approx(32)  # 1920 / 6 tenths of a millimetre
    assert replace(line, frame_hw=(2700, 4800)).camera_sees
    assert replace(line, field_of_view_mm=32).camera_sees


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"parts_per_minute": 0}, "parts a minute"),
        ({"reserve": 1.0}, "write 20%"),
        ({"reserve": -0.1}, "reserve"),
        ({"pixels_per_defect": 0}, "pixels per defect"),
        ({"smallest_defect_mm": 80}, "field of view"),
        ({"smallest_defect_mm": 0}, "field of view"),
    ],
)
def test_what_no_line_asks_for(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(LINE, **wrong)  # type: ignore[arg-type]


def test_sizes_hold_the_coarsest_that_sees_and_keep_the_frame_s_shape() -> None:
    sizes = [g.size_hw for g in geometries(LINE, Geometry()) if g.tiles == (1, 1)]
    # 6 / 7.2 of 1920 x 1080 is 1600 x 900, and 928 is the next multiple of 32.
    assert (928, 1600) in sizes
    assert sizes[0] == (160, 256)  # 256 x 144
    assert sizes[-1] == (1088, 1920)  # not finer than the camera
    assert sizes == sorted(sizes)
    judged = rows(
        LINE, [Candidate("full", "fp32", Geometry(size_hw=s)) for s in sizes], [timed(candidate(256), 1, 1)]
    )
    assert [r.sees for r in judged] == [False] * (len(sizes) - 2) + [True, True]


def test_large_sizes_come_in_tiles_as_well() -> None:
    found = geometries(LINE, Geometry(overlap=0.3, margin=16, shrink="halves"))
    assert {g.tiles for g in found if g.size_hw == (928, 1600)} == {(1, 1), (4, 6)}
    assert all(g.tiles == (1, 1) for g in found if max(g.size_hw) <= 512)
    assert {(g.overlap, g.margin, g.shrink) for g in found} == {(0.3, 16, "halves")}


@pytest.mark.parametrize("defect_mm", [5.0, 40.0])
def test_large_defects_need_no_less_than_the_smallest_size(defect_mm: float) -> None:
    sizes = [g.size_hw for g in geometries(replace(EASY, smallest_defect_mm=defect_mm), Geometry())]
    assert sizes == [(256, 256), (416, 416)]  # 1.6 times 256 is 409.6


def test_small_frames_and_long_ones_have_sizes() -> None:
    assert [g.size_hw for g in geometries(replace(EASY, frame_hw=(100, 200)), Geometry())] == [(128, 224)]
    long = geometries(Requirement(60, (100, 4096), 1, 400), Geometry())
    assert long[0].size_hw == (32, 256)
    assert all(g.size_hw[0] in (32, 64, 96, 128) for g in long)


def test_a_region_is_what_sizes_are_made_for() -> None:
    region = Geometry(region_xywh=(100, 100, 512, 256))
    found = geometries(EASY, region)
    # 384 of 1024 frame pixels: 192 x 96 of the region would do, but not below 256 px.
    assert found[0].size_hw == (128, 256)
    assert found[-1].size_hw[1] <= 512
    with pytest.raises(ConfigError, match="reaches outside of frames of 512x512"):
        geometries(replace(EASY, frame_hw=(512, 512)), region)
    require_inside(region, (1024, 1024))


def test_pixels_on_the_defect_are_those_of_the_coarser_side_and_not_more_than_the_camera_s() -> None:
    def defect_px(geometry: Geometry) -> tuple[float, float]:
        only = Candidate("full", "fp32", geometry)
        row = rows(EASY, [only], [timed(only, 1, 1)])[0]
        return row.defect_px, row.mm_per_px

    assert defect_px(Geometry(size_hw=(256, 256))) == pytest.approx((4, 0.25))
    assert defect_px(Geometry(size_hw=(256, 512))) == pytest.approx((4, 0.25))
    assert defect_px(Geometry(size_hw=(256, 512), fit="letterbox")) == pytest.approx((4, 0.25))
    assert defect_px(Geometry(size_hw=(2048, 2048))) == pytest.approx((16, 0.0625))
    region = Geometry(size_hw=(256, 256), region_xywh=(0, 0, 512, 512))
    assert defect_px(region) == pytest.approx((8, 0.125))


def test_margin_and_verdict() -> None:
    seen, coarse = candidate(384), candidate(256)
    # 60 parts a minute without a fifth: 800 ms.
    quick = rows(EASY, [seen, coarse], [timed(seen, 100, 200), timed(coarse, 50, 80)])
    assert [r.margin for r in quick] == pytest.approx([0.75, 0.9])
    assert [r.verdict for r in quick] == ["holds", "too coarse"]
    slow = rows(EASY, [seen, coarse], [timed(seen, 900, 1000), timed(coarse, 800, 800.1)])
    assert slow[0].margin == pytest.approx(-0.25)
    assert [r.verdict for r in slow] == ["too slow", "too coarse, too slow"]
    assert not any(r.fits for r in slow)


def test_work_counts_overlaps_and_margins() -> None:
    assert candidate(256).work_px == 256 * 256
    assert candidate(256, margin=16).work_px == 288 * 288
    tiled = candidate(512, tiles=(2, 2))
    assert tiled.geometry.tile_grid is not None
    assert tiled.geometry.tile_grid.tile_hw == (288, 288)
    assert tiled.work_px == 4 * 288 * 288


def test_guesses_grow_with_the_work_but_for_the_loop() -> None:
    one = timed(candidate(256), p50=30, p99=50, loop=10)
    guess = timing_of(candidate(512), [one])
    assert guess is not None
    assert (guess.p50_ms, guess.p99_ms) == (10 + 4 * 20, 10 + 4 * 40)
    assert not guess.is_measured and one.is_measured
    assert timing_of(candidate(256), [one]) is one


def test_the_nearest_size_of_the_same_kind_is_what_a_guess_rests_on() -> None:
    known = [
        timed(candidate(256), 10, 10),
        timed(candidate(1024), 320, 320),
        timed(candidate(512, "int8"), 1, 1),
    ]
    guess = timing_of(candidate(736), known)
    assert guess is not None and guess.p50_ms == pytest.approx(320 * (736 / 1024) ** 2)
    assert timing_of(candidate(256, graph="compact"), known) is None
    assert rows(EASY, [candidate(256, graph="compact")], known) == []


def test_the_trained_graph_s_precision_goes_before_a_larger_margin() -> None:
    both = [candidate(384), candidate(384, "int8")]
    made = TaktPlan.of(EASY, both, [timed(both[0], 700, 720), timed(both[1], 200, 240)])
    assert made.advice.recommended is not None and made.advice.widest is not None
    assert made.advice.recommended.timing.candidate == both[0]
    assert made.advice.recommended.margin == pytest.approx(0.1)
    assert made.advice.widest.margin == pytest.approx(0.7)
    # Where float32 is too slow, INT8 it is.
    made = TaktPlan.of(EASY, both, [timed(both[0], 700, 900), timed(both[1], 200, 240)])
    assert made.advice.recommended is not None
    assert made.advice.recommended.timing.candidate == both[1]


def test_graphs_go_in_the_order_of_the_candidates() -> None:
    full, compact = candidate(384, "int8"), candidate(384, graph="compact")
    made = TaktPlan.of(EASY, [full, compact], [timed(full, 700, 720), timed(compact, 100, 100)])
    assert made.advice.recommended is not None
    assert made.advice.recommended.timing.candidate == full


def test_measured_goes_before_guessed_and_coarse_before_fine() -> None:
    sizes = [candidate(384, "int8"), candidate(384), candidate(416, "int8"), candidate(416)]
    known = [timed(sizes[0], 100, 100), timed(sizes[2], 120, 120), timed(candidate(256), 40, 40)]
    made = TaktPlan.of(EASY, sizes, known)
    assert made.advice.recommended is not None
    assert made.advice.recommended.timing.candidate == sizes[0]
    made = TaktPlan.of(EASY, sizes, known[2:])
    assert made.advice.recommended is not None
    assert made.advice.recommended.timing.candidate == sizes[1]
    assert not made.advice.recommended.timing.is_measured


def test_when_nothing_holds_it_is_said_what_would() -> None:
    seen, coarse, coarser = candidate(384, "int8"), candidate(320), candidate(256)
    known = [timed(seen, 900, 1600), timed(coarse, 600, 640), timed(coarser, 300, 320)]
    found = advice(EASY, rows(EASY, [coarser, coarse, seen], known))
    assert found.recommended is None and found.widest is None
    assert found.quickest is not None and found.quickest.timing.candidate == seen
    assert found.speed_up == pytest.approx(2)  # 1600 of 800 ms
    assert found.reachable_parts_per_minute == pytest.approx(30)
    assert found.finest is not None and found.finest.timing.candidate == coarse
    # 320 px put 5 on a millimetre's 16 camera pixels; 6 are reached by 1.2 mm.
    assert found.finest_defect_mm == pytest.approx(1.2)


def test_when_nothing_sees_nothing_is_quickest() -> None:
    found = advice(EASY, rows(EASY, [candidate(256)], [timed(candidate(256), 9000, 9000)]))
    assert (found.quickest, found.reachable_parts_per_minute, found.speed_up, found.finest) == (None,) * 4


def test_the_record_holds_plain_values() -> None:
    import json

    one = candidate(384)
    record = json.loads(
        json.dumps(TaktPlan.of(EASY, [one], [timed(one, 100, 200)]).record(), allow_nan=False)
    )
    assert record["requirement"]["available_ms"] == 800
    assert record["rows"][0]["verdict"] == "holds"
    assert record["advice"]["recommended"]["timing"]["candidate"]["geometry"]["size_hw"] == [384, 384]
