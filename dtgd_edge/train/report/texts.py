"""Numbers and names as the page writes them."""

from pathlib import Path

DASH = "-"
_ROUNDING = 1e-9
_SPACE = "\u202f"  # narrow, and no line ends there


def number(value: float | None, digits: int = 3) -> str:
    """A measure in [0, 1]; what is less than perfect never reads 1, what is more than nothing never 0."""
    if value is None:
        return DASH
    least = 10.0**-digits
    is_end = value < _ROUNDING or value > 1 - _ROUNDING
    shown = value if is_end else min(max(value, least), 1 - least)
    return f"{shown:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in per cent, as careful at its ends as `number`."""
    if value is None:
        return DASH
    shown = min(max(value, 0.001), 0.999) if 0 < value < 1 else value
    return f"{shown * 100:.1f}".removesuffix(".0") + f"{_SPACE}%"


def score(value: float) -> str:
    """A score or a threshold: four digits, whatever its size."""
    return f"{value:#.4g}".rstrip(".")


def parts(count: int, word: str = "") -> str:
    """`1 defective part`, `3 defective parts`."""
    return " ".join(filter(None, (str(count), word, "part" if count == 1 else "parts")))


def place(path: Path) -> str:
    """A picture's name with its folder's, for people."""
    return f"{path.parent.name}/{path.name}"
