"""Runs a bundle on frames: sources, health gate, inspector, loop, sinks.

    session.py    a bundle's graph on a device; sessions/ has one file per backend
    shared_session.py  one session for several cameras
    trt/          TensorRT: library, builder, engine; plans.py is the cache of what it built
    cuda.py       device, memory, stream; cudas/ has one file per Python binding; cuda_driver.py is the probe
    source.py     where frames come from; sources/ has one file per kind, trigger.py says when a part is there
    health.py     which frames cannot be judged; light.py has light, focus and colours
    inspector.py  from a frame to a verdict
    loop.py       from a source to the sinks: handoff.py between the threads, judge.py who decides,
                  chore.py between the frames, delivery.py to the sinks, summary.py of it all
    live.py       the inspector of a running line: recovery.py opens its session again, selftest.py proves
                  it, swap.py puts another bundle in (shadow.py beside it, probation.py after it,
                  watch.py finds it), masters.py shows it parts that are known
    drift.py      light, focus and scores that move slowly; cusum.py is the test
    policy.py     what a line makes of scores; zones.py, hysteresis.py and parts.py do it
    sink.py       where verdicts go; sinks/ has one file per place
    records/      the audit log, kept pictures and their replay
    reject/       parts on their way to the ejector; outputs/ has one file per way to the plant
    page/         the operator's page
    line.py       a line's file; assembly.py opens all that it asks for, service.py tells the service manager
    overlay.py    a verdict as a picture
    calibrate.py  another threshold for a bundle; promise.py is what n good parts can promise

May import numpy, msgspec, the standard library and the core; onnxruntime only in sessions/ort.py, CUDA
only in cudas/, TensorRT only in trt/, cv2 only in sources/, overlay.py and page/drawing.py, and the plant's
protocols only in outputs/. Importing this package imports none of them.
"""

from dtgd_edge.runtime.calibrate import Calibrator
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.drift import Drift
from dtgd_edge.runtime.health import HealthGate, HealthLimits
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.light import AppearanceLimits
from dtgd_edge.runtime.live import LiveInspector
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.masters import MasterParts
from dtgd_edge.runtime.parts import PartJudge
from dtgd_edge.runtime.policy import PolicyConfig
from dtgd_edge.runtime.recovery import Recovery
from dtgd_edge.runtime.selftest import SelfTest
from dtgd_edge.runtime.session import Session, SessionSpec, check_golden, open_session
from dtgd_edge.runtime.shared_session import SharedSession, SharedSessions
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource, is_uri
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.summary import Summary
from dtgd_edge.runtime.swap import Swap

__all__ = [
    "AppearanceLimits",
    "Calibrator",
    "Drift",
    "Frame",
    "FrameSource",
    "HealthGate",
    "HealthLimits",
    "Inspector",
    "LiveInspector",
    "MasterParts",
    "Outlet",
    "PartJudge",
    "PolicyConfig",
    "Recovery",
    "SelfTest",
    "Session",
    "SessionSpec",
    "SharedSession",
    "SharedSessions",
    "Sink",
    "Summary",
    "Swap",
    "check_golden",
    "is_uri",
    "open_session",
    "open_source",
    "run_loop",
]
