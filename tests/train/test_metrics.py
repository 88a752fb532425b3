import math
from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.curves import Map, Mask
from dtgd_edge.train.metrics import (
    Pool,
    aupro,
    auroc_change_error,
    average_precision,
    f1_max,
    image_auroc,
    pixel_auroc,
    pooled_metrics,
)
from dtgd_edge.train.operating import operating_point, point_detecting

EMPTY = np.zeros((6, 7), np.bool_)


def _case(seed: int, ties: bool) -> tuple[list[Map], list[Mask]]:
    """Three tiny pictures, one of them good; few distinct values when there are to be ties."""
    rng = np.random.default_rng(seed)
    maps = [rng.random((6, 7)).astype(np.float32) for _ in range(3)]
    if ties:
        maps = [(m * 4).round().astype(np.float32) / 4 for m in maps]
    masks = [rng.random((6, 7)) < 0.2, rng.random((6, 7)) < 0.1, EMPTY]
    masks[0][2:4, 2:5] = True
    maps[0] = maps[0] + masks[0] * np.float32(0.25)
    return maps, masks


def _components(mask: Mask) -> list[list[tuple[int, int]]]:
    """8-connected components, by flooding."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    components = []
    while left:
        queue, component = deque([left.pop()]), []
        while queue:
            y, x = queue.popleft()
            component.append((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    queue.append(near)
        components.append(component)
    return components


def _slow_aupro(maps: list[Map], masks: list[Mask], limit: float) -> float:
    """One point per distinct value; trapezoids, the last one cut at the limit."""
    normal = np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)])
    regions = [
        np.array([m[p] for p in component])
        for m, k in zip(maps, masks, strict=True)
        for component in _components(k)
    ]
    points = [(0.0, 0.0)]
    for value in sorted({float(v) for m in maps for v in m.ravel()}, reverse=True):
        points.append(((normal >= value).mean(), float(np.mean([(r >= value).mean() for r in regions]))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def _slow_auroc(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    return float(np.mean(pairs))


def _slow_ap(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    area, before = 0.0, 0.0
    for value in sorted(set(scores.tolist()), reverse=True):
        said = scores >= value
        recall = (said & labels).sum() / labels.sum()
        area += (recall - before) * (said & labels).sum() / said.sum()
        before = recall
    return float(area)


def _f1(labels: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    return float(2 * (said & labels).sum() / (said.sum() + labels.sum()))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_pixel_measures_equal_brute_force(seed: int, ties: bool) -> None:
    maps, masks = _case(seed, ties)
    pixels, labels = np.concatenate([m.ravel() for m in maps]), np.concatenate([k.ravel() for k in masks])
    found = pooled_metrics(maps, masks, [0.5, 0.5, 0.1], [True, True, False])
    assert found.pixel_auroc == pytest.approx(_slow_auroc(labels, pixels), abs=1e-12)
    assert found.pixel_ap == pytest.approx(_slow_ap(labels, pixels), abs=1e-12)
    assert found.aupro == pytest.approx(_slow_aupro(maps, masks, 0.3), abs=1e-12)
    assert found.aupro_05 == pytest.approx(_slow_aupro(maps, masks, 0.05), abs=1e-12)
    assert found.pixel_f1_max == pytest.approx(max(_f1(labels, pixels >= v) for v in pixels), abs=1e-12)
    assert pixel_auroc(maps, masks) == found.pixel_auroc
    for limit in (0.01, 1 / 3, 0.5, 1.0):
        assert aupro(maps, masks, limit) == pytest.approx(_slow_aupro(maps, masks, limit), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_image_measures_equal_brute_force(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=30).astype(np.float32), rng.random(30) < 0.4
    scores = (scores * 2).round() if ties else scores
    assert image_auroc(labels, scores) == pytest.approx(_slow_auroc(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(_slow_ap(labels, scores), abs=1e-12)
    best = f1_max(labels, scores)
    assert best is not None
    assert best[0] == pytest.approx(max(_f1(labels, scores >= value) for value in scores), abs=1e-12)
    assert best[0] == pytest.approx(_f1(labels, scores.astype(float) > best[1]), abs=1e-12)


def _slow_rejects(labels: NDArray[np.bool_], scores: NDArray[np.float32], share: float) -> tuple[int, int]:
    """Detected and falsely rejected parts: the fewest rejects among all thresholds that detect enough."""
    thresholds = [*scores.tolist(), -math.inf]
    said = [scores > threshold for threshold in thresholds]
    enough = [s for s in said if round(100 * (s & labels).sum() / labels.sum(), 6) >= 100 * share]
    best = min(enough, key=lambda s: (int((s & ~labels).sum()), int((s & labels).sum())))
    return int((best & labels).sum()), int((best & ~labels).sum())


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("defective", [3, 20, 60, 100, 101])
def test_false_rejects_equal_brute_force(defective: int, ties: bool) -> None:
    rng = np.random.default_rng(defective)
    labels = np.arange(defective + 40) < defective
    scores = (rng.normal(size=len(labels)) + 1.5 * labels).astype(np.float32)
    scores = (scores * 3).round() if ties else scores
    maps, masks = [np.zeros((2, 2), np.float32)] * len(labels), [None] * len(labels)
    found = pooled_metrics(maps, masks, scores.tolist(), labels.tolist())
    for share, rate in (
        (1.0, found.false_reject_100),
        (0.99, found.false_reject_99),
        (0.95, found.false_reject_95),
    ):
        detected, rejected = _slow_rejects(labels, scores, share)
        point = point_detecting(labels, scores, share)
        assert point is not None and point == operating_point(labels, scores, point.threshold)
        assert (point.detected, point.false_alarms) == (detected, rejected)
        assert rate == point.false_reject == pytest.approx(rejected / 40)
        assert point.detection == detected / defective >= share


def test_an_operating_point_counts_every_part_once() -> None:
    point = operating_point([True, True, True, False, False], [3.0, 2.0, 1.0, 2.0, 2.5], 2.0)
    assert (point.detected, point.missed, point.false_alarms, point.passed) == (1, 2, 1, 1)
    assert (point.detection, point.false_reject) == (pytest.approx(1 / 3), 0.5)
    only_good = operating_point([False], [1.0], 2.0)
    assert only_good.detection is None and only_good.record()["false_reject"] == 0
    assert point_detecting([False], [1.0], 1.0) is None


@pytest.mark.parametrize("ties", [False, True])
def test_a_kind_is_measured_against_all_good_parts(ties: bool) -> None:
    pool, everything = Pool(), []
    for seed in range(3):
        maps, masks = _case(seed, ties)
        everything += list(zip(["dent", "scratch", None], maps, masks, [seed, 0.4, 0.3 * seed], strict=True))
    for kind, anomaly_map, mask, score in everything:
        pool.add(kind, score, anomaly_map, mask)
    assert pool.kinds == ["dent", "scratch"]
    overall = pool.metrics()
    for kind in ("dent", "scratch"):
        own = [row for row in everything if row[0] in (None, kind)]
        maps, masks = [row[1] for row in own], [row[2] for row in own]
        scores, labels = np.array([row[3] for row in own]), np.array([row[0] == kind for row in own])
        pixels, marked = np.concatenate([m.ravel() for m in maps]), np.concatenate([k.ravel() for k in masks])
        found = pool.metrics(kind)
        assert (found.pictures, found.defective) == (6, 3)
        assert found.image_auroc == pytest.approx(_slow_auroc(labels, scores))
        assert found.pixel_ap == pytest.approx(_slow_ap(marked, pixels), abs=1e-12)
        assert found.aupro == pytest.approx(_slow_aupro(maps, masks, 0.3), abs=1e-12)
        assert found.false_reject_100 == _slow_rejects(labels, scores, 1.0)[1] / 3
    assert pool.metrics() == overall


def test_a_kind_without_masks_has_no_pixel_measures() -> None:
    maps, masks = _case(0, False)
    pool = Pool()
    pool.add("dent", 0.9, maps[0], masks[0])
    pool.add("stain", 0.8, maps[1], None)
    pool.add(None, 0.1, maps[2], masks[2])
    stain, dent = pool.metrics("stain"), pool.metrics("dent")
    assert (stain.without_mask, stain.pixel_ap, stain.aupro, stain.image_auroc) == (1, None, None, 1)
    assert dent.without_mask == 0 and dent.pixel_ap is not None


def test_a_part_added_later_counts() -> None:
    maps, masks = _case(1, False)
    pool = Pool()
    for index in (0, 2):
        pool.add("defect" if index == 0 else None, 1.0 - index, maps[index], masks[index])
    pool.metrics()
    pool.add("defect", 0.5, maps[1], masks[1])
    scores = [1.0, 0.5, -1.0]
    assert pool.metrics() == pooled_metrics(maps, masks, scores, [True, True, False])


def test_f1_threshold_works_between_neighbouring_numbers() -> None:
    scores = np.array([1.0, math.nextafter(1.0, 2), 1.0, 0.0])
    assert f1_max([False, True, False, False], scores) == (1.0, 1.0)
    best = f1_max([True, True, False], [0.5, 0.5, 0.5])
    assert best is not None and best[0] == pytest.approx(0.8) and 0.4 < best[1] < 0.5


@pytest.mark.parametrize("ties", [False, True])
def test_strictly_increasing_transforms_change_nothing(ties: bool) -> None:
    maps, masks = _case(3, ties)
    labels, scores = [True, True, False], np.array([0.3, 0.2, 0.25])
    plain = pooled_metrics(maps, masks, scores, labels)
    changed = pooled_metrics([np.exp(3 * m) - 5 for m in maps], masks, np.exp(scores), labels)
    assert changed.record() == pytest.approx(plain.record(), abs=1e-12)


def test_perfect_maps_reach_one_and_inverted_maps_zero() -> None:
    _, masks = _case(0, False)
    maps = [mask.astype(np.float32) for mask in masks]
    best = pooled_metrics(maps, masks, [1, 1, 0], [True, True, False])
    assert (best.pixel_auroc, best.pixel_ap, best.aupro, best.aupro_05) == (1, 1, 1, 1)
    assert (best.image_auroc, best.f1_max) == (1, 1)
    worst = pooled_metrics([-m for m in maps], masks, [0, 0, 1], [True, True, False])
    assert (worst.pixel_auroc, worst.aupro, worst.image_auroc) == (0, 0, 0)


def test_random_maps_reach_half_the_limit() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((128, 128), dtype=np.float32) for _ in range(8)]
    masks = [np.zeros((128, 128), np.bool_) for _ in range(8)]
    for mask in masks[:5]:
        mask[20:60, 30:90] = True
    assert aupro(maps, masks) == pytest.approx(0.15, abs=0.01)
    assert pixel_auroc(maps, masks) == pytest.approx(0.5, abs=0.01)


def test_constant_maps_are_a_coin_toss() -> None:
    _, masks = _case(0, False)
    maps = [np.ones((6, 7), np.float32) for _ in masks]
    found = pooled_metrics(maps, masks, [1, 1, 1], [True, True, False])
    assert found.pixel_auroc == pytest.approx(0.5)
    assert found.aupro == pytest.approx(0.15)
    assert found.image_auroc == pytest.approx(0.5)


def test_diagonal_neighbours_are_one_component() -> None:
    mask = EMPTY.copy()
    mask[0, 0] = mask[1, 1] = mask[5, 6] = True
    found = np.zeros((6, 7), np.float32)
    found[0, 0] = found[1, 1] = 1
    # One of two components, in full; with 4-connectivity it would be two of three.
    assert aupro([found], [mask], 1e-9) == pytest.approx(0.5, abs=1e-6)


def test_large_and_small_components_count_alike() -> None:
    mask = EMPTY.copy()
    mask[:, :3] = mask[0, 6] = True
    found = np.zeros((6, 7), np.float32)
    found[0, 6] = 1
    assert aupro([found], [mask], 1e-9) == pytest.approx(0.5, abs=1e-6)


def test_good_pictures_count_as_false_positives() -> None:
    maps, masks = _case(1, False)
    loud = maps[2] + 1
    with_good, without = aupro([*maps[:2], loud], masks), aupro(maps[:2], masks[:2])
    assert with_good is not None and without is not None and with_good < without


def test_limit_is_met_exactly_between_two_points() -> None:
    # Ten normal pixels; half of them tie with half of the defect: a straight rise from (0, 0) to (0.5, 0.5).
    maps = [np.array([[1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0]], np.float32)]
    masks = [np.array([[0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [1, 1]], np.bool_)]
    assert aupro(maps, masks, 0.3) == pytest.approx(0.15)
    assert aupro(maps, masks, 0.5) == pytest.approx(0.25)


def test_sizes_may_differ() -> None:
    maps = [np.ones((4, 4), np.float32), np.zeros((2, 9), np.float32)]
    masks = [np.ones((4, 4), np.bool_), np.zeros((2, 9), np.bool_)]
    assert pooled_metrics(maps, masks, [1, 0], [True, False]).aupro == 1


def test_what_cannot_be_computed_is_none() -> None:
    maps, _ = _case(0, False)
    good = pooled_metrics(maps, [EMPTY] * 3, [0.1, 0.2, 0.3], [False] * 3).record()
    assert good == {
        **dict.fromkeys(("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "aupro_05", "f1_max")),
        **dict.fromkeys(("pixel_f1_max", "false_reject_100", "false_reject_99", "false_reject_95")),
        "pictures": 3,
        "defective": 0,
        "without_mask": 0,
    }
    bare = pooled_metrics(maps, [None, None, EMPTY], [0.3, 0.2, 0.1], [True, True, False])
    assert (bare.image_auroc, bare.f1_max) == (1, 1)
    assert (bare.pixel_auroc, bare.pixel_ap, bare.aupro, bare.without_mask) == (None, None, None, 2)
    only = pooled_metrics(maps[:1], [None], [0.3], [True])
    assert (only.image_auroc, only.f1_max, only.aupro) == (None, None, None)
    assert f1_max([True], [0.3]) is None and average_precision([False], [0.3]) is None
    assert aupro([np.ones((6, 7), np.float32)], [~EMPTY]) is None


def test_pictures_without_a_mask_are_left_out_of_the_pixels() -> None:
    maps, masks = _case(2, False)
    labels, scores = [True, True, False], [0.3, 0.2, 0.1]
    found = pooled_metrics(maps, [masks[0], None, masks[2]], scores, labels)
    expected = pooled_metrics([maps[0], maps[2]], [masks[0], masks[2]], [0.3, 0.1], [True, False])
    assert found.aupro == expected.aupro and found.pixel_ap == expected.pixel_ap
    assert (found.pictures, found.defective, found.without_mask) == (3, 2, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    maps, masks = _case(0, False)
    maps[1][0, 0] = value
    with pytest.raises(DataError, match="map 1"):
        pixel_auroc(maps, masks)
    with pytest.raises(DataError, match="1 of 2 scores"):
        image_auroc([True, False], [value, 0.0])


def test_what_does_not_belong_together_is_refused() -> None:
    maps, masks = _case(0, False)
    with pytest.raises(DataError, match="same size"):
        aupro([maps[0][:3]], [masks[0]])
    with pytest.raises(DataError, match="labels"):
        image_auroc([True, False, True], [0.1, 0.2])
    with pytest.raises(ConfigError, match="limit"):
        aupro(maps, masks, 0)


def test_maps_are_not_changed() -> None:
    maps, masks = _case(0, False)
    before = [m.copy() for m in maps]
    scores = np.array([0.3, 0.1, 0.2])
    pooled_metrics(maps, masks, scores, [True, True, False])
    pooled_metrics(maps[2:], masks[2:], scores[:1], [False])
    for now, then in zip(maps, before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert scores.tolist() == [0.3, 0.1, 0.2]


def test_the_error_of_an_auroc_change_is_what_resampling_shows() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) < 70
    scores = rng.normal(0, 1, 120) + labels
    others = scores + rng.normal(0, 0.3, 120)
    found = auroc_change_error(labels, scores, others)
    changes = []
    for _ in range(1000):
        rows = np.concatenate([rng.integers(0, 70, 70), rng.integers(70, 120, 50)])
        before, after = (image_auroc(labels[rows], values[rows]) for values in (scores, others))
        assert before is not None and after is not None
        changes.append(after - before)
    assert found == pytest.approx(np.std(changes), rel=0.1)


def test_an_auroc_that_does_not_change_has_no_error() -> None:
    labels, scores = [True, True, False, False], [3.0, 1.0, 2.0, 1.0]
    assert auroc_change_error(labels, scores, np.multiply(scores, 2)) == 0
    assert auroc_change_error(labels[1:], scores[1:], scores[1:]) == 0  # too few to say
