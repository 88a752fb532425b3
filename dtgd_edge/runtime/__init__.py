"""Runs a bundle on frames: sources, health gate, inspector, loop, sinks.

    session.py    a bundle's graph on a device; sessions/ has one file per backend
    trt/          TensorRT: library, builder, engine; plans.py is the cache of what it built
    cuda.py       device, memory, stream; cudas/ has one file per Python binding; cuda_driver.py is the probe
    source.py     where frames come from; sources/ has one file per kind
    health.py     which frames cannot be judged
    inspector.py  from a frame to a verdict
    loop.py       from a source to the sinks: handoff.py between the threads, judge.py who decides,
                  chore.py between the frames, delivery.py to the sinks, summary.py of it all
    sink.py       where verdicts go; sinks/ has one file per place
    overlay.py    a verdict as a picture
    calibrate.py  another threshold for a bundle; promise.py is what n good parts can promise

May import numpy, msgspec, the standard library and the core; onnxruntime only in sessions/ort.py, CUDA
only in cudas/, TensorRT only in trt/, cv2 only in sources/ and overlay.py. Importing this package imports
none of them.
"""

from dtgd_edge.runtime.calibrate import Calibrator
from dtgd_edge.runtime.health import HealthGate, HealthLimits
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.session import Session, SessionSpec, check_golden, open_session
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource, is_uri, open_source
from dtgd_edge.runtime.summary import Summary

__all__ = [
    "Calibrator",
    "Frame",
    "FrameSource",
    "HealthGate",
    "HealthLimits",
    "Inspector",
    "Session",
    "SessionSpec",
    "Sink",
    "Summary",
    "check_golden",
    "is_uri",
    "open_session",
    "open_source",
    "run_loop",
]
