"""The parts of an evaluation as cards: the worst misses, the worst false alarms, all by score."""

import base64
from collections.abc import Iterator, Sequence

from dtgd_edge.sheet import safe
from dtgd_edge.train.evaluate import PartScore
from dtgd_edge.train.report.album import Album
from dtgd_edge.train.report.texts import parts as count_of
from dtgd_edge.train.report.texts import place, score
from dtgd_edge.verdict import Decision, decide

WORST = 12
# Above it the page would grow beyond what a phone or a mail takes.
SHOWN = 240


class Cards:
    """Makes the sections of cards.

    Args:
        parts: of the evaluation.
        album: their small pictures.
        threshold: a score above it is NG.
    """

    def __init__(self, parts: Sequence[PartScore], album: Album, threshold: float) -> None:
        self._parts = sorted(parts, key=lambda part: part.score, reverse=True)
        self._album = album
        self._threshold = threshold

    def sections(self) -> list[tuple[str, str, str]]:
        """Anchor, title and HTML of each section, the worst first."""
        return [*self._misses(), *self._alarms(), self._all()]

    def _misses(self) -> Iterator[tuple[str, str, str]]:
        defective = [part for part in reversed(self._parts) if part.is_defective]
        missed = sum(not self._is_ng(part) for part in defective)
        if missed:
            note = f"{count_of(missed, 'defective')} of {len(defective)} passed as OK. "
        else:
            note = "No defective part is missed. "
        note += "The lowest scores first; those above the threshold are detected."
        if defective:
            yield "misses", "Worst misses" if missed else "Weakest detections", self._worst(defective, note)

    def _alarms(self) -> Iterator[tuple[str, str, str]]:
        good = [part for part in self._parts if not part.is_defective]
        rejected = sum(self._is_ng(part) for part in good)
        if rejected:
            note = f"{count_of(rejected, 'good')} of {len(good)} rejected as NG. "
        else:
            note = "No good part is rejected. "
        note += "The highest scores first; those not above the threshold pass."
        if good:
            title = "Worst false alarms" if rejected else "Good parts nearest to rejection"
            yield "alarms", title, self._worst(good, note)

    def _worst(self, parts: Sequence[PartScore], note: str) -> str:
        shown = parts[:WORST]
        rest = f" Shown: {len(shown)} of {len(parts)}." if len(shown) < len(parts) else ""
        cards = "\n".join(self._card(part) for part in shown)
        return f'<p class="note">{note}{rest}</p>\n<div class="cards">\n{cards}\n</div>'

    def _all(self) -> tuple[str, str, str]:
        shown = set(map(id, sorted(self._parts, key=self._urgency)[:SHOWN]))
        cards = [(part.score, self._card(part)) for part in self._parts if id(part) in shown]
        above = sum(value > self._threshold for value, _ in cards)
        line = f"threshold {score(self._threshold)}: NG above, OK below"
        html = [card for _, card in cards]
        html.insert(above, f'<div class="divider">{line}</div>')
        note = f"{count_of(len(self._parts))}, the highest score first."
        if len(cards) < len(self._parts):
            note += (
                f" {len(cards)} are shown: every wrong verdict first, then those nearest to the threshold; "
                "the JSON file beside this page has all of them."
            )
        strip = f'<p class="note">{note}</p>\n<div class="cards strip">\n' + "\n".join(html) + "\n</div>"
        return "all", "All by score", strip

    def _urgency(self, part: PartScore) -> tuple[bool, float]:
        """Wrong verdicts first, the furthest from the threshold first; then right ones, the nearest first."""
        distance = abs(part.score - self._threshold)
        is_right = self._is_ng(part) == part.is_defective
        return is_right, distance if is_right else -distance

    def _card(self, part: PartScore) -> str:
        thumbs = self._album[part.path]
        height, width = thumbs.size_hw
        name = safe(place(part.path))
        is_ng = self._is_ng(part)
        status = (
            ("detected" if is_ng else "missed") if part.is_defective else ("alarm" if is_ng else "passed")
        )
        said = f"{'NG' if is_ng else 'OK'}, {'false alarm' if status == 'alarm' else status}"
        images = "".join(
            f'<img src="{data_uri(jpeg)}" width="{width}" height="{height}" alt="{what} {name}">'
            for what, jpeg in (("Picture of", thumbs.picture), ("Heat map of", thumbs.heat))
        )
        return (
            f'<figure class="card sheet {status}"><div class="images">{images}</div>'
            f'<figcaption><div class="verdict"><span class="badge">{said}</span>'
            f"<b>{score(part.score)}</b></div>"
            f'<div class="file" title="{safe(part.path)}"><span>{safe(part.kind)}</span> '
            f"{safe(part.path.name)}</div></figcaption></figure>"
        )

    def _is_ng(self, part: PartScore) -> bool:
        return decide(part.score, self._threshold) is Decision.NG


def data_uri(content: bytes, kind: str = "jpeg") -> str:
    """A picture inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
