import logging

import pytest

from dtgd_edge.runtime.event import Event, Events


def test_every_listener_hears_every_event_in_order() -> None:
    events, heard = Events(), []
    events.listen(lambda event: heard.append(("a", event.kind)))
    events.listen(lambda event: heard.append(("b", event.kind)))
    events.tell(Event("source lost", "the cable"))
    events.tell(Event("source back", "after 2 s"))
    assert heard == [("a", "source lost"), ("b", "source lost"), ("a", "source back"), ("b", "source back")]


def test_a_listener_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    events, heard = Events(), []

    def fails(event: Event) -> None:
        raise RuntimeError("broken")

    events.listen(fails)
    events.listen(heard.append)
    with caplog.at_level(logging.INFO):
        events.tell(Event("drift", "scores rose", is_alarm=True))
    assert [event.kind for event in heard] == ["drift"]
    assert "scores rose" in caplog.text and "broken" in caplog.text


def test_an_event_knows_when_it_was_made() -> None:
    first, second = Event("a", ""), Event("b", "")
    assert 0 < first.at_ns <= second.at_ns
