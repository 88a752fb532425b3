"""Heavy libraries are met only in the files that own them, and importing has no side effects."""

import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]

_IMPORT_ALL = """
import importlib, os, pkgutil, sys, warnings

HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "openvino", "safetensors", "cv2"}
HEAVY |= {"cuda", "pycuda", "tensorrt", "tensorrt_lean", "tensorrt_rtx"}
HEAVY |= {"asyncua", "gpiod", "harvesters", "Jetson", "paho", "pymodbus"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import msgspec, numpy, rich, typer  # numpy sets a warning filter of its own
environment, filters = dict(os.environ), list(warnings.filters)
import dtgd_edge
from dtgd_edge.errors import DtgdError
owners = []
for module in pkgutil.walk_packages(dtgd_edge.__path__, "dtgd_edge."):
    try:
        importlib.import_module(module.name)
    except (ImportError, DtgdError) as exc:
        missing = exc if isinstance(exc, ModuleNotFoundError) else exc.__cause__
        if missing.name.partition(".")[0] not in HEAVY:
            raise
        owners.append(module.name)
assert dict(os.environ) == environment and warnings.filters == filters
print(*owners)
"""


def test_everything_but_the_owners_imports_without_heavy_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    owners = done.stdout.split()
    allowed = ("dtgd_edge.train.", "dtgd_edge.export.")
    core = {name for name in owners if not name.startswith(allowed)}
    assert core <= {
        "dtgd_edge.benchmarks.report.picture",
        "dtgd_edge.runtime.cudas.cuda_python",
        "dtgd_edge.runtime.cudas.pycuda",
        "dtgd_edge.runtime.outputs.modbus_client",
        "dtgd_edge.runtime.outputs.modbus_server",
        "dtgd_edge.runtime.outputs.mqtt",
        "dtgd_edge.runtime.outputs.opcua",
        "dtgd_edge.runtime.outputs.pins_gpiod",
        "dtgd_edge.runtime.outputs.pins_jetson",
        "dtgd_edge.runtime.overlay",
        "dtgd_edge.runtime.page.drawing",
        "dtgd_edge.runtime.sessions.openvino",
        "dtgd_edge.runtime.sessions.ort",
        "dtgd_edge.runtime.sinks.overlay",
        "dtgd_edge.runtime.sources.camera",
        "dtgd_edge.runtime.sources.capture",
        "dtgd_edge.runtime.sources.genicam",
        "dtgd_edge.runtime.sources.genicam_formats",
        "dtgd_edge.runtime.sources.genicam_source",
        "dtgd_edge.runtime.sources.gstreamer",
        "dtgd_edge.runtime.sources.mjpeg",
    }
    # Measuring a bundle on an edge box needs these, and no torch.
    measuring = {f"dtgd_edge.train.{name}" for name in ("data", "metrics", "curves", "evaluate", "report")}
    assert not measuring & set(owners)


def test_the_constraints_pin_every_dependency() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    wanted += project["optional-dependencies"]["dev"] + project["optional-dependencies"]["openvino"]
    names = {requirement.split(">")[0].strip().lower() for requirement in wanted}
    assert names <= {name.replace("_", "-") for name in pinned}
