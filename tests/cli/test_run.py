"""`dtgd-edge run`: what a line engineer types."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime import cuda_driver
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.sessions import trt as trt_session
from dtgd_edge.runtime.source import FrameSource
from dtgd_edge.runtime.source_config import SourceConfig
from dtgd_edge.runtime.sources import opening
from dtgd_edge.runtime.trt import build as trt_build
from tests.cli.conftest import Cli
from tests.runtime.fakes import FakeCuda, FakeTensorRT, fake_library


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three pictures for the tiny bundle, which scores the brightest pixel: good, defective, unreadable."""
    folder = tmp_path / "parts"
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[::2] = 120
    write_picture(folder / "a.png", picture)
    picture[20:30, 20:30] = 255
    write_picture(folder / "b.png", picture)
    (folder / "c.png").write_bytes(b"")
    return folder


def test_a_folder_is_judged_logged_and_drawn(
    cli: Cli, tiny_bundle_path: Path, parts: Path, tmp_path: Path
) -> None:
    log, overlays = tmp_path / "log.jsonl", tmp_path / "overlays"
    ended = cli(
        "run", "--source", parts, "--bundle", tiny_bundle_path, "--log", log, "--overlays", overlays, "--json"
    )
    assert ended.code == 0
    summary = json.loads(ended.out)
    assert (summary["ok"], summary["ng"], summary["no_decision"]) == (1, 1, 1)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(v["name"], v["decision"]) for v in lines] == [
        ("a.png", "OK"),
        ("b.png", "NG"),
        ("c.png", "NO_DECISION"),
    ]
    assert len(list(overlays.glob("*_NG_b.jpg"))) == 1


def test_fail_on_ng(cli: Cli, tiny_bundle_path: Path, parts: Path) -> None:
    common = ("run", "--bundle", tiny_bundle_path, "--fail-on-ng", "--source")
    assert cli(*common, parts).code == 1
    assert cli(*common, parts / "a.png").code == 0


def test_the_newest_bundle_is_taken_and_said(
    cli: Cli, tiny_bundle_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle_path.parent)
    ended = cli("run", "--source", parts)
    assert ended.code == 0
    assert tiny_bundle_path.name in ended.err and "the newest" in ended.err
    assert "3 frames" in ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_everything_written(
    tiny_bundle_path: Path, tmp_path: Path, number: int
) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "dtgd_edge.cli.app", "run", "--source", "sample:?size=64"]
    command += ["--bundle", str(tiny_bundle_path), "--log", str(log), "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    deadline = time.monotonic() + 30
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    summary = json.loads(out)
    assert summary["stopped_by"] == "stop"
    assert summary["frames"] == len(log.read_text().splitlines()) > 0


# ------------------------------------------------------------------------------- --build


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """A GPU and a TensorRT that answer, with an empty cache of engines."""
    library = fake_library(FakeCuda())
    fake: FakeTensorRT = library.module

    def open_cuda() -> FakeCuda:
        fake.cuda = FakeCuda()
        return fake.cuda

    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trt_session, "open_cuda", open_cuda)
    monkeypatch.setattr(trt_session, "libraries_for_run", lambda wanted: [library])
    monkeypatch.setattr(trt_build, "library_for_build", lambda wanted, has_gpu: library)
    return fake


def test_a_missing_engine_is_built_on_request_before_the_source_is_opened(
    cli: Cli, tiny_bundle_path: Path, parts: Path, tensorrt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("run", "--source", parts, "--bundle", tiny_bundle_path, "--backend", "tensorrt", "--json")
    refused = cli(*command)
    assert refused.code == 2 and refused.out == "" and tensorrt.built == 0
    assert "dtgd-edge build BUNDLE" in refused.err and "dtgd-edge run --build" in refused.err

    built_when_opened: list[int] = []
    open_source = opening.open_source

    def watched(asked: SourceConfig, events: Events) -> FrameSource:
        built_when_opened.append(tensorrt.built)
        return open_source(asked, events=events)

    monkeypatch.setattr(opening, "open_source", watched)
    first = cli(*command, "--build")
    assert first.code == 0 and built_when_opened == [1]
    assert "building the fp32 engine for compute capability 8.9 (RTX 4090) with TensorRT 10.3.0" in first.err
    summary = json.loads(first.out)
    assert (summary["ok"], summary["ng"], summary["no_decision"]) == (1, 1, 1)

    again = cli(*command, "--build")
    assert again.code == 0 and "building" not in again.err and tensorrt.built == 1
    assert cli(*command).code == 0, "the engine is kept"


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(library: str) -> object:
        raise OSError(library)

    monkeypatch.setattr(cuda_driver, "load_driver", load)


@pytest.mark.usefixtures("no_driver")
def test_build_on_a_machine_without_a_driver(cli: Cli, tiny_bundle_path: Path, parts: Path) -> None:
    command = ("run", "--source", parts, "--bundle", tiny_bundle_path, "--build")
    ended = cli(*command)
    assert ended.code == 0 and "no engine to build for ONNX Runtime CPU" in ended.err
    refused = cli(*command, "--backend", "tensorrt")
    assert refused.code == 2 and refused.out == ""
    assert "no NVIDIA GPU answers on this machine (" in refused.err and "--backend ort" in refused.err
    assert refused.err.count("dtgd-edge: ") == 1 and "Traceback" not in refused.err


def test_build_for_a_backend_without_engines(cli: Cli, tiny_bundle_path: Path, parts: Path) -> None:
    ended = cli("run", "--source", parts, "--bundle", tiny_bundle_path, "--build", "--backend", "ort")
    assert ended.code == 2 and "backend 'ort' has no engine to build; expected auto or tensorrt" in ended.err
