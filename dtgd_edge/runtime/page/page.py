"""The operator's page of one line."""

import secrets
from types import TracebackType

from typing_extensions import Self

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.page.active import Active
from dtgd_edge.runtime.page.alarms import Alarms
from dtgd_edge.runtime.page.album import Album
from dtgd_edge.runtime.page.commands import Commands
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.controls import Controls
from dtgd_edge.runtime.page.guard import Guard, token_from_file
from dtgd_edge.runtime.page.live import LiveView
from dtgd_edge.runtime.page.report import Report, SourceFacts
from dtgd_edge.runtime.page.routes import Routes
from dtgd_edge.runtime.page.server import Listener, PageServer
from dtgd_edge.runtime.page.sink import PageSink
from dtgd_edge.runtime.page.state import LineState


class Page:
    """A page that is being served.

    Attributes:
        sink: give it to the loop.
        server: knows the page's URL and the one that logs in.
    """

    def __init__(self, sink: PageSink, server: PageServer) -> None:
        self.sink = sink
        self.server = server

    def close(self) -> None:
        """End the server, then let go of the frames; closing twice is fine."""
        self.server.close()
        self.sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_page(
    config: PageConfig,
    inspector: Active,
    events: Events,
    controls: Controls | None = None,
    source: SourceFacts | None = None,
) -> Page:
    """Serve the page of a line.

    Args:
        config: address and limits.
        inspector: read again and again: threshold and bundle may change while the page is open.
        events: shown on the page, and told of what its buttons did.
        controls: what its buttons do; None: it has none.
        source: where the frames come from, if it is to be shown and its silence is to be watched.

    Raises:
        ConfigError: the address cannot be bound, or the token file cannot be used.
    """
    controls, source = controls or Controls(), source or SourceFacts()
    token = token_from_file(config.token_file) if config.token_file else secrets.token_urlsafe(24)
    listener = Listener(config)
    sensor_bits = inspector.manifest.geometry.sensor_bits
    state, alarms = LineState(config.trend), Alarms()
    live = LiveView(config.picture_fps, config.picture_px, sensor_bits)
    album = Album(config.rejects, config.picture_px, sensor_bits)
    events.listen(alarms.listen)
    report = Report(state, alarms, album, inspector, config, controls, source)
    guard = Guard(config, int(listener.server_address[1]), token)
    listener.routes = Routes(guard, report, live, Commands(controls, inspector, alarms, events))
    return Page(PageSink(state, live, album), PageServer(listener, token))
