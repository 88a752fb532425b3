"""The fingerprint, on this machine and on file trees of others."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from dtgd_edge.benchmarks import machine
from dtgd_edge.benchmarks.machine import this_machine
from dtgd_edge.benchmarks.nvml import Nvml
from dtgd_edge.errors import BackendUnavailable
from tests.benchmarks.test_sensors import CPUS, PretendNvml, jetson, write
from tests.runtime.fakes import ORIN


def test_this_one() -> None:
    here = this_machine()
    assert here.cpu and here.cores >= 1 and here.memory_mib > 100
    assert here.packages["numpy"] == importlib.metadata.version("numpy")
    assert here.identity() == this_machine().identity()


def test_a_library_that_is_not_installed_is_absent() -> None:
    assert this_machine(("numpy", "no-such-library")).packages.keys() >= {"numpy"}
    assert "no-such-library" not in this_machine(("numpy", "no-such-library")).packages


def test_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cuda_gpus", lambda: (ORIN,))
    monkeypatch.setattr(Nvml, "open", lambda: None)
    cpufreq = {"scaling_governor": "schedutil", "scaling_min_freq": 729600, "scaling_max_freq": 1510400}
    root = write(
        jetson(tmp_path),
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
            "var/lib/nvpmodel/status": "pmode:0000",
            **{
                f"sys/devices/system/cpu/cpu{number}/cpufreq/{name}": value
                for number in CPUS
                for name, value in cpufreq.items()
            },
        },
    )
    found = this_machine(root=root)
    assert found.identity() == {
        "CPU": found.cpu,
        "cores": str(found.cores),
        "board": "NVIDIA Jetson Orin Nano Developer Kit",
        "GPU": "Orin",
        "power mode": "15W (nvpmodel 0); CPU schedutil, 729 to 1510 MHz",
    }
    assert found.packages["L4T"] == "36.4.3" and found.packages["CUDA"] == "12.6"
    assert {"VDD_IN", "tj-thermal"} <= {sensor.name for sensor in found.sensors}


def test_a_desktop_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cuda_gpus", lambda: (replace(ORIN, name="NVIDIA RTX"),) * 2)
    library = PretendNvml()
    opened = Nvml.open
    monkeypatch.setattr(Nvml, "open", lambda: opened(lambda name: library))
    found = this_machine(root=tmp_path)
    assert found.gpus == ("NVIDIA RTX", "NVIDIA RTX") and found.packages["NVIDIA driver"] == "570.124.06"
    assert found.power_mode == "GPU 0 up to 700 W; GPU 1 up to 700 W"
    assert [s.name for s in found.sensors][:3] == ["GPU 0 clock", "GPU 0 temperature", "GPU 0 power"]
    assert not library.is_up, "the library is stopped again"


def test_an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise BackendUnavailable("no driver; expected one; install it")

    monkeypatch.setattr(machine, "cuda_gpus", none)
    monkeypatch.setattr(Nvml, "open", lambda: None)
    found = this_machine(root=tmp_path)
    assert (found.gpus, found.power_mode, found.sensors, found.board) == ((), "", (), "")
    assert "CUDA" not in found.packages and found.identity()["power mode"] == "unknown"
