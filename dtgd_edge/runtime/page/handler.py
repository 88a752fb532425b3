"""HTTP on one connection, with limits on everything that a client sends."""

import http.client
import io
import json
import logging
import socket
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from dtgd_edge.runtime.page.refused import Refused
from dtgd_edge.runtime.page.routes import Answer, Request

if TYPE_CHECKING:
    from dtgd_edge.runtime.page.server import Listener

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 4 * 1024
# Whole requests and answers, however slowly their bytes come; a browser's connection may lie idle as long.
REQUEST_S = 10.0

_DRAIN_LIMIT = 256 * 1024
_DRAIN_S = 1.0

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)


class BoundedReader(io.RawIOBase):
    """Reads a request's head and no more of it than the limit."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = HEAD_LIMIT

    def expect_head(self) -> None:
        """A new request begins."""
        self._left = HEAD_LIMIT

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line; the limit counts all lines of a head together."""
        line: bytes = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException("the head is too long")
        return line

    def read(self, size: int = -1, /) -> bytes:
        """Bytes of the body."""
        content: bytes = self._file.read(size)
        return content

    def close(self) -> None:
        self._file.close()
        super().close()


class PageHandler(BaseHTTPRequestHandler):
    """One connection: request after request."""

    protocol_version = "HTTP/1.1"
    # The base class answers what it does not understand as HTTP/0.9, without a status.
    default_request_version = "HTTP/1.1"
    timeout = REQUEST_S
    server: "Listener"

    def setup(self) -> None:
        super().setup()
        self._head = BoundedReader(self.rfile)
        self.rfile = self._head  # type: ignore[assignment]

    def handle_one_request(self) -> None:
        """Answer one request within its time, and never with a stack of ours."""
        self.server.expect_end(self.connection, REQUEST_S)
        self._head.expect_head()
        self.requestline, self.request_version, self.command = "", "HTTP/1.1", ""
        try:
            super().handle_one_request()
        except http.client.HTTPException:
            self.send_error(431)
            self.close_connection = True
        except OSError:  # the client went away, or its time was up
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        path, _, query = self.path.partition("?")
        try:
            self._check_framing(method)
            request = Request(method, path, query, self.headers, self.client_address[0])
            is_known = self.server.routes.check(request)
            if method == "POST":
                values = self._values()
                request = Request(method, path, query, self.headers, self.client_address[0], values)
            answer = self.server.routes.answer(request, is_known)
        except Refused as exc:
            answer = self._refusal(exc, path)
        except OSError:
            raise
        except Exception:
            _log.exception("the page cannot answer %s %s", method, path[:100])
            answer = _sentence(500, "the page failed; look into the line's log")
            self.close_connection = True
        self._send(answer)

    def _check_framing(self, method: str) -> None:
        """Refuse what leaves open where a request ends: the next one could be smuggled in."""
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding") is not None or len(lengths) > 1:
            raise Refused(400, "the body's length is unclear; expected one Content-Length", must_close=True)
        if len(self.headers.get_all("Host") or []) != 1:
            raise Refused(400, "there is not one Host; expected one", must_close=True)
        length = lengths[0] if lengths else "0"
        if not (length.isascii() and length.isdigit()) or (method == "GET" and int(length[:9]) > 0):
            raise Refused(400, "the body's length makes no sense here", must_close=True)

    def _values(self) -> dict[str, Any]:
        """The JSON object that a POST carries."""
        length = self.headers.get("Content-Length")
        if length is None:
            raise Refused(411, "the body has no length; expected Content-Length", must_close=True)
        if len(length) > 9 or int(length) > BODY_LIMIT:
            raise Refused(413, f"the body is too long; expected at most {BODY_LIMIT} bytes", must_close=True)
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "the body is of another kind; expected application/json", must_close=True)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(400, "the body ended early", must_close=True)
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON; expected an object") from None
        if not isinstance(values, dict):
            raise Refused(400, "the body is no JSON object; expected one")
        return values

    def _refusal(self, refused: Refused, path: str) -> Answer:
        # A body that was not read would be taken for the next request.
        is_unread = self.command == "POST" and refused.status in (401, 403, 421, 429)
        if refused.must_close or is_unread:
            self.close_connection = True
        if refused.status == 401 and path == "/" and self.command == "GET":
            return Answer(303, content_type="text/plain", headers={"Location": "/login"})
        headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
        if refused.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return _sentence(refused.status, refused.text, headers)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**_SECURITY_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.body:
            self.wfile.write(answer.body)
        if self.close_connection:
            self._drain()

    def _drain(self) -> None:
        """Take some of what still comes: closing on unread bytes would destroy the answer on its way."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_S)
            self.server.expect_end(self.connection, _DRAIN_S)
            taken = 0
            while taken < _DRAIN_LIMIT and (content := self.connection.recv(16 * 1024)):
                taken += len(content)
        except OSError:
            return

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request, in our form."""
        self.close_connection = True
        self._send(_sentence(int(code), "the request is not understood; expected plain HTTP/1.1"))

    def version_string(self) -> str:
        """Nothing that an attacker could look up."""
        return "dtgd-edge"

    def log_message(self, format: str, *args: Any) -> None:
        # %r: a request may carry control characters of a terminal.
        _log.debug("%s: %r", self.address_string(), format % args)


def _sentence(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps({"error": text}).encode(), headers=headers or {})
