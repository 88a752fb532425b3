"""The page as a browser reads it: whole, alone, complete, in order, and safe from file names."""

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.train.report import page_from_evaluation
from dtgd_edge.train.report.cards import SHOWN, WORST
from tests.train.report.conftest import NASTY, Case, made_case, made_parts

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Card:
    """A part as the page shows it."""

    style: str
    words: list[str] = field(default_factory=list)
    images: int = 0

    @property
    def score(self) -> float:
        return float(self.words[1])


class Reader(HTMLParser):
    """Reads a page; a tag that is closed out of turn is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.sections: dict[str, list[Card]] = {}
        self.divider_after: int | None = None
        self._card: Card | None = None
        self._section = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        assert not any(name.startswith("on") for name in values)
        self.links += [values[name] for name in ("src", "href", "xlink:href", "data") if name in values]
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "section":
            self._section = values.get("id", "")
            self.sections[self._section] = []
        style = values.get("class", "")
        if tag == "figure" and style.startswith("card"):
            self._card = Card(style)
            self.sections[self._section].append(self._card)
        if tag == "img" and self._card is not None:
            self._card.images += 1
        if style == "divider":
            self.divider_after = len(self.sections[self._section])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "figure":
            self._card = None

    def handle_data(self, data: str) -> None:
        if data.strip():
            (self._card.words if self._card is not None else self.words).append(data.strip())


@pytest.fixture
def html(case: Case) -> str:
    return page_from_evaluation(case.about, case.evaluation, case.album)


def test_it_needs_nothing_else(html: str) -> None:
    page = Reader(html)
    assert not page.tags & {"script", "iframe", "object", "embed", "base", "form"}
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.anchors
    plain = re.sub(r'data:image/[a-z]+;base64,[^"]*', "", html)
    assert not re.search(r"https?:|//\w|url\(|@import|\$\w", plain.replace("$title.png", ""))
    assert "default-src 'none'" in plain


def test_every_picture_is_a_small_jpeg(html: str, case: Case) -> None:
    uris = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" width="(\d+)" height="(\d+)"', html)
    assert len(uris) == 2 * (9 + 5 + 4)
    for content, width, height in uris:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (int(height), int(width), 3) and max(picture.shape) <= 448


def test_the_worst_come_first(html: str) -> None:
    sections = Reader(html).sections
    misses, alarms, everything = sections["misses"], sections["alarms"], sections["all"]
    assert [card.style.split()[-1] for card in misses] == ["missed", "missed", *["detected"] * 3]
    assert [card.words[0] for card in misses[1:3]] == ["OK, missed", "NG, detected"]
    assert [card.score for card in misses] == pytest.approx([0.3, 0.4, 0.6, 0.8, 0.9], abs=5e-3)
    assert [card.style.split()[-1] for card in alarms] == ["alarm", *["passed"] * 3]
    assert alarms[0].words[0] == "NG, false alarm"
    assert [card.score for card in alarms] == pytest.approx([0.7, 0.2, 0.1, 0], abs=5e-3)
    scores = [card.score for card in everything]
    assert len(scores) == 9 and scores == sorted(scores, reverse=True)
    assert all(card.images == 2 for card in [*misses, *alarms, *everything])


def test_the_threshold_divides_the_strip(html: str) -> None:
    page = Reader(html)
    assert page.divider_after == 4
    assert [card.words[0][:2] for card in page.sections["all"]] == ["NG"] * 4 + ["OK"] * 5


def test_the_numbers_are_the_evaluations(html: str, case: Case) -> None:
    words = Reader(html).words
    assert "3 of 5 defective parts" in words and "1 of 4 good parts" in words
    assert words[words.index("Image AUROC") + 1] == "0.850"
    assert words[words.index("Defects detected") + 1].replace("\u202f", " ") == "60 %"
    at = words.index("the threshold in use")
    assert words[at + 1 : at + 4] == ["0.5000", "3 of 5", "1 of 4"]
    kinds = words[words.index("Kinds of defects", words.index("Thresholds")) :]
    # Least detected first.
    assert kinds.index("stain") < kinds.index("<i>dent") < kinds.index("all kinds")
    assert "0" * 64 in words and "bundles/<b>tiny.dtgd (fp32)" in words
    assert case.evaluation.native.image_auroc == pytest.approx(0.85)


def test_names_stay_text(html: str) -> None:
    page = Reader(html)
    shown = {word for card in page.sections["all"] for word in card.words}
    assert NASTY in shown and "<i>dent" in shown
    assert "caf\\udce9.png" in shown
    assert "script" not in page.tags
    assert "<script" not in html and "<i>dent" not in html


def test_perfection_is_said_and_not_rounded_up(tmp_path: Path) -> None:
    perfect = made_case(made_parts(tmp_path, [("good", 0.1)] * 3 + [("pit", 0.9)] * 3))
    words = Reader(page_from_evaluation(perfect.about, perfect.evaluation, perfect.album)).words
    assert "Weakest detections" in words and "Good parts nearest to rejection" in words
    assert words[words.index("Image AUROC") + 1] == "1.000"
    assert "all kinds" not in words


@pytest.mark.parametrize("kind", ["good", "pit"])
def test_one_sort_of_parts_alone(tmp_path: Path, kind: str) -> None:
    alone = made_case(made_parts(tmp_path, [(kind, 0.1), (kind, 0.9), (kind, 0.6)]))
    page = Reader(page_from_evaluation(alone.about, alone.evaluation, alone.album))
    assert ("alarms" in page.sections, "misses" in page.sections) == (kind == "good", kind == "pit")
    assert len(page.sections["all"]) == 3
    assert "ROC curve of the parts" not in page.words and "Scores" in page.words


def test_a_defective_part_without_a_mask(case: Case) -> None:
    bare = [p if p.kind != "stain" else type(p)(p.path, True, p.kind) for p in case.parts]
    page = Reader(page_from_evaluation(case.about, (made := made_case(bare)).evaluation, made.album))
    assert any("2 of them without a mask" in word for word in page.words)
    assert len(page.sections["all"]) == 9


def test_a_large_set_shows_what_matters(tmp_path: Path) -> None:
    parts = made_parts(tmp_path, [("good", 0.2), ("good", 0.55), ("pit", 0.9), ("pit", 0.05), ("pit", 0.6)])
    good, alarm, sure, missed, _ = parts
    large = made_case([*[good] * 200, alarm, *[sure] * 200, missed])
    html = page_from_evaluation(large.about, large.evaluation, large.album)
    page = Reader(html)
    shown = page.sections["all"]
    assert len(shown) == SHOWN and len(page.sections["misses"]) == len(page.sections["alarms"]) == WORST
    assert {"missed", "alarm"} <= {card.style.split()[-1] for card in shown}
    # Right verdicts: 0.2 is nearer to the threshold than 0.9.
    assert sum(card.style.endswith("passed") for card in shown) == 200
    assert any(f"{SHOWN} are shown" in word for word in page.words)
