"""The adapter uses only what the real Python bindings have, from TensorRT 10.3 to 11.4.

`tensorrt_surfaces/` has the names of each version's real bindings; make.py there says how they were read.
With DTGD_EDGE_TENSORRT_BINDINGS=B1:B2 naming such folders, the bindings themselves are imported.
"""

import ast
import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dtgd_edge.runtime.trt
from dtgd_edge.runtime.trt.surface import BUILD, OPTIONAL, RUN

SURFACES = sorted((Path(__file__).parent / "tensorrt_surfaces").glob("*.json"))
FOLDERS = [folder for folder in os.environ.get("DTGD_EDGE_TENSORRT_BINDINGS", "").split(os.pathsep) if folder]
ADAPTER = Path(dtgd_edge.runtime.trt.__file__).parent
# The files that meet TensorRT's objects; `surface` names, `build` and `choose` only pass them on.
FILES = sorted(path for path in ADAPTER.glob("*.py") if path.stem not in ("__init__", "surface"))


def _surface(path: Path) -> tuple[str, set[str]]:
    record = json.loads(path.read_text())
    return record["module"], set(record["names"])


@pytest.mark.parametrize("path", SURFACES, ids=lambda path: path.stem)
def test_every_version_has_what_is_needed(path: Path) -> None:
    module, names = _surface(path)
    needed = set(RUN) if module == "tensorrt_lean" else set(RUN) | set(BUILD)
    assert needed <= names, sorted(needed - names)


def test_the_versions_of_the_platforms_are_all_there() -> None:
    stems = [path.stem for path in SURFACES]
    assert stems == [
        "lean-11.4.0.106",
        "rtx-1.7.1.116",
        "tensorrt-10.16.1.11",
        "tensorrt-10.3.0",
        "tensorrt-11.4.0.106",
    ]


def test_what_is_optional_is_somewhere_missing_or_somewhere_there() -> None:
    everywhere = [_surface(path)[1] for path in SURFACES]
    for name in OPTIONAL:
        assert any(name in names for names in everywhere), name


def test_names_gone_in_some_version_are_not_used() -> None:
    """What 11 removed (FP16 and INT8 flags, calibrators) or only 8 had would break one of the platforms."""
    used = {name.rpartition(".")[2] for name in (*RUN, *BUILD, *OPTIONAL)}
    assert not used & {
        "FP16",
        "INT8",
        "int8_calibrator",
        "get_binding_shape",
        "execute_async_v2",
        "EXPLICIT_BATCH",
    }


def _attributes(path: Path) -> set[str]:
    """Attribute names a file reads, and the literal names it asks for with getattr or hasattr."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        is_asking = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr")
        if is_asking and isinstance(node.args[1], ast.Constant):
            found.add(node.args[1].value)
    return found


def _own_names() -> set[str]:
    """Attributes of our own classes, of the standard types and of the modules the adapter imports."""
    own: set[str] = set()
    for path in (*FILES, *(ADAPTER.parent / name for name in ("cuda_driver.py", "plan.py", "plans.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own |= {node.attr} if getattr(node.value, "id", "") == "self" else set()
    for kind in (str, bytes, dict, list, set, Path, BaseException):
        own |= set(dir(kind))
    own |= {"import_module", "fullmatch", "platform", "machine", "monotonic", "getLogger", "debug", "write"}
    own |= {"manifest", "graph", "name", "precision", "placement", "graph_sha256", "input", "outputs"}
    return own | set(dir(builtins))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_adapter_uses_nothing_outside_the_list(path: Path) -> None:
    listed = {part for name in (*RUN, *BUILD, *OPTIONAL) for part in name.split(".")}
    strange = _attributes(path) - listed - _own_names()
    assert not strange, f"{path.name} uses {sorted(strange)}; list TensorRT's names in surface.py"


def test_every_listed_name_is_used() -> None:
    used = set().union(*(_attributes(path) for path in FILES))
    for name in (*RUN, *BUILD, *OPTIONAL):
        assert name.rpartition(".")[2] in used or name == "ITensor.name", name


_LIVE = """
import json, sys
import tensorrt_bindings as module
sys.path.insert(0, sys.argv[1])
from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime.trt.builder import BuildRequest, plan_from_onnx
from dtgd_edge.runtime.trt.library import Library
from dtgd_edge.runtime.trt.log import TrtLog, progress_monitor
from dtgd_edge.runtime.trt.surface import BUILD, RUN

for name in (*RUN, *BUILD):
    value = module
    for part in name.split("."):
        value = getattr(value, part)
library = Library("tensorrt", module)
assert library.can_build and library.is_strongly_typed and library.capabilities == (), library
log = TrtLog(module)
assert isinstance(log.logger, module.ILogger)
log.logger.log(module.ILogger.ERROR, "one\\n two")
log.logger.log(module.ILogger.VERBOSE, "noise")
assert log.errors == ["one two"] and log.reason() == "one two"
monitor = progress_monitor(module, log, print)
assert isinstance(monitor, module.IProgressMonitor)
monitor.phase_start("build", None, 3)
assert monitor.step_complete("build", 0) is True
log.is_interrupted = True
assert monitor.step_complete("build", 1) is False
try:
    plan_from_onnx(library, b"", BuildRequest())  # the stub factories give nothing, as without a driver
except BackendUnavailable as exc:
    print(library.version, exc)
"""


@pytest.mark.skipif(not FOLDERS, reason="DTGD_EDGE_TENSORRT_BINDINGS names no folder with real bindings")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: Path(folder).name)
def test_the_real_bindings(folder: str) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _LIVE, root], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot start a builder" in done.stdout
