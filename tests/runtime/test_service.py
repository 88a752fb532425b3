"""What a service manager hears, at a real socket."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.runtime.service import Service
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """A service manager's socket, in a folder whose path is short enough for one."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(Path(folder) / "notify"))
        bound.setblocking(False)
        yield bound


def heard(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_a_line_tells_its_life(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}
    with Service.from_environment(environment) as service:
        service.ready("camera 0\nopen")
        for decision in (Decision.OK, Decision.OK, Decision.NG):
            service.write(Verdict(decision, 0, 1.0), Frame(np.zeros((2, 2)), 0))
        service.turned()
        service.turned()
        service.stopping("end of source")
    assert heard(manager) == [
        "READY=1\nSTATUS=camera 0 open",
        "WATCHDOG=1\nSTATUS=2 OK, 1 NG, 0 NO_DECISION",
        "STOPPING=1\nSTATUS=end of source",
    ]


def test_life_is_told_three_times_within_the_limit(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Service(manager.getsockname(), watchdog_s=3.0) as service:
        for _ in range(90):
            service.turned()
            now += 0.1
    assert len(heard(manager)) == 9


def test_nobody_watches(manager: socket.socket) -> None:
    watched = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}
    for environment in (
        {"NOTIFY_SOCKET": manager.getsockname()},
        {**watched, "WATCHDOG_PID": str(os.getpid() + 1)},
        {**watched, "WATCHDOG_USEC": "0"},
    ):
        with Service.from_environment(environment) as service:
            service.turned()
        assert heard(manager) == ["STATUS=0 OK, 0 NG, 0 NO_DECISION"]


def test_the_abstract_namespace() -> None:
    name = f"dtgd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        with Service(f"@{name}") as service:
            service.ready("open")
        assert bound.recv(4096) == b"READY=1\nSTATUS=open"


def test_without_a_manager_nothing_happens() -> None:
    with Service.from_environment({}) as service:
        service.ready("open")
        service.turned()


def test_a_manager_that_went_away_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Service(str(tmp_path / "nobody"), watchdog_s=1.0) as service:
        service.ready("open")
        service.stopping("end")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_manager_that_does_not_read_does_not_stop_the_line(manager: socket.socket) -> None:
    with Service(manager.getsockname()) as service:
        for _ in range(2000):  # more than the socket's buffer holds
            service.ready("x" * 500)
    assert len(heard(manager)) < 2000
