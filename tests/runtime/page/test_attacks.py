"""What must not work: over plain HTTP and over bare sockets."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from dtgd_edge.runtime.page import Controls, PageConfig, handler, routes
from dtgd_edge.runtime.page.guard import Guard
from dtgd_edge.runtime.page.rates import Rate
from dtgd_edge.runtime.page.refused import Refused
from tests.runtime.page.conftest import TOKEN, Client, Line, OpenLine

CHANGE = {"value": 9.0, "reason": "an attack", "who": "Eve"}


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    (tmp_path / "token").write_text(TOKEN + "\n")
    return str(tmp_path / "token")


def spoken(port: int, content: bytes, within_s: float = 5.0) -> bytes:
    """Everything that a server says to some bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(content)
        heard = b""
        try:
            while part := connection.recv(65536):
                heard += part
        except ConnectionResetError:
            pass
        return heard


def head(line: Line, first: str, *more: str) -> bytes:
    lines = [first, f"Host: 127.0.0.1:{line.page.server.port}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/assets/page.css",
        "/page.py",
        "/page.js/../../handler.py",
        "/page.css%00.txt",
        "/rejects/../page.py",
        "/rejects/1/../../../etc/passwd",
        "/rejects/\u0661/picture.jpg".encode().decode("latin-1"),
        "/rejects/",
        "/.git/config",
        "http://127.0.0.1/etc/passwd",
        "/",
    ],
)
def test_there_are_no_files_behind_the_addresses(line: Line, path: str) -> None:
    heard = spoken(line.page.server.port, head(line, f"GET {path} HTTP/1.1", "Connection: close"))
    status = heard.split(b" ", 2)[1]
    assert status == (b"200" if path == "/" else b"404") and b"root:" not in heard


def test_nothing_is_changed_without_a_login(line: Line) -> None:
    for path in ("/threshold", "/trigger", "/test-output", "/switch", "/rollback", "/seen"):
        own = line.stranger.post(path, CHANGE, Origin=line.stranger.origin)
        assert own.status == 401 and own.headers["WWW-Authenticate"] == "Bearer", path
    assert line.inspector.threshold == 2.0 and not line.told
    assert line.stranger.get("/state.json").json["can_write"] is False
    assert line.operator.get("/state.json").json["can_write"] is True


def test_with_a_token_file_nothing_can_be_read_without_a_login(open_line: OpenLine, token_file: str) -> None:
    line = open_line(token_file=token_file)
    for path in (
        "/state.json",
        "/live.jpg",
        "/events",
        "/metrics",
        "/healthz",
        "/page.js",
        "/rejects/1/picture.jpg",
        "/x",
    ):
        answer = line.stranger.get(path)
        assert answer.status == 401 and b"tiny" not in answer.body, path
    page = line.stranger.get("/")
    assert page.status == 303 and page.headers["Location"] == "/login"
    for path in ("/login", "/login.js", "/page.css", "/icon.svg"):
        assert line.stranger.get(path).status == 200, path
    assert Client(line.page.server.port, TOKEN).get("/state.json").status == 200


def test_every_address_can_be_served_with_a_token(open_line: OpenLine, token_file: str) -> None:
    line = open_line(address="0.0.0.0:0", token_file=token_file)
    assert line.stranger.get("/state.json").status == 401 and line.operator.get("/state.json").status == 200
    # An IP address names no site; a name could be anybody's.
    assert line.operator.get("/state.json", Host=f"10.1.2.3:{line.page.server.port}").status == 200
    assert line.operator.get("/state.json", Host=f"evil.example:{line.page.server.port}").status == 421


def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get(line: Line) -> None:
    login = line.stranger.post("/login", {"token": line.token}, Origin=line.stranger.origin)
    cookie = login.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and line.token not in cookie
    session = {"Cookie": cookie.partition(";")[0], "Origin": line.stranger.origin}
    assert line.stranger.post("/threshold", CHANGE, **session).status == 200
    assert line.stranger.post("/logout", {}, **session).status == 204
    assert line.stranger.post("/threshold", CHANGE, **session).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "own"},
        {"Sec_Fetch_Site": "same-site", "Origin": "own"},
    ],
)
def test_another_sites_page_cannot_use_the_operators_session(line: Line, headers: dict[str, str]) -> None:
    cookie = line.stranger.log_in(line.token)
    sent = {name: line.stranger.origin if value == "own" else value for name, value in headers.items()}
    answer = line.stranger.post("/threshold", CHANGE, Cookie=cookie, **sent)
    assert answer.status == 403 and line.inspector.threshold == 2.0
    assert line.stranger.post("/login", {"token": line.token}, **sent).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1:1",
        "localhost.evil:{port}",
        "10.0.0.1:{port}",
        "127.0.0.1:{port}x",
    ],
)
def test_a_foreign_name_that_points_here_is_not_answered(line: Line, host: str) -> None:
    answer = line.operator.get("/state.json", Host=host.format(port=line.page.server.port))
    assert answer.status == 421 and b"tiny" not in answer.body


