"""Timing: what is counted, and subjects side by side."""

from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.timing import measure
from dtgd_edge.export.pipeline import Exported
from dtgd_edge.manifest import Precision


def test_subjects_are_timed_in_turn_on_the_same_frames(tiny_bundles: dict[Precision, Exported]) -> None:
    float32, int8 = (tiny_bundles[name].bundle for name in ("fp32", "int8"))
    pictures = bench_pictures(float32, (64, 64))
    made = measure(
        [(float32, "ort"), (int8, "ort"), (float32, "null")], pictures, frames=4, warm_up=1, threads=1
    )
    assert [(m.backend, m.precision) for m in made] == [("ort", "fp32"), ("ort", "int8"), ("null", "fp32")]
    assert all(m.stages_ms["score"].count == 4 for m in made)
    assert all(m.stages_ms["total"].p50 >= m.stages_ms["score"].p50 for m in made)
    assert made[0].speed == 1.0
    # The null session computes nothing.
    assert made[2].speed > 1.0
    # And what remains is what the loop itself costs.
    for m in made:
        assert m.stages_ms["all but score"].p50 <= m.stages_ms["total"].p50
        assert m.frames_per_s == 1000 / m.stages_ms["total"].p50
