"""A line that records until it is killed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dtgd_edge.benchmarks.faults.rig import Picture, line_config, parts
from dtgd_edge.runtime.assembly import open_line
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.records.audit import AuditConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.verdict import Verdict


class _Named(FrameSource):
    """Frames that carry the number of their run."""

    is_live = False
    description = "frames of a victim"

    def __init__(self, pictures: Sequence[Picture], name: str) -> None:
        self._pictures = pictures
        self._name = name
        self._is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._is_closed:
            yield Frame(self._pictures[index % len(self._pictures)], index, name=self._name)
            index += 1

    def close(self) -> None:
        self._is_closed = True


class _Said(Sink):
    """Says each verdict once the sinks before it have taken it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def write(self, verdict: Verdict, frame: Frame) -> None:
        os.write(self._pipe, f"said {frame.name} {frame.index}\n".encode())

    def close(self) -> None:
        os.close(self._pipe)


def prepared() -> tuple[Picture, ...]:
    """Do before the fork what every victim would do: draw the parts, import the libraries."""
    import onnxruntime  # noqa: F401

    return parts()


def run(folder: Path, pictures: Sequence[Picture], name: str, pipe: int) -> None:
    """Open a line on the folder's log, and run it."""
    config = line_config(audit=AuditConfig(path=str(folder / "audit.db"), sync_every_ms=20))
    with open_line(config, folder / "grey.dtgd", _Named(pictures, name)) as line:
        line.outlets.append(Outlet(_Said(pipe), "said", "end"))
        line.run()
