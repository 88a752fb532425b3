"""Lengths as people write them: 0.3mm, 30um, 1.2cm, 0.1in."""

import math
import re

from dtgd_edge.errors import ConfigError

MM_PER_UNIT = {"um": 1e-3, "µm": 1e-3, "μm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3, "in": 25.4, '"': 25.4}
_LENGTH = re.compile(r"([0-9.]+(?:e-?[0-9]+)?)\s*(\D*)", re.IGNORECASE)


def mm_from_text(text: str, name: str) -> float:
    """Read a length as millimetres.

    Args:
        text: a number and a unit: um, mm, cm, m or in.
        name: of the option, for the error.

    Raises:
        ConfigError: no number, no unit or an unknown one, or not more than 0.
    """
    match = _LENGTH.fullmatch(text.strip())
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:  # "1.2.3"
        number = math.nan
    if match is None or not math.isfinite(number):
        raise ConfigError(f"{name} {text!r} is no length; expected a number and a unit, such as 0.3mm")
    unit = match[2].strip().lower()
    if unit not in MM_PER_UNIT:
        found = f"has the unit {unit!r}" if unit else "has no unit"
        raise ConfigError(
            f"{name} {text!r} {found}; expected um, mm, cm, m or in; write {match[1]}mm for millimetres"
        )
    if number <= 0:
        raise ConfigError(f"{name} {text!r} is nothing; expected more than 0; correct it")
    return number * MM_PER_UNIT[unit]


def length_text(mm: float) -> str:
    """A length for people, three digits: 0.0821 mm as 82.1 um."""
    return f"{mm * 1e3:.3g} um" if mm < 0.1 else f"{mm:.3g} mm"
