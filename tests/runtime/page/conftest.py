"""A page of a line that tests play themselves, and a client for it."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dtgd_edge.bundle import Manifest
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.page import Controls, Page, PageConfig, SourceFacts, open_page
from dtgd_edge.runtime.session import SessionSpec
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Region, Verdict

TOKEN = "a token of the test line"


class FakeInspector:
    """What the page reads of one."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.threshold = manifest.threshold.value
        self.session: Any = SimpleNamespace(spec=SessionSpec("null", "no device", 1, (64, 64)))


@dataclass
class Answered:
    """An answer; header names in any case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a page, a connection for each request."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.own = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            sent = {**self.own, **({} if body is None else {"Content-Type": "application/json"})}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            return Answered(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answered:
        return self.ask("POST", path, body, **headers)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, token: str) -> str:
        """The cookie of a new session."""
        answer = self.post("/login", {"token": token}, Origin=self.origin)
        assert answer.status == 204, answer.body
        return answer.headers["Set-Cookie"].partition(";")[0]


@dataclass
class Line:
    """A page with what stands behind it."""

    page: Page
    inspector: FakeInspector
    events: Events
    told: list[Event]
    token: str

    @property
    def stranger(self) -> Client:
        return Client(self.page.server.port)

    @property
    def operator(self) -> Client:
        return Client(self.page.server.port, self.token)

    def judge(self, score: float | None = 1.0, index: int = 0, **values: Any) -> None:
        """One verdict at the inspector's threshold."""
        frame = values.pop("frame", None) or Frame(np.full((48, 64, 3), 90, np.uint8), index)
        self.page.sink.write(verdict(score, index, self.inspector.threshold, **values), frame)


def verdict(score: float | None = 1.0, index: int = 0, threshold: float = 2.0, **values: Any) -> Verdict:
    if score is None:
        values.setdefault("reason", "black: no light")
        return Verdict(Decision.NO_DECISION, index, threshold, **values)
    is_ng = score > threshold
    values.setdefault("map", np.full((48, 64), min(score, 9.0), np.float32))
    values.setdefault("regions", (Region(10, 12, 20, 14, 200, score),) if is_ng else ())
    values.setdefault("stages_ms", {"gate": 0.5, "score": 7.0})
    return Verdict(Decision.NG if is_ng else Decision.OK, index, threshold, score, **values)


OpenLine = Callable[..., Line]


@pytest.fixture
def open_line(tiny_manifest: Manifest) -> Iterator[OpenLine]:
    """Opens lines on free ports: `open_line(controls, source, key=value of the config)`."""
    with ExitStack() as stack:

        def opened(
            controls: Controls | None = None, source: SourceFacts | None = None, **config: Any
        ) -> Line:
            inspector, events, told = FakeInspector(tiny_manifest), Events(), []
            events.listen(told.append)
            config = {"address": "127.0.0.1:0", **config}
            page = stack.enter_context(open_page(PageConfig(**config), inspector, events, controls, source))
            token = page.server.login_url.partition("#")[2]
            return Line(page, inspector, events, told, token)

        yield opened


@pytest.fixture
def line(open_line: OpenLine) -> Line:
    """One with a threshold that can be changed and a trigger."""
    holder: list[Line] = []

    def change(value: float, reason: str, who: str) -> None:
        holder[0].inspector.threshold = value

    holder.append(open_line(Controls(change_threshold=change, trigger=lambda who: None)))
    return holder[0]
