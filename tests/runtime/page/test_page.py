"""What the page says about a line, and what its buttons do; over plain HTTP."""

import logging
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.page import Controls, SourceFacts, SwapOffer
from dtgd_edge.verdict import Decision
from tests.runtime.page.conftest import Line, OpenLine

ANN = {"who": "Ann"}


def test_the_page_and_all_that_it_needs_come_from_the_line(line: Line) -> None:
    page = line.stranger.get("/")
    assert page.status == 200 and page.headers.get_content_type() == "text/html"
    for path in ("/page.css", "/page.js", "/trend.js", "/icon.svg", "/login", "/login.js"):
        asset = line.stranger.get(path)
        assert asset.status == 200 and asset.body
        foreign = [part for part in (b"//fonts", b"https:", b"@import", b"cdn") if part in asset.body]
        assert not foreign, f"{path} has {foreign}"
    assert b"<script>" not in page.body and b"style=" not in page.body and b"onclick" not in page.body


def test_the_state_before_the_first_verdict(line: Line) -> None:
    state = line.stranger.get("/state.json").json
    assert state["verdict"] is None and state["health"] == {"status": "waiting", "reasons": []}
    assert state["bundle"]["name"] == "tiny" and state["threshold"]["value"] == 2.0
    assert state["threshold"]["promise"].startswith("none about false rejects")
    assert line.stranger.get("/live.jpg").status == 204


def test_the_state_after_some_verdicts(line: Line) -> None:
    for index, score in enumerate([1.0, 3.0, None]):
        line.judge(score, index, part=index + 7)
    state = line.stranger.get("/state.json").json
    assert state["counts"] == {"OK": 1, "NG": 1, "NO_DECISION": 1} and state["sequence"] == 3
    assert state["verdict"]["decision"] == "NO_DECISION" and state["verdict"]["part"] == 9
    assert state["verdict"]["reason"] == "black: no light" and state["verdict"]["age_s"] < 5
    assert state["trend"] == [[1, 1.0, 2.0, "OK"], [2, 3.0, 2.0, "NG"], [3, None, 2.0, "NO_DECISION"]]
    assert [(r["id"], r["decision"]) for r in state["rejects"]] == [(3, "NO_DECISION"), (2, "NG")]
    assert state["rejects"][1]["regions"][0]["width"] == 20
    assert state["latency_ms"]["p99"] == 7.5


def test_only_newer_points_of_the_trend_are_sent(line: Line) -> None:
    for index in range(5):
        line.judge(1.0, index)
    assert [point[0] for point in line.stranger.get("/state.json?after=3").json["trend"]] == [4, 5]
    for query in ("after=x", "after=-3", "after=" + "9" * 500, "a=1&" * 3, "after"):
        assert len(line.stranger.get(f"/state.json?{query}").json["trend"]) == 5


def test_the_live_picture_tells_its_age_and_is_sent_once(line: Line) -> None:
    line.judge(3.0, 4)
    picture = line.stranger.get("/live.jpg")
    assert picture.status == 200 and picture.body.startswith(b"\xff\xd8")
    assert picture.headers["X-Sequence"] == "1" and 0 <= int(picture.headers["X-Age-Ms"]) < 5000
    assert picture.headers["X-Decision"] == "NG" and picture.headers["X-Frame"] == "4"
    again = line.stranger.get("/live.jpg?after=1")
    assert again.status == 204 and int(again.headers["X-Age-Ms"]) >= int(picture.headers["X-Age-Ms"])


