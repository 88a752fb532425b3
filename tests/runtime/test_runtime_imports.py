"""Importing the runtime defines names and brings no heavy library along."""

import subprocess
import sys

import dtgd_edge.runtime


def test_public_names_are_there() -> None:
    assert all(hasattr(dtgd_edge.runtime, name) for name in dtgd_edge.runtime.__all__)
    assert sorted(dtgd_edge.runtime.__all__) == dtgd_edge.runtime.__all__


def test_importing_brings_no_heavy_library() -> None:
    script = (
        "import sys, dtgd_edge.runtime, dtgd_edge.runtime.sinks.jsonl, dtgd_edge.runtime.sinks.console, "
        "dtgd_edge.runtime.sources.folder, dtgd_edge.runtime.sources.sample, "
        "dtgd_edge.runtime.sessions.null, dtgd_edge.runtime.choice, dtgd_edge.runtime.doctor;"
        "heavy = ('cv2', 'onnxruntime', 'torch', 'onnx', 'openvino', 'tensorrt');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
