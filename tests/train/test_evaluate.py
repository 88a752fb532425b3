import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.errors import BackendError, DataError, ShapeError
from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.train.data import Part
from dtgd_edge.train.evaluate import evaluate
from dtgd_edge.verdict import Scores

Frames = NDArray[np.uint8]
GEOMETRY = Geometry((64, 96))


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    """Two good parts and three with a bright square; all dark otherwise, of two sizes."""
    made = []
    for index in range(5):
        size_hw = (80, 120) if index % 2 else (128, 192)
        picture, mask = np.full((*size_hw, 3), 20, np.uint8), np.zeros(size_hw, np.uint8)
        path, mask_path = tmp_path / f"{index}.png", tmp_path / f"{index}_mask.png"
        if index >= 2:
            mask[20:52, 40:72] = 255
            picture[mask > 0] = 200 + index
        write_picture(path, picture)
        write_picture(mask_path, mask)
        made.append(
            Part(path, index >= 2, "square" if index >= 2 else "good", (mask_path,) if index >= 2 else ())
        )
    return made


def _brightness(frames: Frames) -> Scores:
    maps = frames[..., 0].astype(np.float32) / np.float32(255)
    return Scores(maps.max(axis=(1, 2)), maps)


def test_perfect_graph(parts: list[Part]) -> None:
    found = evaluate(_brightness, parts, GEOMETRY)
    assert found.native.image_auroc == 1 and found.native.f1_max == 1
    assert found.graph.pixel_auroc == pytest.approx(1, abs=1e-3)
    assert found.native.pixel_auroc == pytest.approx(1, abs=1e-3)
    assert found.native.aupro is not None and found.native.aupro > 0.98
    assert (found.native.pictures, found.native.defective, found.native.without_mask) == (5, 3, 0)
    path, kind, is_defective, score = found.per_part[4]
    assert (path, kind, is_defective) == (parts[4].path, "square", True)
    assert score == pytest.approx(204 / 255)


def test_a_defect_too_thin_for_the_graph_still_counts_natively(parts: list[Part]) -> None:
    mask = np.zeros((128, 192), np.uint8)
    mask[61, 91] = 255
    (thin,) = parts[4].mask_paths
    write_picture(thin, mask)
    found = evaluate(_brightness, [*parts[:2], parts[4]], GEOMETRY)
    assert found.native.aupro is not None and found.native.pixel_ap is not None
    assert found.graph.aupro is None and found.graph.pixel_ap is None


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_batches_are_always_full_and_change_nothing(parts: list[Part], batch: int) -> None:
    shapes, steps = [], []

    def score(frames: Frames) -> Scores:
        assert frames.dtype == np.uint8 and frames.flags.c_contiguous
        shapes.append(frames.shape)
        return _brightness(frames)

    found = evaluate(score, parts, GEOMETRY, batch, lambda done, total: steps.append((done, total)))
    assert set(shapes) == {(batch, 64, 96, 3)}
    assert steps[-1] == (5, 5) and len(steps) == len(shapes)
    assert found == evaluate(_brightness, parts, GEOMETRY)


def test_verdicts_at_the_threshold_and_for_each_kind(parts: list[Part]) -> None:
    other = [*parts[:4], replace(parts[4], kind="burr")]
    found = evaluate(_brightness, other, GEOMETRY, threshold=203.5 / 255)
    assert [(k.kind, k.native.defective, k.detected) for k in found.kinds] == [
        ("burr", 1, 1),
        ("square", 2, 0),
    ]
    assert found.at_threshold is not None and found.at_threshold.missed == 2
    decisions = [part["decision"] for part in found.record()["parts"]]
    assert decisions == ["OK", "OK", "OK", "OK", "NG"]
    alone = evaluate(_brightness, [*parts[:2], parts[4]], GEOMETRY)
    assert found.kinds[0].native == alone.native and found.kinds[0].graph == alone.graph
    assert alone.at_threshold is None and alone.kinds[0].detected is None
    assert alone.record()["parts"][0]["decision"] is None


