"""Takes a line's verdicts for the page."""

from dtgd_edge.runtime.page.album import Album
from dtgd_edge.runtime.page.live import LiveView
from dtgd_edge.runtime.page.state import LineState
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict


class PageSink(Sink):
    """Counts a verdict and keeps references to the newest frame and the rejects; draws nothing itself.

    Never refuses a verdict: a page that nobody may look at any more is no reason to stop a line.
    """

    def __init__(self, state: LineState, live: LiveView, album: Album) -> None:
        self._state = state
        self._live = live
        self._album = album

    def write(self, verdict: Verdict, frame: Frame) -> None:
        sequence = self._state.add(verdict, frame)
        self._live.add(sequence, verdict, frame)
        self._album.add(sequence, verdict, frame)

    def close(self) -> None:
        self._live.close()
        self._album.close()
