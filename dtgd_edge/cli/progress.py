"""How far a long command has come, on stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dtgd_edge.cli.console import ERR, say

PLAIN_INTERVAL_S = 10.0


class Advance:
    """Moves a progress bar: `advance(done, total, note)`; another total begins anew."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, note="")
        self._total = 0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if total != self._total:
            self._total = total
            self._bar.reset(self._task, total=total)
        self._bar.update(self._task, completed=done, total=total, note=note)


class AdvancePlainly:
    """The same where no terminal can show a bar: a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = self._printed = time.monotonic()
        self._total = self._before = 0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if total != self._total:
            self._total, self._before, self._began = total, done - 1, self._printed
        if now - self._printed < PLAIN_INTERVAL_S:
            return
        self._printed = now
        left_s = (now - self._began) / (done - self._before) * (total - done)
        say(f"{self._title} {done}/{total} {note} about {left_s:.0f} s left")


@contextmanager
def progress_bar(title: str) -> Iterator[Advance | AdvancePlainly]:
    """Show progress on stderr while the block runs."""
    if not ERR.is_terminal:
        yield AdvancePlainly(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERR) as bar:
        yield Advance(bar, title)
