"""Which address does what. There are no files behind them: every name is known beforehand."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from dtgd_edge.runtime.page.commands import Commands
from dtgd_edge.runtime.page.guard import Guard, Headers
from dtgd_edge.runtime.page.live import LiveView
from dtgd_edge.runtime.page.metrics import CONTENT_TYPE, metrics_text
from dtgd_edge.runtime.page.rates import Rate
from dtgd_edge.runtime.page.refused import Refused
from dtgd_edge.runtime.page.report import Report, event_record

# For each client address; a page asks ten times a second.
_READS_PER_S, _READS_BURST = 60.0, 180.0
_WRITES_PER_S, _WRITES_BURST = 1.0, 10.0

_ASSETS = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/login": ("login.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/trend.js": ("trend.js", "text/javascript; charset=utf-8"),
    "/login.js": ("login.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# What somebody needs who has not logged in yet.
_OPEN = frozenset({"/login", "/login.js", "/page.css", "/icon.svg"})
_REJECT = re.compile(r"/rejects/([0-9]{1,18})/(picture|thumbnail)\.jpg")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    Attributes:
        method: GET or POST.
        path: without query, as it came: nothing is decoded.
        query: after the question mark.
        headers: names of any case.
        values: the decoded JSON object of a POST.
        address: the client's.
    """

    method: str
    path: str
    query: str
    headers: Headers
    address: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets.

    Attributes:
        content_type: of the body.
        headers: beside those that every answer has.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Routes:
    """Answers requests; any thread may ask.

    Args:
        guard: knows who may.
        report: knows the line.
        live: draws the newest picture.
        commands: changes the line.
    """

    def __init__(self, guard: Guard, report: Report, live: LiveView, commands: Commands) -> None:
        self._guard = guard
        self._report = report
        self._live = live
        self._commands = commands
        self._reads = Rate(_READS_PER_S, _READS_BURST)
        self._writes = Rate(_WRITES_PER_S, _WRITES_BURST)
        folder = files("dtgd_edge.runtime.page") / "assets"
        self._assets = {
            path: Answer(body=(folder / name).read_bytes(), content_type=kind)
            for path, (name, kind) in _ASSETS.items()
        }
        self._getters: dict[str, Callable[[Request, bool], Answer]] = {
            "/state.json": self._state,
            "/live.jpg": self._live_picture,
            "/events": self._events,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
        }
        self._posts = {"/login", "/logout", *(f"/{name}" for name in commands.names)}

    def check(self, request: Request) -> bool:
        """Decide whether a request may be made, before its body is read; whether it is a known person's.

        Raises:
            Refused: it may not.
        """
        is_write = request.method == "POST"
        if not self._reads.take(request.address):
            raise Refused(429, "too many requests; expected fewer; wait a moment", 1)
        self._guard.check_host(request.headers.get("Host"))
        if is_write:
            # The login's Origin is checked like the others': nobody is to be logged in by another site.
            self._guard.check_origin(request.headers)
            if not self._writes.take(request.address):
                raise Refused(429, "too many changes; expected fewer; wait some seconds", 2)
        is_known = self._guard.is_known(request.headers, request.address)
        is_open = request.path in _OPEN or (not is_write and self._guard.is_reading_free)
        if not is_known and not is_open:
            raise Refused(401, "this needs a login; expected the token; log in")
        return is_known

    def answer(self, request: Request, is_known: bool) -> Answer:
        """Answer a request that was checked.

        Raises:
            Refused: there is no such thing, or it cannot be done.
        """
        if request.method == "POST":
            return self._post(request)
        if (asset := self._assets.get(request.path)) is not None:
            return asset
        if (getter := self._getters.get(request.path)) is not None:
            return getter(request, is_known)
        if (match := _REJECT.fullmatch(request.path)) is not None:
            return self._reject(int(match[1]), match[2])
        if request.path in self._posts:
            raise Refused(405, "this address takes changes only; expected POST")
        raise Refused(404, "there is nothing at this address; the page is at /")

    def _post(self, request: Request) -> Answer:
        name = request.path.removeprefix("/")
        if name == "login":
            token = request.values.get("token")
            if not isinstance(token, str):
                raise Refused(400, "there is no token; expected one; log in again")
            return Answer(204, headers={"Set-Cookie": self._guard.log_in(token, request.address)})
        if name == "logout":
            return Answer(204, headers={"Set-Cookie": self._guard.log_out(request.headers)})
        if name not in self._commands.names:
            raise Refused(404, "there is nothing to change at this address")
        self._commands.run(name, request.values, request.address)
        return _json({"is_done": True})

    def _state(self, request: Request, is_known: bool) -> Answer:
        return _json(self._report.state_record(_after(request.query), is_known))

    def _events(self, request: Request, is_known: bool) -> Answer:
        return _json({"events": [event_record(event) for event in self._report.alarms.recent()]})

    def _metrics(self, request: Request, is_known: bool) -> Answer:
        return Answer(body=metrics_text(self._report).encode(), content_type=CONTENT_TYPE)

    def _healthz(self, request: Request, is_known: bool) -> Answer:
        record = self._report.health_record()
        return _json(record, 200 if record["is_healthy"] else 503)

    def _live_picture(self, request: Request, is_known: bool) -> Answer:
        """204 while there is nothing newer than the client has; the age is always told."""
        picture = self._live.picture()
        if picture is None:
            return Answer(204, content_type="image/jpeg")
        age_ms = max(0, (time.monotonic_ns() - picture.captured_ns) // 1_000_000)
        headers = {
            "X-Sequence": str(picture.sequence),
            "X-Age-Ms": str(age_ms),
            "X-Decision": picture.decision.value,
            "X-Frame": str(picture.frame_index),
        }
        if picture.sequence == _after(request.query):
            return Answer(204, content_type="image/jpeg", headers=headers)
        return Answer(body=picture.jpeg, content_type="image/jpeg", headers=headers)

    def _reject(self, sequence: int, which: str) -> Answer:
        reject = self._report.album.reject(sequence)
        jpeg = None if reject is None else reject.jpeg if which == "picture" else reject.thumbnail
        if jpeg is None:
            raise Refused(404, "this picture is not kept; newer rejects took its place")
        # A number is used once in a run, and another run may use it again.
        return Answer(body=jpeg, content_type="image/jpeg")


def _after(query: str) -> int:
    """The number of `after=N`; -1 without."""
    text = parse_qs(query, max_num_fields=4).get("after", [""])[0]
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else -1


def _json(record: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(record, allow_nan=False, separators=(",", ":")).encode())