def test_thresholds_that_detect_enough(parts: list[Part]) -> None:
    found = evaluate(_brightness, parts, GEOMETRY)
    assert [point.missed for point in found.at_detection] == [0, 0, 0]
    assert found.native.false_reject_100 == found.graph.false_reject_100 == 0
    assert evaluate(_brightness, parts[:2], GEOMETRY).at_detection == ()


def test_the_drawable_pro_curve_has_the_aupro(parts: list[Part]) -> None:
    def blind(frames: Frames) -> Scores:
        scores = _brightness(frames)
        return Scores(scores.score, np.random.default_rng(0).random(scores.map.shape, np.float32))

    found = evaluate(blind, parts, GEOMETRY)
    x, y = np.array(found.pro).T
    assert (x[0], x[-1]) == (0, 0.3) and (np.diff(y) >= 0).all()
    area = float(np.dot(np.diff(x), (y[1:] + y[:-1]) / 2)) / 0.3
    assert area == pytest.approx(found.native.aupro, abs=0.01)
    assert evaluate(blind, parts[:2], GEOMETRY).pro == ()


def test_every_part_can_be_watched(parts: list[Part]) -> None:
    seen = []
    bare = [*parts[:4], Part(parts[4].path, True, "square")]
    found = evaluate(_brightness, bare, GEOMETRY, batch=2, watch=lambda *part: seen.append(part))
    assert tuple(part for part, _, _ in seen) == found.per_part
    assert [m.shape for _, m, _ in seen] == [(128, 192), (80, 120)] * 2 + [(128, 192)]
    assert [None if k is None else bool(k.any()) for _, _, k in seen] == [False, False, True, True, None]


def test_record_is_json(parts: list[Part]) -> None:
    record = json.loads(json.dumps(evaluate(_brightness, parts, GEOMETRY).record(), allow_nan=False))
    for key in ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "aupro_05", "f1_max"):
        assert 0.9 < record[key] <= 1 and 0.9 < record["graph"][key] <= 1
    assert (record["pictures"], record["defective"]) == (5, 3)
    assert record["graph"]["size_hw"] == [64, 96]
    assert [part["is_defective"] for part in record["parts"]] == [False, False, True, True, True]


def test_unmarked_defects_are_left_out_of_the_pixels(parts: list[Part]) -> None:
    bare = [*parts[:4], Part(parts[4].path, True, "square")]
    found = evaluate(_brightness, bare, GEOMETRY)
    assert found.native.without_mask == 1 and found.graph.without_mask == 1
    assert found.native.aupro == evaluate(_brightness, parts[:4], GEOMETRY).native.aupro
    assert found.native.image_auroc == 1
    only_good = evaluate(_brightness, parts[:2], GEOMETRY).record()
    assert only_good["image_auroc"] is None and only_good["graph"]["aupro"] is None


def test_region_and_letterbox(parts: list[Part]) -> None:
    geometry = Geometry((64, 64), region_xywh=(30, 10, 60, 50), fit="letterbox")

    def score(frames: Frames) -> Scores:
        scores = _brightness(frames)
        return Scores(scores.score, scores.map * (scores.map > 0.6).astype(np.float32))

    found = evaluate(score, parts, geometry)
    assert found.native.image_auroc == 1
    assert found.native.aupro is not None and found.native.aupro > 0.97


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["score", "map"])
def test_nan_is_refused_and_the_picture_named(parts: list[Part], value: float, where: str) -> None:
    def broken(frames: Frames) -> Scores:
        scores = _brightness(frames)
        (scores.score if where == "score" else scores.map)[1] = value
        return scores

    with pytest.raises(BackendError, match=r"NaN or infinity for .*1\.png"):
        evaluate(broken, parts, GEOMETRY, batch=2)


def test_other_answers_are_refused(parts: list[Part]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        evaluate(lambda frames: _brightness(frames[:, ::2]), parts, GEOMETRY)
    with pytest.raises(ShapeError, match="expected"):
        evaluate(lambda frames: _brightness(frames[:1]), parts, GEOMETRY, batch=2)
    with pytest.raises(DataError, match="no test pictures"):
        evaluate(_brightness, [], GEOMETRY)
