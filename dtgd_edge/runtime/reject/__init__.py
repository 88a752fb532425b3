"""The reject line: from verdicts to an ejector, on time and in order.

    line.py       RejectLine: the thread and its clock
    logic.py      what the signals are at a given moment; parts.py, handshake.py, encoder.py are its pieces
    signals.py    what a controller sees
    output.py     where the signals go; outputs/ has one file per protocol
    settings.py   the table [reject]

May import numpy and the standard library.
"""

from dtgd_edge.runtime.reject.encoder import Encoder, SimulatedEncoder
from dtgd_edge.runtime.reject.line import RejectLine
from dtgd_edge.runtime.reject.output import Commands, Output
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.reject.signals import Counts, Result, Signals

__all__ = [
    "Commands",
    "Counts",
    "Encoder",
    "Output",
    "RejectConfig",
    "RejectLine",
    "Result",
    "Signals",
    "SimulatedEncoder",
]
