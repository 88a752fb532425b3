"""The doctor, on file trees as the boards have them."""

import json
import platform
from pathlib import Path

import pytest

from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime import doctor
from dtgd_edge.runtime.choice import Choice
from dtgd_edge.runtime.doctor import CHECKS, Finding, backends, diagnose, examine, finding, gpu, jetson
from tests.runtime.fakes import ORIN

ORIN_NANO = "NVIDIA Jetson Orin Nano Developer Kit"
THOR = "NVIDIA Jetson AGX Thor Developer Kit"
POWER = """< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=0 >
"""


def board(
    root: Path, model: str, release: str, tensorrt: str = "", cuda: str = "", power: str | None = None
) -> Path:
    """Lay out the files of a Jetson."""
    files = {
        "proc/device-tree/model": model + "\0",
        "etc/nv_tegra_release": f"# {release}, GCID: 1, BOARD: generic, EABI: aarch64\n# KERNEL: oot\n",
    }
    if tensorrt:
        files[f"usr/lib/aarch64-linux-gnu/libnvinfer.so.{tensorrt}"] = ""
        files[f"usr/lib/aarch64-linux-gnu/libnvinfer.so.{tensorrt.partition('.')[0]}"] = ""
    if cuda:
        files["usr/local/cuda/version.json"] = json.dumps({"cuda": {"version": cuda}})
    if power is not None:
        files["etc/nvpmodel.conf"] = POWER
        files["var/lib/nvpmodel/status"] = f"pmode:{power}\n"
        files["sys/class/devfreq/17000000.gpu/min_freq"] = "306000000\n"
        files["sys/class/devfreq/17000000.gpu/max_freq"] = "1020000000\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def jetpack(root: Path) -> dict[str, Finding]:
    return {found.name: found for found in jetson.check_jetpack(root)}


def runs_python(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(platform, "python_version_tuple", lambda: (*version.split("."), "9"))


def test_orin_with_jetpack_6_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_python(monkeypatch, "3.10")
    root = board(tmp_path, ORIN_NANO, "R36 (release), REVISION: 4.3", "10.3.0", "12.6.11", power="0002")
    found = jetpack(root)
    assert found["JetPack"].detail.startswith("6.2 (L4T 36.4.3)")
    assert all(f.is_usable and not f.fix for f in found.values())
    assert found["TensorRT library"].detail == "10.3.0, as JetPack 6.2 brings it"
    mode, clock = jetson.check_power(root)
    assert mode == Finding("power mode", True, "MAXN_SUPER (nvpmodel 2)")
    assert clock.fix == "sudo jetson_clocks" and "306 to 1020 MHz" in clock.detail
    assert ORIN_NANO in jetson.check_system(root)[0].detail


def test_orin_with_jetpack_5_1_is_to_be_flashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_python(monkeypatch, "3.10")
    found = jetpack(board(tmp_path, ORIN_NANO, "R35 (release), REVISION: 4.1", "8.5.2", "11.4.19"))
    assert not found["JetPack"].is_usable
    assert found["JetPack"].detail.startswith("5.1.2 ") and "flash JetPack 6.2 or 7.2" in found["JetPack"].fix
    assert found["TensorRT library"].is_usable and not found["Python"].is_usable
    assert "run on the CPU" in found["Python"].fix


@pytest.mark.parametrize(
    ("model", "release", "pack"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "R39 (release), REVISION: 2.0", "7.2"),
        (THOR, "R39 (release), REVISION: 2.1", "7.2.1"),
    ],
)
def test_jetpack_7_2_on_orin_and_thor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, release: str, pack: str
) -> None:
    runs_python(monkeypatch, "3.12")
    found = jetpack(board(tmp_path, model, release, "10.16.2", "13.2.0"))
    assert found["JetPack"].detail.startswith(f"{pack} (L4T 39.2")
    assert all(f.is_usable for f in found.values())


def test_another_tensorrt_than_jetpacks(tmp_path: Path) -> None:
    found = jetpack(board(tmp_path, THOR, "R39 (release), REVISION: 2.1", "11.4.1", "13.2.0"))
    assert found["TensorRT library"].is_usable and "build them again" in found["TensorRT library"].fix
    found = jetpack(board(tmp_path / "old", THOR, "R39 (release), REVISION: 2.1", "10.3.0"))
    assert not found["TensorRT library"].is_usable
    assert "sudo apt install nvidia-jetpack" in found["TensorRT library"].fix
    assert found["CUDA toolkit"].detail == "not here; JetPack 7.2.1 brings 13.2"


def test_a_venv_of_another_python_cannot_see_jetpacks_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_python(monkeypatch, "3.12")
    found = jetpack(board(tmp_path, ORIN_NANO, "R36 (release), REVISION: 4.3", "10.3.0", "12.6"))["Python"]
    assert not found.is_usable and found.fix == "python3.10 -m venv --system-site-packages .venv"


@pytest.mark.parametrize(
    ("model", "release", "family"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "R32 (release), REVISION: 7.1", "Nano"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "R35 (release), REVISION: 4.1", "Xavier"),
    ],
)
def test_boards_that_get_no_newer_jetpack(tmp_path: Path, model: str, release: str, family: str) -> None:
    found = jetpack(board(tmp_path, model, release))["JetPack"]
    assert not found.is_usable and f"{family} gets no newer JetPack: run on its CPU" in found.fix