def test_own_names_are_answered(open_line: OpenLine) -> None:
    line = open_line(host_names=("line3.plant",))
    port = line.page.server.port
    for host in (f"localhost:{port}", f"[::1]:{port}", "line3.plant", "LINE3.plant:443"):
        assert line.stranger.get("/state.json", Host=host).status == 200, host


def test_guessing_the_token_is_slow(line: Line) -> None:
    answers = [line.stranger.get("/state.json", Authorization=f"Bearer guess {n}") for n in range(7)]
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "10"
    # Who guesses it now does not learn of it.
    assert line.operator.get("/state.json").status == 429
    assert line.stranger.post("/login", {"token": line.token}, Origin=line.stranger.origin).status == 429


def test_a_right_token_is_never_slowed_by_itself(line: Line) -> None:
    assert {line.operator.get("/healthz").status for _ in range(20)} == {200}


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", "x" * 3000])
def test_other_authorizations_are_refused(line: Line, authorization: str) -> None:
    assert line.stranger.get("/state.json", Authorization=authorization).status == 401


def test_sessions_end(tmp_path: Path) -> None:
    now_s = [0.0]
    guard = Guard(PageConfig(session_hours=1), 80, TOKEN, lambda: now_s[0])
    cookies = {"Cookie": guard.log_in(TOKEN, "a").partition(";")[0]}
    assert guard.is_known(cookies, "a")
    now_s[0] = 3601.0
    assert not guard.is_known(cookies, "a")
    for cookie in ("dtgd_edge_80=", "dtgd_edge_80=guess", "other=1", "=;;=", "dtgd_edge_81=x"):
        assert not guard.is_known({"Cookie": cookie}, "a")
    with pytest.raises(Refused):
        guard.log_in(TOKEN + "x", "a")


def test_sessions_fill_no_memory(tmp_path: Path) -> None:
    guard = Guard(PageConfig(), 80, TOKEN)
    first = {"Cookie": guard.log_in(TOKEN, "a").partition(";")[0]}
    for _ in range(64):
        guard.log_in(TOKEN, "a")
    assert len(guard._sessions) == 64 and not guard.is_known(first, "a")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content_Type": "text/plain"}, b"{}", 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, b"who=Eve", 415),
        ({}, b"not json", 400),
        ({}, b"[1]", 400),
        ({}, b"[" * 4000, 400),
        ({}, b"\xff\xfe", 400),
        ({}, b"x" * 5000, 413),
        ({}, b"x" * 3_000_000, 413),
        ({"Content_Length": "-1"}, b"", 400),
        ({"Content_Length": "9" * 40}, b"", 413),
        ({"Transfer_Encoding": "chunked"}, b"", 400),
    ],
)
def test_bodies_of_another_kind_or_size_are_refused(
    line: Line, headers: dict[str, str], body: bytes, status: int
) -> None:
    sent = {"Content_Type": "application/json", **headers}
    assert line.operator.post("/threshold", body, **sent).status == status
    assert line.operator.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET / HTTP/1.1", "Content-Length: 0", "Content-Length: 30"], b"400"),
        (["POST /trigger HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: chunked"], b"400"),
        (["GET / HTTP/1.1", "Content-Length: 30"], b"400"),
        (["GET / HTTP/1.1", "Host: two.example"], b"400"),
        (["POST /trigger HTTP/1.1", "Authorization: Bearer {token}"], b"411"),
        (["PUT / HTTP/1.1"], b"501"),
        (["TRACE / HTTP/1.1"], b"501"),
        (["GET / HTTP/9.9"], b"505"),
        (["nonsense"], b"400"),
        (["GET / HTTP/1.1", "X-Long: " + "x" * 20_000], b"431"),
        (["GET / HTTP/1.1", *(f"X-{n}: {n}" for n in range(150))], b"431"),
        (["GET /" + "x" * 30_000 + " HTTP/1.1"], b"431"),
    ],
)
def test_malformed_requests_end_the_connection(line: Line, lines: list[str], status: bytes) -> None:
    first, *more = (part.format(token=line.token) for part in lines)
    heard = spoken(line.page.server.port, head(line, first, *more) + b"GET /state.json HTTP/1.1\r\n\r\n")
    assert heard.split(b" ", 2)[1] == status
    assert heard.count(b"HTTP/1.1 ") <= 1 and b"Traceback" not in heard and b"Python" not in heard


