"""The page's connections: how many, from whom, and for how long."""

import logging
import socket
import socketserver
import threading
import time
from types import TracebackType
from typing import Any

from typing_extensions import Self

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.handler import REQUEST_S, PageHandler
from dtgd_edge.runtime.page.routes import Routes

# One client, one slow one too, gets this share of all connections: a browser opens six.
_SHARE = 4
_GLANCE_S = 0.1
_JOIN_S = 3.0

_log = logging.getLogger(__name__)


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections, a thread each; those above the limits are closed at once.

    Args:
        config: address and limits.

    Raises:
        ConfigError: the address cannot be bound.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32
    routes: Routes

    def __init__(self, config: PageConfig) -> None:
        self._limit = config.connections
        self._open: dict[socket.socket, tuple[str, float]] = {}
        self._lock = threading.Lock()
        try:
            found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], PageHandler)  # type: ignore[arg-type]
        except OSError as exc:
            raise ConfigError(
                f"address {config.address} cannot be listened on ({exc.strerror}); expected a free one of "
                "this machine; end what uses it or take another port"
            ) from exc

    def expect_end(self, connection: socket.socket, within_s: float) -> None:
        """Close a connection by force unless it is told of again within a time."""
        with self._lock:
            if connection in self._open:
                self._open[connection] = (self._open[connection][0], time.monotonic() + within_s)

    def process_request(self, request: Any, client_address: Any) -> None:
        address = client_address[0]
        with self._lock:
            own = sum(other == address for other, _ in self._open.values())
            is_full = len(self._open) >= self._limit or own >= max(4, self._limit // _SHARE)
            if not is_full:
                self._open[request] = (address, time.monotonic() + REQUEST_S)
        if is_full:
            # Not a word: an answer could block on a client that does not read.
            super().shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is up: their threads wake from whatever they wait for."""
        now_s = time.monotonic()
        self._end(lambda deadline_s: deadline_s < now_s)

    def end_all(self) -> None:
        """End every connection."""
        self._end(lambda deadline_s: True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.exception("a connection from %s failed", client_address[0])

    def _end(self, is_due: Any) -> None:
        with self._lock:
            due = [connection for connection, (_, deadline_s) in self._open.items() if is_due(deadline_s)]
            for connection in due:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has ended by itself


class PageServer:
    """Serves the page from a thread of its own until it is closed.

    Args:
        listener: bound, with its routes.
        token: what opens the page.
    """

    def __init__(self, listener: Listener, token: str) -> None:
        self._listener = listener
        self._token = token
        host, self.port = listener.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        self.url = f"http://{name}:{self.port}/"
        self._thread = threading.Thread(
            target=listener.serve_forever, args=(_GLANCE_S,), name="dtgd-page", daemon=True
        )
        self._thread.start()

    @property
    def login_url(self) -> str:
        """Opens the page with all its buttons; keep it secret. Browsers do not send what follows the #."""
        return f"{self.url}login#{self._token}"

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._listener._open)

    def close(self) -> None:
        """End every connection and free the address; closing twice is fine."""
        self._listener.shutdown()
        self._listener.end_all()
        self._listener.server_close()
        self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