def test_rejects_can_be_looked_at(line: Line) -> None:
    line.judge(3.0)
    deadline = time.monotonic() + 5
    while not line.stranger.get("/state.json").json["rejects"][0]["has_picture"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for name in ("picture", "thumbnail"):
        assert line.stranger.get(f"/rejects/1/{name}.jpg").body.startswith(b"\xff\xd8")
    assert line.stranger.get("/rejects/2/picture.jpg").status == 404


def test_events_and_alarms_are_shown_until_they_are_seen(line: Line) -> None:
    line.events.tell(Event("light moved", "121 to 96; check the lamp", is_alarm=True))
    state = line.operator.get("/state.json").json
    assert [alarm["kind"] for alarm in state["alarms"]] == ["light moved"]
    assert line.operator.post("/seen", ANN).status == 200
    assert line.operator.get("/state.json").json["alarms"] == []
    kinds = [event["kind"] for event in line.operator.get("/events").json["events"]]
    assert kinds == ["alarms seen", "light moved"]


def test_a_threshold_is_changed_with_a_reason_by_somebody(line: Line) -> None:
    assert line.operator.post("/threshold", {"value": 2.5, "reason": "new lot", **ANN}).status == 200
    assert line.inspector.threshold == 2.5
    told = line.told[-1]
    assert told.kind == "threshold changed" and told.who == "Ann (page, 127.0.0.1)"
    assert told.detail == "from 2 to 2.5, because: new lot" and not told.is_alarm
    threshold = line.stranger.get("/state.json").json["threshold"]
    assert threshold["value"] == 2.5 and threshold["bundle_value"] == 2.0
    assert threshold["promise"].startswith("none: the threshold was changed by hand")


@pytest.mark.parametrize(
    "values",
    [
        {"value": 2.5, "reason": "new lot"},
        {"value": 2.5, "reason": "new lot", "who": "  "},
        {"value": 2.5, "reason": "new lot", "who": "x" * 61},
        {"value": 2.5, "reason": "new lot", "who": "Ann\x1b[2J"},
        {"value": 2.5, "reason": "", **ANN},
        {"value": 2.5, "reason": 5, **ANN},
        {"reason": "new lot", **ANN},
        {"value": "2.5", "reason": "new lot", **ANN},
        {"value": True, "reason": "new lot", **ANN},
        {"value": 10**400, "reason": "new lot", **ANN},
    ],
)
def test_a_change_without_name_reason_or_number_is_refused(line: Line, values: dict[str, object]) -> None:
    answer = line.operator.post("/threshold", values)
    assert answer.status == 400 and "expected" in answer.json["error"]
    assert line.inspector.threshold == 2.0 and not line.told


def test_not_a_number_is_no_threshold(line: Line) -> None:
    body = b'{"value": NaN, "reason": "new lot", "who": "Ann"}'
    assert line.operator.post("/threshold", body).status == 400
    assert line.inspector.threshold == 2.0


def test_a_reason_cannot_forge_lines_of_a_log(line: Line) -> None:
    values = {"value": 2.5, "reason": "new lot\n2026-01-01 threshold changed", **ANN}
    assert line.operator.post("/threshold", values).status == 200
    assert "\n" not in line.told[-1].detail


def test_what_a_control_refuses_is_told_in_its_own_words(open_line: OpenLine) -> None:
    def refuse(value: float, reason: str, who: str) -> None:
        raise ConfigError("threshold 0 was given; expected one above 0; correct it")

    line = open_line(Controls(change_threshold=refuse))
    answer = line.operator.post("/threshold", {"value": 0, "reason": "a try", **ANN})
    assert answer.status == 409
    assert answer.json == {"error": "threshold 0 was given; expected one above 0; correct it"}
    assert line.told[-1].kind == "threshold not changed" and line.told[-1].who.startswith("Ann")


def test_a_control_that_breaks_shows_no_stack(open_line: OpenLine, caplog: pytest.LogCaptureFixture) -> None:
    def break_down(who: str) -> None:
        raise RuntimeError("secret of the driver")

    line = open_line(Controls(trigger=break_down))
    answer = line.operator.post("/trigger", ANN)
    assert answer.status == 500 and b"secret" not in answer.body and b"Traceback" not in answer.body
    assert "secret of the driver" in caplog.text and line.told[-1].kind == "trigger not pressed"


def test_buttons_reach_the_line(open_line: OpenLine) -> None:
    done: list[object] = []
    line = open_line(
        Controls(
            trigger=lambda who: done.append(("trigger", who)),
            test_output=lambda decision, who: done.append((decision, who)),
            swap_offer=lambda: SwapOffer("tiny v2", "agreed on all of 40 parts"),
            switch=lambda who, reason: done.append(("switch", who, reason)),
            rollback=lambda who, reason: done.append(("rollback", who, reason)),
        )
    )
    controls = line.operator.get("/state.json").json["controls"]
    assert controls["offer"] == {"name": "tiny v2", "report": "agreed on all of 40 parts", "is_ready": True}
    assert controls["switch"] and controls["rollback"] and controls["trigger"] and not controls["threshold"]
    for path, values in (
        ("/trigger", {}),
        ("/test-output", {"decision": "NG"}),
        ("/switch", {"reason": "better"}),
        ("/rollback", {"reason": "worse"}),
    ):
        assert line.operator.post(path, {**values, **ANN}).status == 200, path
    who = "Ann (page, 127.0.0.1)"
    assert done == [
        ("trigger", who),
        (Decision.NG, who),
        ("switch", who, "better"),
        ("rollback", who, "worse"),
    ]
    kinds = [event.kind for event in line.told]
    assert kinds == ["trigger pressed", "output tested", "switch asked for", "rollback asked for"]
    assert line.operator.post("/test-output", {"decision": "MAYBE", **ANN}).status == 400


def test_what_the_line_has_not_cannot_be_pressed(open_line: OpenLine) -> None:
    line = open_line()
    bodies = {
        "/threshold": {"value": 1, "reason": "a try"},
        "/trigger": {},
        "/test-output": {"decision": "OK"},
        "/switch": {"reason": "a try"},
        "/rollback": {"reason": "a try"},
    }
    for path, values in bodies.items():
        assert line.operator.post(path, {**values, **ANN}).status == 404, path
    assert not any(line.operator.get("/state.json").json["controls"].values()) and not line.told


def test_a_swap_that_cannot_be_asked_about_does_not_hide_the_rest(open_line: OpenLine) -> None:
    def fail() -> SwapOffer | None:
        raise BackendError("the candidate's session failed")

    controls = open_line(Controls(swap_offer=fail)).operator.get("/state.json").json["controls"]
    assert controls["offer"] is None and controls["offer_fault"] == "the candidate's session failed"


def test_waiting_is_healthy_and_a_fault_is_not(line: Line) -> None:
    assert line.stranger.get("/healthz").status == 200
    line.events.tell(Event("source lost", "camera 0: unplugged", is_alarm=True))
    sick = line.stranger.get("/healthz")
    assert sick.status == 503 and sick.json["reasons"] == ["source lost: camera 0: unplugged"]
    line.events.tell(Event("source back", "after 3 s"))
    line.judge()
    assert line.stranger.get("/healthz").json["status"] == "running"


def test_the_silence_of_a_live_source_is_a_fault(open_line: OpenLine) -> None:
    live = SourceFacts("camera 0", is_live=True)
    quiet = open_line(source=live, silence_limit_s=0.05)
    triggered = open_line(source=live, silence_limit_s=0)
    folder = open_line(source=SourceFacts("folder"), silence_limit_s=0.05)
    time.sleep(0.1)
    assert quiet.stranger.get("/healthz").json["reasons"][0].startswith("silence: no frame for")
    assert triggered.stranger.get("/healthz").status == folder.stranger.get("/healthz").status == 200


def test_a_line_that_cannot_judge_is_not_healthy(line: Line) -> None:
    for index in range(25):
        assert line.stranger.get("/healthz").status == 200
        line.judge(None, index)
    assert "black: no light" in line.stranger.get("/healthz").json["reasons"][0]
    line.judge(1.0, 25)
    assert line.stranger.get("/healthz").status == 200


def test_prometheus_understands_the_metrics(line: Line) -> None:
    for index, score in enumerate([1.0, 1.0, 3.0, None]):
        line.judge(score, 2 * index)
    line.events.tell(Event("sink down", 'mqtt: "no broker"\\\n', is_alarm=True, who='a "b"'))
    line.events.tell(Event("source back", "after 3 s"))
    answer = line.stranger.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.body.decode()))
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    assert all(family.documentation for family in families)
    assert values["dtgd_verdicts_total", (("decision", "OK"),)] == 2
    assert values["dtgd_no_decision_total", (("reason", "black"),)] == 1
    assert values["dtgd_latency_seconds_count", ()] == 3
    assert values["dtgd_latency_seconds_sum", ()] == pytest.approx(0.0225)
    assert values["dtgd_latency_seconds_bucket", (("le", "0.01"),)] == 3
    assert values["dtgd_latency_seconds_bucket", (("le", "0.005"),)] == 0
    assert values["dtgd_score_ratio_bucket", (("le", "1"),)] == 2
    assert values["dtgd_frames_without_verdict_total", ()] == 3
    assert values["dtgd_reconnects_total", ()] == 1
    assert values["dtgd_fault_open", (("kind", "sink down"), ("who", 'a "b"'))] == 1
    assert values["dtgd_threshold", ()] == 2.0 and values["dtgd_healthy", ()] == 0
    assert values["dtgd_last_verdict_age_seconds", ()] < 5


def test_taking_a_verdict_costs_the_line_next_to_nothing(line: Line) -> None:
    def seconds(count: int) -> float:
        begun = time.perf_counter()
        for index in range(count):
            line.judge(1.0, index)
        return time.perf_counter() - begun

    seconds(50)
    # Most of this is the test's own verdict and frame; drawing one picture takes longer.
    assert min(seconds(200) for _ in range(5)) / 200 < 1e-3


def test_a_closed_page_is_gone_and_closing_twice_is_fine(line: Line) -> None:
    line.page.close()
    line.page.close()
    with pytest.raises(OSError):
        line.stranger.get("/")


def test_an_address_that_is_taken_is_one_sentence(line: Line, open_line: OpenLine) -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        open_line(address=f"127.0.0.1:{line.page.server.port}")


def test_requests_are_not_logged_with_their_secrets(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        line.operator.get("/state.json")
        line.stranger.log_in(line.token)
    assert line.token not in caplog.text
