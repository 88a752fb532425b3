"""`dtgd-edge calibrate`: from good parts to a bundle with a promise."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime import Inspector
from dtgd_edge.runtime.calibrate import Calibrator
from tests.cli.conftest import Cli

PARTS = 60


def _part(folder: Path, name: str, grey: int, row: int) -> None:
    """A picture that the tiny graph scores (grey - 128) / 32; `row` makes it different from others."""
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[::2] = 124
    picture[row] = grey
    write_picture(folder / f"{name}.png", picture)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """60 different good parts; scores 1/32 to 60/32, part 59 the highest."""
    folder = tmp_path / "good"
    for index in range(PARTS):
        _part(folder, f"part{index:02}", 129 + index, index)
    return folder


def test_the_largest_score_becomes_the_threshold_and_the_promise_is_shown(
    cli: Cli, tiny_bundle_path: Path, good: Path
) -> None:
    ended = cli("calibrate", tiny_bundle_path, good, "--max-false-reject", "5%", "--parts-per-shift", "2000")
    assert ended.code == 0, ended.err
    path = tiny_bundle_path.with_name("tiny-calibrated.dtgd")
    before, after = Bundle.open(tiny_bundle_path), Bundle.open(path)
    threshold, promise = after.manifest.threshold, after.manifest.threshold.promise
    assert threshold.value == 60 / 32 and threshold.normals == PARTS
    assert promise is not None
    assert (promise.max_false_reject, promise.confidence, promise.parts, promise.rank) == (0.05, 0.95, 60, 1)
    assert (promise.session, promise.data) == ("ort", str(good))
    assert after.graph == before.graph
    np.testing.assert_array_equal(after.golden.frames, before.golden.frames)
    np.testing.assert_array_equal(after.golden.score, before.golden.score)
    assert [(p.flips, p.threshold) for p in before.manifest.parity] == [(0, None)]
    assert [(p.flips, p.threshold) for p in after.manifest.parity] == [(0, 2.0)]

    # 1 of 61 on average, and 33 more parts for the second largest score (93).
    assert "2000 good parts a shift, 32.8 rejected" in ended.out
    assert "33 more good parts would allow a lower threshold" in ended.out
    worst = [line for line in ended.out.splitlines() if "part" in line and line.endswith("OK")]
    assert len(worst) == 10 and "part59.png" in worst[0] and "part50.png" in worst[-1]

    words = "at most 5% of good parts are rejected, with 95% confidence; from 60 good parts"
    info = cli("info", path).out
    assert words in info and "counted at its export's threshold 2.0000" in info
    assert words in cli("verify", path).out
    assert words in cli("run", "--bundle", path, "--source", good / "part00.png").err
    assert "none about false rejects" in cli("info", tiny_bundle_path).out


def test_json(cli: Cli, tiny_bundle_path: Path, good: Path) -> None:
    ended = cli("calibrate", tiny_bundle_path, good, "--max-false-reject", "0.05", "--json")
    document = json.loads(ended.out)
    assert document["threshold"]["promise"]["max_false_reject"] == 0.05
    assert document["threshold_before"] == 2.0
    assert 0.0486 < document["false_reject_bound"] < 0.05
    assert document["false_reject_expected"] == pytest.approx(1 / 61)
    assert document["false_reject_estimate_of_tail_fit"] is None  # six parts are no tail
    assert [Path(part["picture"]).name for part in document["worst"][:2]] == ["part59.png", "part58.png"]
    assert (document["golden_ng_before"], document["golden_ng"]) == (1, 1)
    verified = json.loads(cli("verify", document["bundle"], "--json").out)
    assert verified["threshold"] == document["threshold"]


def test_copies_do_not_count(cli: Cli, tiny_bundle_path: Path, good: Path) -> None:
    for path in sorted(good.iterdir())[58:]:
        path.unlink()
    shutil.copy(good / "part00.png", good / "again.png")
    _part(good, "saved_anew", 130, 1)
    (good / "saved_anew.png").rename(good / "zz.png")
    ended = cli("calibrate", tiny_bundle_path, good, "--max-false-reject", "5%")
    assert ended.code == 2
    assert "58 good parts cannot promise" in ended.err and "expected 59, which is 1 more" in ended.err
    assert "2 pictures are copies and do not count" in ended.err
    assert not tiny_bundle_path.with_name("tiny-calibrated.dtgd").exists()


def test_what_the_line_would_not_judge_is_left_out(cli: Cli, tiny_bundle_path: Path, good: Path) -> None:
    write_picture(good / "lens_cap.png", np.zeros((64, 64, 3), np.uint8))
    (good / "torn.png").write_bytes(b"")
    ended = cli("calibrate", tiny_bundle_path, good, "--max-false-reject", "5%", "--json")
    document = json.loads(ended.out)
    assert document["good_parts"] == PARTS and document["threshold"]["value"] == 60 / 32
    assert [Path(entry["picture"]).name for entry in document["left_out"]] == ["lens_cap.png", "torn.png"]
    assert "lens_cap.png is left out: black" in ended.err


def test_a_folder_without_any_judged_part(cli: Cli, tiny_bundle_path: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "dark" / "a.png", np.zeros((64, 64, 3), np.uint8))
    ended = cli("calibrate", tiny_bundle_path, tmp_path / "dark", "--max-false-reject", "5%")
    assert ended.code == 2 and "no picture in" in ended.err


def test_in_place_and_out(cli: Cli, tiny_bundle_path: Path, good: Path, tmp_path: Path) -> None:
    rule = ("--max-false-reject", "5%")
    assert cli("calibrate", tiny_bundle_path, good, *rule, "--out", tmp_path / "new.dtgd").code == 0
    assert Bundle.open(tiny_bundle_path).manifest.threshold.value == 2.0
    assert cli("calibrate", tiny_bundle_path, good, *rule, "--in-place").code == 0
    with Inspector.open(tiny_bundle_path) as inspector:
        assert inspector.threshold == Bundle.open(tmp_path / "new.dtgd").manifest.threshold.value == 60 / 32
    both = cli("calibrate", tiny_bundle_path, good, *rule, "--in-place", "--out", tmp_path / "x.dtgd")
    assert both.code == 2 and "--out and --in-place" in both.err
    assert cli("calibrate", tiny_bundle_path, good, *rule, "--out", tmp_path / "x.onnx").code == 2


def test_a_second_calibration_still_names_the_threshold_of_the_export(
    cli: Cli, tiny_bundle_path: Path, good: Path
) -> None:
    cli("calibrate", tiny_bundle_path, "--fixed", "1.5", "--in-place")
    cli("calibrate", tiny_bundle_path, good, "--max-false-reject", "5%", "--in-place")
    manifest = Bundle.open(tiny_bundle_path).manifest
    assert manifest.threshold.value == 60 / 32
    assert [record.threshold for record in manifest.parity] == [2.0]


def test_fixed_promises_nothing_and_is_measured(cli: Cli, tiny_bundle_path: Path, good: Path) -> None:
    bare = json.loads(cli("calibrate", tiny_bundle_path, "--fixed", "1.5", "--json").out)
    assert bare["threshold"]["value"] == 1.5 and bare["threshold"]["promise"] is None
    assert "good_parts" not in bare
    measured = json.loads(cli("calibrate", tiny_bundle_path, good, "--fixed", "1.5", "--json").out)
    assert measured["above_threshold"] == 12  # 49/32 to 60/32
    assert measured["false_reject_expected"] == 0.2 < measured["false_reject_bound"] < 0.31
    assert "measurement" in cli("calibrate", tiny_bundle_path, good, "--fixed", "1.5").out
    assert cli("calibrate", tiny_bundle_path, "--fixed", "nan").code == 2


def test_best_f1_parts_good_from_defective(
    cli: Cli, tiny_bundle_path: Path, good: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for index in range(10):
        _part(data / "train" / "good", f"g{index}", 130 + index, index)
        _part(data / "test" / "good", f"g{index}", 140 + index, index)
        _part(data / "test" / "scratch", f"s{index}", 200 + index, index)
    ended = cli("calibrate", tiny_bundle_path, "--best-f1", data, "--json")
    assert ended.code == 0, ended.err
    threshold = json.loads(ended.out)["threshold"]
    assert 21 / 32 <= threshold["value"] < 72 / 32 and threshold["promise"] is None
    assert threshold["rule"].startswith("best F1, 1.0000, on 20 test pictures, 10 of them defective")
    shutil.rmtree(data / "test" / "scratch")
    ended = cli("calibrate", tiny_bundle_path, "--best-f1", data)
    assert ended.code == 2 and "0 of them defective" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "exactly one of"),
        (("--fixed", "1", "--max-false-reject", "1%"), "exactly one of"),
        (("--max-false-reject", "0.5"), "write 0.5% or 50%"),
        (("--max-false-reject", "few"), "'few' is no share"),
        (("--max-false-reject", "0%"), "cannot be promised"),
        (("--max-false-reject", "1%", "--confidence", "100%"), "cannot be promised"),
        (("--fixed", "1", "--backend", "null"), "computes no scores"),
    ],
)
def test_what_is_refused(
    cli: Cli, tiny_bundle_path: Path, good: Path, arguments: tuple[str, ...], says: str
) -> None:
    ended = cli("calibrate", tiny_bundle_path, good, *arguments)
    assert ended.code == 2 and says in ended.err


def test_a_promise_needs_good_parts(cli: Cli, tiny_bundle_path: Path) -> None:
    ended = cli("calibrate", tiny_bundle_path, "--max-false-reject", "1%")
    assert ended.code == 2 and "needs good parts" in ended.err


def test_parts_of_the_training_folder_are_noticed(
    cli: Cli, tiny_bundle: Bundle, good: Path, tmp_path: Path
) -> None:
    origin = replace(tiny_bundle.manifest.provenance, data=str(tmp_path))
    path = tmp_path / "of_these.dtgd"
    replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, provenance=origin)).save(path)
    assert "which the bundle was trained on" in cli("calibrate", path, good, "--max-false-reject", "5%").err


def test_two_lines_of_python_do_the_same(tiny_bundle_path: Path, good: Path, tmp_path: Path) -> None:
    with Calibrator.open(tiny_bundle_path) as calibrator:
        threshold = calibrator.promised(calibrator.score_folder(good), good, 0.05, 0.95)
        saved = calibrator.save(threshold, tmp_path / "out.dtgd")
    assert saved.manifest.threshold == Bundle.open(tmp_path / "out.dtgd").manifest.threshold == threshold
