"""`dtgd-edge eval`: verdicts, the report, and what stops it before the work is done."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.pictures import write_picture
from tests.cli.conftest import Cli
from tests.cli.test_errors import refused

# The tiny bundle scores a grey of 128 with 0, white with almost 4 and has the threshold 2.
GREYS = {"good": [128, 140, 250], "pale": [255, 150]}

_WITHOUT_TRAINING = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnxscript", "safetensors"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
from dtgd_edge.cli.app import main
main()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    for index in range(8):
        write_picture(folder / "train/good" / f"{index}.png", np.full((64, 64, 3), 120 + index, np.uint8))
    for kind, greys in GREYS.items():
        for index, grey in enumerate(greys):
            picture = np.full((64, 64, 3), 128, np.uint8)
            picture[20:40, 20:40] = grey
            write_picture(folder / "test" / kind / f"{index}.png", picture)
            if kind != "good":
                mask = np.where(np.arange(64) // 20 == 1, 255, 0).astype(np.uint8)
                write_picture(
                    folder / "ground_truth" / kind / f"{index}_mask.png", np.minimum.outer(mask, mask)
                )
    return folder


def test_the_verdicts_are_counted(cli: Cli, tiny_bundle_path: Path, data: Path) -> None:
    record = json.loads(cli("eval", tiny_bundle_path, data, "--json").out)
    at = record["at_threshold"]
    assert (at["threshold"], at["detected"], at["missed"]) == (2.0, 1, 1)
    assert (at["false_alarms"], at["passed"], at["false_reject"]) == (1, 2, pytest.approx(1 / 3))
    assert record["kinds"][0]["kind"] == "pale" and record["kinds"][0]["detected"] == 1
    assert record["false_reject_100"] == record["at_detection"][0]["false_reject"] == pytest.approx(1 / 3)
    assert record["about"]["sha256"] and record["about"]["precision"] == "fp32"
    assert record["about"]["data"] == str(data)
    said = cli("eval", tiny_bundle_path, data).out
    assert "1 of 2" in said and "1 of 3" in said and "pale" in said


def test_the_report_and_its_json(cli: Cli, tiny_bundle_path: Path, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "report.html"
    ended = cli("eval", tiny_bundle_path, data, "--report", page, "--json")
    assert ended.code == 0, ended.err
    printed, beside = json.loads(ended.out), json.loads(page.with_suffix(".json").read_text())
    assert printed == beside
    assert page.read_text("utf-8").count('<figure class="card') == 2 + 3 + 5
    assert str(page) in cli("eval", tiny_bundle_path, data, "--report", page).out


def test_a_bundle_is_evaluated_without_the_training_libraries(
    tiny_bundle_path: Path, data: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    arguments = ["eval", str(tiny_bundle_path), str(data), "--backend", "ort", "--report", str(page)]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TRAINING, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert page.is_file()


def test_a_checkpoint_has_the_threshold_of_its_export(
    cli: Cli, tiny_checkpoint: Path, tiny_bundles: dict[str, object], pretend_data: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    ended = cli("eval", tiny_checkpoint, pretend_data, "--report", page, "--json")
    assert ended.code == 0, ended.err
    about = json.loads(ended.out)["about"]
    exported = tiny_bundles["fp32"].bundle.manifest.threshold  # type: ignore[attr-defined]
    assert about["kind"] == "checkpoint" and about["session"] == "PyTorch"
    assert about["threshold"]["value"] == pytest.approx(exported.value, rel=1e-3)
    assert "Checkpoint" in page.read_text("utf-8")


def test_what_stops_a_report(cli: Cli, tiny_bundle_path: Path, data: Path, tmp_path: Path) -> None:
    page, file = tmp_path / "report.html", tmp_path / "file"
    file.write_text("")
    refused(cli("eval", tiny_bundle_path, data, "--report", tmp_path / "report.pdf"), "report.pdf", ".html")
    refused(cli("eval", tiny_bundle_path, data, "--report", file / "report.html"), "Not a directory")
    refused(cli("eval", tiny_bundle_path, tmp_path / "nowhere", "--report", page), "nowhere", "not a folder")
    refused(cli("eval", tmp_path / "none.dtgd", data, "--report", page), "none.dtgd", "does not exist")
    refused(cli("eval", tiny_bundle_path, data / "train", "--report", page), "no test pictures")
    assert not page.exists() and not page.with_suffix(".json").exists()