def test_a_request_without_host_is_refused(line: Line) -> None:
    assert spoken(line.page.server.port, b"GET / HTTP/1.0\r\n\r\n").split(b" ", 2)[1] == b"400"


def test_every_answer_has_the_security_headers(line: Line) -> None:
    for answer in (
        line.stranger.get("/"),
        line.stranger.get("/nothing"),
        line.stranger.post("/trigger", {}),
        line.stranger.get("/live.jpg"),
        line.stranger.get("/state.json", Host="evil.example"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Server"] == "dtgd-edge"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_head_has_no_body_and_changes_need_post(line: Line) -> None:
    answer = line.stranger.ask("HEAD", "/")
    assert answer.status == 200 and answer.body == b"" and int(answer.headers["Content-Length"]) > 1000
    assert line.operator.get("/threshold").status == 405
    assert line.operator.post("/state.json", {}).status == 404


def test_connections_are_kept_for_more_requests(line: Line) -> None:
    request = head(line, "GET /healthz HTTP/1.1")
    last = head(line, "GET /healthz HTTP/1.1", "Connection: close")
    assert spoken(line.page.server.port, request * 3 + last).count(b"HTTP/1.1 200") == 4


def test_a_mistake_of_ours_shows_no_stack(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(report: object) -> str:
        raise ValueError("a secret of the line")

    monkeypatch.setattr(routes, "metrics_text", fail)
    answer = line.stranger.get("/metrics")
    assert answer.status == 500 and b"secret" not in answer.body and "a secret of the line" in caplog.text


def test_slow_clients_are_cut_off_and_others_are_served_meanwhile(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "REQUEST_S", 0.6)
    monkeypatch.setattr("dtgd_edge.runtime.page.server.REQUEST_S", 0.6)
    line = open_line()
    port = line.page.server.port
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(10)]
    try:
        begun = time.monotonic()
        for connection in slow[1:]:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        # The first one writes without a pause and never ends: only a limit on the whole request stops it.
        dripping = threading.Thread(target=_drip, args=(slow[0],))
        dripping.start()
        assert line.stranger.get("/healthz").status == 200
        for connection in slow:
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        assert 0.4 < time.monotonic() - begun < 4
        dripping.join()
    finally:
        for connection in slow:
            connection.close()
    deadline = time.monotonic() + 3
    while line.page.server.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _drip(connection: socket.socket) -> None:
    try:
        for _ in range(400):
            connection.sendall(b"x")
            time.sleep(0.01)
    except OSError:
        return


def test_one_client_cannot_take_all_connections(open_line: OpenLine) -> None:
    line = open_line(connections=40)
    flood = [socket.create_connection(("127.0.0.1", line.page.server.port), timeout=5) for _ in range(60)]
    try:
        time.sleep(0.1)
        assert line.page.server.connections <= 10
        closed = 0
        for connection in flood[10:]:
            connection.settimeout(2)
            try:
                closed += connection.recv(1) == b""
            except ConnectionResetError:
                closed += 1
        assert closed == 50
    finally:
        for connection in flood:
            connection.close()


def test_a_client_that_reads_nothing_does_not_hold_a_thread(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "REQUEST_S", 0.4)
    line = open_line()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", line.page.server.port))
        connection.sendall(head(line, "GET /page.js HTTP/1.1") * 60)
        deadline = time.monotonic() + 5
        while line.page.server.connections:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_floods_are_answered_with_429(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [line.operator.post("/trigger", {"who": "Ann"}).status for _ in range(14)]
    assert statuses[:10] == [200] * 10 and 429 in statuses[10:]
    monkeypatch.setattr(line.page.server._listener.routes, "_reads", Rate(1, 3))
    statuses = [line.stranger.get("/healthz").status for _ in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 429]


def test_a_control_that_hangs_makes_others_wait_a_moment_only(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtgd_edge.runtime.page.commands._PATIENCE_S", 0.1)
    release, hangs = threading.Event(), threading.Event()

    def hang(who: str) -> None:
        hangs.set()
        release.wait(10)

    line = open_line(Controls(trigger=hang))
    first = threading.Thread(target=lambda: line.operator.post("/trigger", {"who": "Ann"}))
    first.start()
    try:
        assert hangs.wait(5)
        answer = line.operator.post("/trigger", {"who": "Bob"})
        assert answer.status == 503 and "busy" in json.loads(answer.body)["error"]
        assert line.stranger.get("/state.json").status == 200
    finally:
        release.set()
        first.join()
