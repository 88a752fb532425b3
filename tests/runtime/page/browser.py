"""A headless Chromium, driven through its DevTools protocol."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_S, _ANSWER_S = 60.0, 30.0


def chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab: what a person could do in it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one command of the protocol and wait for its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of the page; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, expression: str, within_s: float = 20.0) -> Any:
        """Wait until an expression is true; its value."""
        deadline = time.monotonic() + within_s
        while True:
            with suppress(AssertionError):  # while another page is being loaded
                if value := self.evaluate(expression):
                    return value
            assert time.monotonic() < deadline, f"{expression} did not become true; errors: {self.errors}"
            time.sleep(0.05)

    def go(self, url: str) -> None:
        """Open a page; errors are those since then."""
        self.call("Page.navigate", url=url)
        self.errors.clear()

    def show_as(self, width: int, height: int, scheme: str = "light") -> None:
        """Take a size in pixels and a colour scheme, as a tablet or a desktop would have."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def click(self, selector: str) -> None:
        """Click in the middle of an element with a real mouse event."""
        at = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def write(self, selector: str, text: str) -> None:
        """Replace a field's text with the keyboard's events."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.click_into(selector)
        self.call("Input.insertText", text=text)

    def click_into(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowRight": 39}
        text = {"text": "\r"} if key == "Enter" else {}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        """Remember what a developer's console would show in red."""
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.errors.append(str(message["params"]["entry"]))


@contextmanager
def open_tab() -> Iterator[Tab]:
    """Start a Chromium with a profile of its own, and end it with all its processes."""
    binary = chromium()
    assert binary is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = (
            "headless=new no-sandbox disable-gpu no-first-run disable-extensions disable-dev-shm-usage "
            "disable-background-networking disable-component-update disable-background-timer-throttling "
            "hide-scrollbars remote-debugging-port=0"
        )
        command = [binary, *(f"--{flag}" for flag in flags.split()), f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [*command, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with connect(_socket_url(Path(profile)), max_size=None, proxy=None) as socket:
                yield Tab(socket)
                with suppress(WebSocketException, AssertionError):
                    socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
        finally:
            with suppress(subprocess.TimeoutExpired):
                process.wait(3)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _socket_url(profile: Path) -> str:
    """The address of the first tab, once Chromium has written which port it took."""
    deadline, chosen = time.monotonic() + _START_S, profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        with suppress(OSError, IndexError, StopIteration):
            port = chosen.read_text().splitlines()[0]
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.loads(answer.read())
            return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start within {_START_S:.0f} s")