def test_an_unknown_l4t_is_said(tmp_path: Path) -> None:
    found = jetpack(board(tmp_path, ORIN_NANO, "R51 (release), REVISION: 1.0"))["JetPack"]
    assert not found.is_usable and "belongs to no JetPack" in found.detail and found.fix


def test_a_slower_power_mode_and_pinned_clocks(tmp_path: Path) -> None:
    root = board(tmp_path, ORIN_NANO, "R36 (release), REVISION: 4.3", power="0000")
    (root / "sys/class/devfreq/17000000.gpu/min_freq").write_text("1020000000")
    mode, clock = jetson.check_power(root)
    assert mode.fix == "sudo nvpmodel -m 2" and "15W" in mode.detail
    assert "pinned at 1020 MHz" in clock.detail and not clock.fix


def test_jetpack_table_is_in_order() -> None:
    packs = [pack.l4t for pack in jetson.JETPACKS]
    assert packs == sorted(packs)
    assert jetson.jetpack_of(()) is None and jetson.jetpack_of((36, 1)) is None


@pytest.mark.parametrize(
    ("capability", "words", "fix"),
    [
        ((5, 3), "no fast INT8", "8.2"),
        ((7, 0), "none for INT8", "10.4"),
        ((7, 2), "INT8 tensor cores", "8.5"),
        ((8, 7), "FP16 and INT8 tensor cores", ""),
        ((9, 0), "FP8", ""),
        ((11, 0), "FP8", ""),
    ],
)
def test_what_a_compute_capability_means(capability: tuple[int, int], words: str, fix: str) -> None:
    abilities, found = gpu.meaning(capability)
    assert words in abilities and fix in found and bool(fix) == bool(found)


def test_gpus_of_the_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "cuda_gpus", lambda: (ORIN,))
    (found,) = gpu.check_gpu(tmp_path)
    assert found.is_usable and "7620 MiB shared with the CPU" in found.detail


def test_a_provider_that_is_listed_but_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import onnxruntime

    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(backends, "driver_fault", lambda: "")
    monkeypatch.setattr(backends, "provider_fault", lambda name: "libcublas.so.13: cannot open")
    cpu, cuda, tensorrt = backends.check_onnxruntime(tmp_path)
    assert cpu.is_usable and not cuda.is_usable and not tensorrt.is_usable
    assert "libcublas.so.13" in cuda.detail and "silently" in cuda.detail
    assert "onnxruntime-gpu" in tensorrt.fix


def test_the_engine_cache_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "plans"
    assert finding("engines") == Finding("engine cache", True, f"{folder}: 0 engines, 0.0 MiB")
    assert not (tmp_path / "cache").exists(), "the doctor makes nothing"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.engine").write_bytes(bytes(3 << 19))
        (folder / f"{name}.json").write_text("{}")
    assert finding("engines").detail == f"{folder}: 2 engines, 3.0 MiB"
    (folder / "a.engine").unlink()
    assert "1 engine, 1.5 MiB" in finding("engines").detail


def test_an_engine_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path / "file"))
    found = finding("engines")
    assert not found.is_usable and found.detail.endswith(f"but {tmp_path / 'file'} cannot be written")
    assert "DTGD_EDGE_CACHE" in found.fix


def test_old_tensorrt_is_refused() -> None:
    assert not backends._new_enough(Finding("TensorRT", True, "8.6.1")).is_usable
    assert backends._new_enough(Finding("TensorRT", True, "10.3.0")).is_usable
    assert backends._new_enough(Finding("TensorRT", True, "version unknown")).is_usable


def test_this_machine(tmp_path: Path) -> None:
    diagnosis = diagnose()
    assert diagnosis.backend in ("ort", "tensorrt") and diagnosis.reason
    assert all(found.is_usable or found.fix for found in diagnosis.findings)
    assert finding("onnxruntime").is_usable
    # An empty file tree is a machine without anything, not an error.
    names = {found.name: found for found in examine(tmp_path)}
    assert "JetPack" not in names and not names["cameras"].is_usable


def test_where_it_would_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "choose_backend", lambda: Choice("tensorrt", "both answer"))
    monkeypatch.setattr(doctor, "cuda_gpus", lambda: (ORIN,))
    assert diagnose(tmp_path).runs_on == "Orin (TensorRT)"
    monkeypatch.setattr(doctor, "choose_backend", lambda: Choice("ort", "no CUDA device"))
    assert diagnose(tmp_path).runs_on.startswith("CPU (ONNX Runtime ")
    monkeypatch.setitem(
        CHECKS, "onnxruntime", lambda root: [Finding(backends.ORT_CPU, False, "gone", "get it")]
    )
    assert diagnose(tmp_path).runs_on == "nothing"


def test_a_check_that_breaks_does_not_break_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(root: Path) -> list[Finding]:
        raise BackendUnavailable("sudden")

    monkeypatch.setitem(CHECKS, "gpu", broken)
    found = finding("gpu")
    assert not found.is_usable and "sudden" in found.detail
