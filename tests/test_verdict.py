import json
import math

import numpy as np
import pytest

from dtgd_edge.errors import ShapeError
from dtgd_edge.verdict import Decision, Region, Scores, Verdict, decide


@pytest.mark.parametrize(
    ("score", "threshold", "decision"),
    [
        (0.4, 0.5, Decision.OK),
        (0.5, 0.5, Decision.OK),
        (math.nextafter(0.5, 1), 0.5, Decision.NG),
        (math.nan, 0.5, Decision.NO_DECISION),
        (math.inf, 0.5, Decision.NO_DECISION),
        (-math.inf, 0.5, Decision.NO_DECISION),
        (0.1, math.nan, Decision.NO_DECISION),
        (0.1, math.inf, Decision.NO_DECISION),
        (float(np.float32("nan")), 0.5, Decision.NO_DECISION),
    ],
)
def test_what_cannot_be_judged_is_never_ok(score: float, threshold: float, decision: Decision) -> None:
    assert decide(score, threshold) is decision


@pytest.mark.parametrize(("score", "maps"), [((2,), (3, 4, 4)), ((2, 1), (2, 4, 4)), ((2,), (2, 4))])
def test_scores_refuse_other_shapes(score: tuple[int, ...], maps: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        Scores(np.zeros(score, np.float32), np.zeros(maps, np.float32))


def test_record_is_json_without_the_map() -> None:
    verdict = Verdict(
        Decision.NG,
        7,
        0.5,
        score=0.75,
        map=np.zeros((4, 4), np.float32),
        regions=(Region(1, 2, 3, 4, 9, 0.9123456),),
        stages_ms={"compute": 1.23456},
        frame_name="part-7.png",
    )
    record = json.loads(json.dumps(verdict.record(), allow_nan=False))
    assert record["decision"] == "NG" and record["frame"] == 7 and record["name"] == "part-7.png"
    box = {"x": 1, "y": 2, "width": 3, "height": 4}
    assert record["regions"] == [{**box, "area_px": 9, "peak": 0.9123, "zone": ""}]
    assert record["stages_ms"] == {"compute": 1.235}
    assert "map" not in record


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_record_never_holds_what_json_cannot_say(value: float) -> None:
    regions = (Region(0, 0, 1, 1, 1, value),)
    record = Verdict(Decision.NO_DECISION, 0, value, score=value, regions=regions).record()
    json.dumps(record, allow_nan=False)
    assert record["score"] is None and record["threshold"] is None


def test_a_verdict_without_its_map_says_the_same() -> None:
    verdict = Verdict(Decision.OK, 3, 1.0, 0.5, np.zeros((4, 4), np.float32), frame_name="a", part=7)
    bare = verdict.without_map()
    assert bare.map is None and bare.record() == verdict.record()
