"""Every key of a line's file with what it means and its default, from the records themselves.

What is written here is valid TOML that says nothing but defaults; whatever is off by default, or has none, is
commented out and stands with an example.
"""

import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import PurePath
from typing import Any

from dtgd_edge.runtime.line import LineConfig

HEAD = """\
# Every key of a line's file with its default: `dtgd-edge line` prints this, for any version.
# A key that is left out has its default. A table that is commented out is off until its name stands here.
# Paths that do not begin with / belong to the folder in which dtgd-edge is started.
"""

# For keys without a default, and for those that are off by default.
EXAMPLES: dict[str, Any] = {
    "source.uri": "0",
    "source.camera.width_px": 1280,
    "source.camera.height_px": 720,
    "source.camera.fps": 30.0,
    "source.camera.exposure_ms": 5.0,
    "source.camera.gain": 1.0,
    "source.trigger.mqtt.host": "127.0.0.1",
    "source.trigger.mqtt.topic": "plant/line/trigger",
    "source.part_gate.region_xywh": (200, 100, 400, 300),
    "policy.ignore": ((0, 0, 100, 50),),
    "policy.ignore_mask": "ignore.png",
    "policy.zones.name": "thread",
    "policy.zones.rectangle": (100, 100, 200, 200),
    "policy.vote.frames": 3,
    "policy.vote.fewest_judged": 2,
    "http.host_names": ("line-3.plant.example",),
    "masters.parts.name": "good 1",
    "masters.parts.expected": "OK",
    "outputs.gpio.reject": 17,
    "outputs.gpio.ready": 27,
    "outputs.gpio.busy": 22,
    "outputs.gpio.valid": 23,
    "outputs.gpio.ng": 24,
    "outputs.gpio.stop": 25,
    "outputs.gpio.heartbeat": 5,
    "outputs.webhook.url": "http://127.0.0.1:8000/verdicts",
}
_WIDTH = 110
_ENTRY = re.compile(r"^((?:\w+, )*\w+): (.*)$")


def line_text() -> str:
    """A line's file with every key."""
    return HEAD + "".join(_table(LineConfig, "", is_on=True))


def keys_of(kind: type, path: str = "") -> Iterator[str]:
    """The dotted names of all keys and tables of a record."""
    for name, annotation in typing.get_type_hints(kind).items():
        place = f"{path}.{name}" if path else name
        yield place
        record, _ = _record_in(annotation)
        if record is not None:
            yield from keys_of(record, place)


def _table(kind: type, path: str, is_on: bool, is_list: bool = False) -> Iterator[str]:
    """A table and those inside it; its own keys come first, as TOML wants it."""
    hints, texts = typing.get_type_hints(kind), _texts(kind)
    off = "" if is_on else "#"
    inner: list[tuple[str, type, bool, bool]] = []
    if path:
        yield f"\n{off}[[{path}]]\n" if is_list else f"\n{off}[{path}]\n"
    told: set[str] = set()
    for field in dataclasses.fields(kind):
        place = f"{path}.{field.name}" if path else field.name
        record, many = _record_in(hints[field.name])
        text = texts.get(field.name, "")
        default = _default(field)
        if record is not None:
            is_inner_on = is_on and not many and default is not None
            inner.append((place, record, is_inner_on, many))
            if path:
                continue
            text = ""
        if text and text not in told:
            told.add(text)
            yield from _comment(text)
        if record is None:
            yield _key(field.name, place, default, is_on)
    for place, record, is_inner_on, many in inner:
        name = place.rpartition(".")[2]
        lines = _table(record, place, is_inner_on, many)
        heading = next(lines)
        yield "\n" + "".join(_comment(texts.get(name, ""))) + heading.lstrip("\n")
        yield from lines


def _key(name: str, place: str, default: Any, is_on: bool) -> str:
    has_default = default is not dataclasses.MISSING and default is not None and default != ()
    value = default if has_default else EXAMPLES.get(place)
    assert value is not None, f"{place} has no default and no example"
    # A file without a source's uri would be refused.
    is_said = is_on and (has_default or default is dataclasses.MISSING)
    return f"{'' if is_said else '#'}{name} = {_toml(value)}\n"


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _record_in(annotation: Any) -> tuple[type | None, bool]:
    """The record inside an annotation, and whether there may be several of it."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation, False
    arguments = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return next((found for a in arguments if (found := _record_in(a))[0] is not None), (None, False))
    if typing.get_origin(annotation) is tuple and arguments:
        return _record_in(arguments[0])[0], True
    return None, False


def _texts(kind: type) -> dict[str, str]:
    """What the docstring's Attributes say; several names may share one text."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:")[2]
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent(section).strip("\n").splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            names = entry[1].split(", ")
            text = f"{entry[1]}: {entry[2]}" if len(names) > 1 else entry[2][:1].upper() + entry[2][1:]
            texts |= dict.fromkeys(names, text)
        elif line.startswith(" "):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
        else:
            names = []
    return texts


def _comment(text: str) -> Iterator[str]:
    # TOML has no None.
    text = re.sub(r"\bNone\b", "left out", text)
    for line in textwrap.wrap(text, _WIDTH - 2):
        yield f"# {line}\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return _toml(value.value)
    if isinstance(value, (str, PurePath)):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
