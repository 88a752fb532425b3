"""The page in a real browser: what an operator sees and presses."""

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.page import Controls
from dtgd_edge.runtime.source import Frame
from tests.runtime.page.browser import NAMES, Tab, chromium, open_tab
from tests.runtime.page.conftest import Line, OpenLine

pytestmark = pytest.mark.skipif(
    chromium() is None, reason=f"no browser is installed; looked for {', '.join(NAMES)}"
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with open_tab() as opened:
        yield opened


class Running:
    """A line that judges ten parts a second, every fifth of them NG, until it is stopped."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.score_of = lambda index: 3.0 if index % 5 == 4 else 1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for index in itertools.count():
            # Every frame has another grey, so that pictures differ.
            frame = Frame(np.full((48, 64, 3), index % 200, np.uint8), index)
            self.line.judge(self.score_of(index), index, frame=frame)
            if self._stop.wait(0.1):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def running(open_line: OpenLine) -> Iterator[Running]:
    holder: list[Line] = []
    tested: list[object] = []

    def change(value: float, reason: str, who: str) -> None:
        holder[0].inspector.threshold = value

    holder.append(
        open_line(
            Controls(
                change_threshold=change,
                trigger=tested.append,
                test_output=lambda decision, who: tested.append(decision.value),
            )
        )
    )
    run = Running(holder[0])
    try:
        yield run
    finally:
        run.stop()


def text(tab: Tab, selector: str) -> str:
    return str(tab.evaluate(f"document.querySelector('{selector}').innerText"))


def test_counters_picture_and_state_follow_the_line(tab: Tab, running: Running) -> None:
    tab.go(running.line.page.server.url)
    tab.until("Number(document.getElementById('count-OK').textContent) > 3")
    tab.until("Number(document.getElementById('count-NG').textContent) > 0")
    tab.until("document.getElementById('live').naturalWidth === 64")
    first = tab.evaluate("picture.sequence")
    tab.until(f"picture.sequence > {first} + 3")
    tab.until("document.querySelectorAll('.reject img').length > 0")
    running.score_of = lambda index: 1.0
    tab.until("document.getElementById('word').textContent === 'OK'")
    assert text(tab, "#live-what") == "live" and text(tab, "#health") == "line healthy"
    running.score_of = lambda index: 3.0
    tab.until("document.getElementById('verdict').className === 'verdict NG'")
    assert tab.evaluate("document.getElementById('shape').getAttribute('href')") == "#shape-NG"
    running.score_of = lambda index: None
    tab.until("document.getElementById('word').textContent === 'NO DECISION'")
    assert "black: no light" in text(tab, "#score-line")
    assert tab.evaluate("document.title").startswith("NO DECISION")
    assert tab.errors == []


def test_the_word_is_readable_from_two_metres(tab: Tab, running: Running) -> None:
    tab.go(running.line.page.server.url)
    tab.until("document.getElementById('word').textContent === 'OK'")
    for width, height in ((1280, 800), (820, 1180), (1180, 820)):
        tab.show_as(width, height)
        # A letter of 1/200 of the distance can be read: 10 mm, 38 px of CSS.
        size = tab.evaluate("parseFloat(getComputedStyle(document.getElementById('word')).fontSize)")
        assert size * 0.7 > 2 * 38
        box = tab.evaluate("document.getElementById('verdict').getBoundingClientRect().toJSON()")
        assert box["top"] >= 0 and box["bottom"] < height / 2 and box["right"] <= width
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        small = tab.evaluate(
            "[...document.querySelectorAll('button, input')].filter(e => e.offsetParent)"
            ".filter(e => Math.min(e.offsetWidth, e.offsetHeight) < 44).map(e => e.outerHTML)"
        )
        assert small == []


def test_a_lost_line_never_looks_live(tab: Tab, running: Running) -> None:
    tab.show_as(1280, 800)
    tab.go(running.line.page.server.url)
    tab.until("document.getElementById('live-what').textContent === 'live'")
    running.line.page.server.close()
    tab.until("document.getElementById('word').textContent === 'OFFLINE'", within_s=6)
    assert tab.evaluate("document.body.classList.contains('stale-picture')")
    assert text(tab, "#live-what") == "NOT LIVE" and "No connection" in text(tab, "#lost")
    assert tab.evaluate("document.getElementById('verdict').className") == "verdict none old"
    assert "grayscale" in tab.evaluate("getComputedStyle(document.getElementById('live')).filter")


def test_a_line_that_waits_shows_how_old_its_last_verdict_is(tab: Tab, line: Line) -> None:
    line.judge(3.0)
    tab.go(line.page.server.url)
    tab.until("document.getElementById('word').textContent === 'NG'")
    tab.until("document.getElementById('verdict').className === 'verdict NG old'", within_s=6)
    tab.until("document.getElementById('live-what').textContent === 'NOT LIVE'")
    assert "waiting for the next part" in text(tab, "#part-line")
    assert tab.evaluate("document.getElementById('lost').hidden")


def test_without_a_login_there_are_no_buttons(tab: Tab, running: Running) -> None:
    tab.call("Network.clearBrowserCookies")
    tab.go(running.line.page.server.url)
    tab.until("state !== null && !document.getElementById('log-in').hidden")
    shown = tab.evaluate("[...document.querySelectorAll('#actions button')].filter(b => !b.hidden).length")
    assert shown == 0 and "Log in" in text(tab, "#said")


def test_the_threshold_is_changed_with_the_keyboard(tab: Tab, running: Running) -> None:
    line = running.line
    tab.go(line.page.server.login_url)
    tab.until("state !== null && !document.getElementById('open-threshold').hidden")
    assert line.token not in tab.evaluate("location.href")
    tab.until("trend.points.length > 6")
    tab.evaluate("document.getElementById('open-threshold').focus()")
    tab.press("Enter")
    tab.until("document.getElementById('threshold-dialog').open")
    tab.write("#threshold-value", "3.5")
    tab.until("document.getElementById('threshold-effect').textContent.includes(', 0 would be NG')")
    tab.write("#threshold-reason", "new lot of castings")
    tab.write("#threshold-form .who", "Ann")
    tab.press("Enter")
    tab.until("!document.getElementById('threshold-dialog').open")
    assert line.inspector.threshold == 3.5
    changed = [event for event in line.told if event.kind == "threshold changed"]
    assert [event.who for event in changed] == ["Ann (page, 127.0.0.1)"]
    assert changed[0].detail == "from 2 to 3.5, because: new lot of castings"
    tab.until("document.getElementById('events').innerText.includes('new lot of castings')")
    tab.until("document.getElementById('about').innerText.includes('changed by hand')")
    assert tab.errors == []


def test_outputs_are_tested_by_pressing_twice(tab: Tab, running: Running) -> None:
    tab.go(running.line.page.server.login_url)
    tab.until("state !== null && !document.getElementById('open-test').hidden")
    tab.click("#open-test")
    tab.until("document.getElementById('test-dialog').open")
    tab.write("#test-dialog .who", "Ann")
    tab.click(".test.NG")
    tab.until("document.querySelector('.test.NG').classList.contains('armed')")
    assert not [event for event in running.line.told if event.kind == "output tested"]
    tab.click(".test.NG")
    deadline = time.monotonic() + 5
    while not [event for event in running.line.told if event.kind == "output tested"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    tab.press("Escape")
    tab.until("!document.getElementById('test-dialog').open")


def test_rejects_are_shown_large_with_their_regions(tab: Tab, running: Running) -> None:
    tab.go(running.line.page.server.url)
    tab.until("document.querySelectorAll('.reject img').length > 1")
    tab.click(".reject")
    tab.until("document.getElementById('reject-picture').naturalWidth === 64")
    facts = text(tab, "#reject-facts")
    assert "20 \u00d7 14 px at 10, 12" in facts and "threshold 2.00" in facts
    before = tab.evaluate("shownReject")
    tab.press("ArrowRight")
    tab.until(f"shownReject < {before}")
    tab.press("Escape")
    tab.until("!document.getElementById('reject-dialog').open")


def test_alarms_stand_above_everything_as_plain_text(tab: Tab, running: Running) -> None:
    tab.go(running.line.page.server.login_url)
    tab.until("state !== null && !document.getElementById('open-test').hidden")
    attack = "<img src=x onerror='window.attacked = true'>"
    running.line.events.tell(Event("light moved", f"check the lamp {attack}", is_alarm=True))
    tab.until("!document.getElementById('alarm').hidden")
    assert attack in text(tab, "#alarm-list")
    assert tab.evaluate("window.attacked") is None
    tab.evaluate("localStorage.setItem('dtgd-who', 'Ann')")
    tab.click("#seen")
    tab.until("document.getElementById('alarm').hidden")


def test_a_line_that_was_started_again_is_shown_from_its_beginning(tab: Tab, open_line: OpenLine) -> None:
    first = open_line()
    for index in range(6):
        first.judge(1.0, index)
    port = first.page.server.port
    tab.go(first.page.server.url)
    tab.until("trend.points.length === 6 && picture.sequence === 6")
    first.page.close()
    second = open_line(address=f"127.0.0.1:{port}")
    for index in range(6):
        second.judge(3.0, index)
    tab.until("document.getElementById('word').textContent === 'NG'")
    tab.until("trend.points.length === 6 && trend.points.every(point => point[3] === 'NG')")
