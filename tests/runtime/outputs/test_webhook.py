"""Webhooks over loopback, with the standard library's server on the other side."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.outputs.queued import QueuedSink, Refused
from dtgd_edge.runtime.outputs.settings import WebhookConfig
from dtgd_edge.runtime.outputs.webhook import SIGNATURE, TIMESTAMP, WebhookSink
from dtgd_edge.verdict import Decision
from tests.runtime.outputs.conftest import Heard, until, written


class Receiver:
    """Takes POSTs and answers with a status of choice; can go and come back on the same port."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 204
        self.port = 0
        self.silent = threading.Event()
        self.silent.set()
        self.start()

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.silent.wait(5.0)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append(dict(self.headers))
                outer.bodies.append(body)
                self.send_response(outer.status)
                self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                outer.bodies.append(b"GET")
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/verdicts"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    receiver = Receiver()
    yield receiver
    receiver.silent.set()
    receiver.stop()


def test_chosen_verdicts_are_posted_and_signed(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    sink = WebhookSink(WebhookConfig(receiver.url, secret_file=str(tmp_path / "key")))
    for index, decision in enumerate(Decision):
        sink.write(*written(index, decision))
    messages = [json.loads(body) for body in receiver.bodies]
    assert [message["decision"] for message in messages] == ["NG", "NO_DECISION"]
    assert [message["sequence"] for message in messages] == [1, 2]
    headers, body = receiver.headers[0], receiver.bodies[0]
    signed = hmac.new(b"secret", headers[TIMESTAMP].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={signed}" and headers["Content-Type"] == "application/json"


def test_a_server_that_goes_and_comes_back_gets_everything_in_order(receiver: Receiver, heard: Heard) -> None:
    config = WebhookConfig(receiver.url, decisions=(Decision.OK,), timeout_s=2.0)
    sink = QueuedSink(WebhookSink(config), "webhook", heard.events, backoff=Backoff(0.01, 0.02))
    sink.write(*written(0))
    assert until(lambda: len(receiver.bodies) == 1)
    receiver.stop()
    for index in range(1, 30):
        sink.write(*written(index))
    assert heard.wait_for("sink down")
    receiver.start()
    assert heard.wait_for("sink back")
    sink.close()
    messages = [json.loads(body) for body in receiver.bodies]
    assert [message["frame"] for message in messages] == list(range(30))
    assert [message["sequence"] for message in messages] == list(range(1, 31))
    assert heard.kinds() == ["sink down", "sink back"] and sink.dropped == 0


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_in_trouble_is_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(SinkError, match=str(status)) as caught:
        WebhookSink(WebhookConfig(receiver.url)).write(*written(0, Decision.NG))
    assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize("status", [302, 303, 400, 401, 404])
def test_a_server_that_does_not_want_it_is_not_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(Refused, match=str(status)):
        WebhookSink(WebhookConfig(receiver.url)).write(*written(0, Decision.NG))
    assert len(receiver.bodies) == 1 and receiver.bodies[0] != b"GET"


def test_a_server_that_says_nothing_is_left(receiver: Receiver) -> None:
    receiver.silent.clear()
    with pytest.raises(SinkError, match="does not answer"):
        WebhookSink(WebhookConfig(receiver.url, timeout_s=0.05)).write(*written(0, Decision.NG))
