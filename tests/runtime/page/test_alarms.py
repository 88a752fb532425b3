from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.page.alarms import Alarms


def heard(*events: Event) -> Alarms:
    alarms = Alarms()
    for event in events:
        alarms.listen(event)
    return alarms


def down(detail: str, who: str = "") -> Event:
    return Event("sink down", detail, is_alarm=True, who=who)


def test_a_fault_is_open_until_its_end_is_told() -> None:
    lost = Event("source lost", "camera 0: unplugged", is_alarm=True)
    alarms = heard(lost)
    assert alarms.faults() == (lost,) and alarms.unseen() == ()
    alarms.listen(Event("source back", "after 3.0 s"))
    assert alarms.faults() == ()


def test_a_sink_that_comes_back_does_not_end_the_fault_of_another() -> None:
    alarms = heard(down("mqtt: no broker"), down("modbus: refused"))
    alarms.listen(Event("sink back", "mqtt: 3 verdicts were refused"))
    assert [fault.detail for fault in alarms.faults()] == ["modbus: refused"]


def test_a_part_of_the_line_that_tells_under_its_name_ends_its_own() -> None:
    alarms = heard(down("mqtt: no broker"), down("the disk is full", who="audit log"))
    alarms.listen(Event("sink back", "records again", who="audit log"))
    assert [fault.detail for fault in alarms.faults()] == ["mqtt: no broker"]


def test_who_asked_for_the_self_test_does_not_matter_for_its_end() -> None:
    alarms = heard(Event("self-test failed", "golden frame 2 is off", is_alarm=True))
    alarms.listen(Event("self-test passed", "3 golden frames", who="Ann"))
    assert alarms.faults() == ()


def test_the_same_fault_told_again_is_one() -> None:
    assert len(heard(down("mqtt: no broker"), down("mqtt: still none")).faults()) == 1


def test_other_alarms_stay_until_somebody_has_seen_them() -> None:
    moved = Event("light moved", "121 to 96", is_alarm=True)
    alarms = heard(moved, Event("run started", "x"))
    assert alarms.unseen() == (moved,)
    assert alarms.see() == 1 and alarms.unseen() == () and alarms.see() == 0
    assert [event.kind for event in alarms.recent()] == ["run started", "light moved"]


def test_many_events_fill_no_memory() -> None:
    alarms = heard(*(Event(f"kind {n}", "x", is_alarm=True) for n in range(1000)))
    assert len(alarms.recent()) == 200 and len(alarms.unseen()) == 50 and len(alarms.counts()) == 200
