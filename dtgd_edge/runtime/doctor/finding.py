"""What every check of the doctor returns."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        is_usable: whether a line can use it here.
        detail: what was found, or why it cannot be used.
        fix: what to do about it; "" if nothing.
    """

    name: str
    is_usable: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a bundle would run on this machine, and everything that was looked at.

    Attributes:
        runs_on: device and library, for people: "CPU (ONNX Runtime 1.32.0)".
        backend: what "auto" is here.
        reason: why.
        findings: in the order in which a line needs them.
    """

    runs_on: str
    backend: str
    reason: str
    findings: tuple[Finding, ...]


def file_text(path: Path) -> str:
    """A file's text without what device trees put at the end; "" if it cannot be read."""
    try:
        return path.read_text(errors="replace").rstrip("\0\n ")
    except OSError:
        return ""


def version_of(text: str) -> tuple[int, ...]:
    """Numbers of a version, as far as they go: (10, 3, 0) of "10.3.0", (13,) of "13.x"."""
    numbers = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
