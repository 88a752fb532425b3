"""Makes room among the kept pictures: the oldest first, OK before the others."""

import heapq
import os
import re
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

# 2026-11-28/20261128T044012123_1a2b3c4d_000123_NG.png
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_STEM = re.compile(r"\d{8}T\d{9}_[0-9a-f]{8}_\d{6,}_(OK|NG|NO_DECISION)")
_SUFFIXES = (".png", ".jpg")
_MIB = 1 << 20


@dataclass(order=True, slots=True)
class Kept:
    """A picture of the archive and what lies beside it.

    Attributes:
        stem: sorts by time.
        day: its folder.
        size_bytes: of all its files.
    """

    stem: str
    day: str
    size_bytes: int = field(compare=False)


def stamp(wall_ns: int) -> str:
    """UTC to the millisecond: how stems begin, so that they sort by time."""
    made = datetime.fromtimestamp(wall_ns / 1e9, timezone.utc)
    return f"{made:%Y%m%dT%H%M%S}{made.microsecond // 1000:03d}"


class Retention:
    """Knows the pictures of one folder and deletes those beyond the limits; never a file with another name.

    Args:
        folder: of the archive.
        days: age limit, by the time in the name.
        max_mib: size limit of all of them.
        min_free_mib: of the disk; pictures give way to the audit log.
    """

    def __init__(self, folder: Path, days: float, max_mib: int, min_free_mib: int) -> None:
        self._folder = folder
        self._age_ns = round(days * 86_400e9)
        self._max_bytes = max_mib * _MIB
        self._min_free_bytes = min_free_mib * _MIB
        self._good: list[Kept] = []
        self._other: list[Kept] = []
        self.size_bytes = 0

    def scan(self) -> None:
        """Find what earlier runs kept; raises OSError."""
        found: dict[tuple[str, str], int] = {}
        for day in os.scandir(self._folder):
            if not day.is_dir(follow_symlinks=False) or not _DAY.fullmatch(day.name):
                continue
            for file in os.scandir(day.path):
                stem, suffix = os.path.splitext(file.name)
                if suffix in _SUFFIXES and _STEM.fullmatch(stem) and file.is_file(follow_symlinks=False):
                    found[day.name, stem] = found.get((day.name, stem), 0) + file.stat().st_size
        for (day_name, stem), size_bytes in found.items():
            self.add(Kept(stem, day_name, size_bytes))

    def add(self, kept: Kept) -> None:
        """Take a picture into account."""
        heapq.heappush(self._good if kept.stem.endswith("_OK") else self._other, kept)
        self.size_bytes += kept.size_bytes

    def prune(self, wall_ns: int) -> int:
        """Delete what is too old or too much.

        Args:
            wall_ns: time.time_ns(), for the age.

        Returns:
            Number of pictures deleted.

        Raises:
            OSError: one cannot be deleted; it is forgotten, so that the next call goes on with others.
        """
        oldest = stamp(max(0, wall_ns - self._age_ns))
        deleted = 0
        for heap in (self._good, self._other):
            while heap and heap[0].stem < oldest:
                self._delete(heap)
                deleted += 1
        while (self._good or self._other) and self._is_too_much():
            self._delete(self._good or self._other)
            deleted += 1
        return deleted

    def has_room(self) -> bool:
        """Whether the disk may take another picture; raises OSError."""
        return shutil.disk_usage(self._folder).free >= self._min_free_bytes

    def _is_too_much(self) -> bool:
        return self.size_bytes > self._max_bytes or not self.has_room()

    def _delete(self, heap: list[Kept]) -> None:
        kept = heapq.heappop(heap)
        self.size_bytes -= kept.size_bytes
        day = self._folder / kept.day
        for suffix in _SUFFIXES:
            (day / f"{kept.stem}{suffix}").unlink(missing_ok=True)
        if not os.listdir(day):
            day.rmdir()
