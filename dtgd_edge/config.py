"""Turn TOML and JSON into frozen records, and say precisely what does not fit."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

import msgspec

from dtgd_edge.errors import ConfigError

Record = TypeVar("Record")


def record_from_toml(path: Path, kind: type[Record]) -> Record:
    """Read a TOML file into a record.

    Raises:
        ConfigError: no such file, broken TOML, an unknown key (the nearest known one is named), a
            missing key or a value of the wrong type or range.
    """
    try:
        values = msgspec.toml.decode(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; expected a TOML file; check the path") from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}); expected a TOML file") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}; correct the file") from exc
    return record_from_mapping(values, kind, str(path))


def record_from_mapping(values: Mapping[str, Any], kind: type[Record], origin: str) -> Record:
    """Turn decoded TOML or JSON into a record; `origin` names the file in errors.

    Raises:
        ConfigError: as `record_from_toml`.
    """
    _refuse_unknown_keys(values, kind, origin, "")
    try:
        return msgspec.convert(values, kind, dec_hook=_from_plain)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{origin}: {_readable(str(exc))}; correct that key") from exc
    except ConfigError as exc:  # from a record's own check, which does not know the file
        raise ConfigError(f"{origin}: {exc}") from exc


def mapping_from_record(record: Any) -> dict[str, Any]:
    """Turn a record into plain dicts, lists, strings and numbers, ready for JSON."""
    values: dict[str, Any] = msgspec.to_builtins(record, enc_hook=_to_plain)
    return values


def _from_plain(kind: type, value: Any) -> Any:
    """Make what msgspec does not know: a path is a string in a file."""
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"expected a string for a path, got {type(value).__name__}")


def _to_plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} as a plain value")


def _refuse_unknown_keys(values: Mapping[str, Any], kind: type, origin: str, table: str) -> None:
    kinds = typing.get_type_hints(kind)
    for key, value in values.items():
        where = f"table [{table}], " if table else ""
        if key not in kinds:
            nearest = difflib.get_close_matches(key, kinds, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]!r}" if nearest else "remove it"
            raise ConfigError(
                f"{origin}: {where}key {key!r} is not known; expected one of {', '.join(kinds)}; {hint}?"
            )
        place = f"{table}.{key}" if table else key
        for nested in _records_in(kinds[key]):
            if typing.get_origin(kinds[key]) is dict and isinstance(value, Mapping):
                items = list(value.values())  # the keys are names, not the record's
            else:
                items = value if isinstance(value, list) else [value]
            for item in items:
                if isinstance(item, Mapping):
                    _refuse_unknown_keys(item, nested, origin, place)


def _records_in(kind: Any) -> set[type]:
    """Record types inside an annotation: the record itself, `Record | None`, `tuple[Record, ...]`."""
    if dataclasses.is_dataclass(kind):
        return {typing.cast(type, kind)}
    return {record for inner in typing.get_args(kind) for record in _records_in(inner)}


def _readable(text: str) -> str:
    """Rewrite msgspec's "Expected `int`, got `str` - at `$.a.b`" as "key a.b: expected ..."."""
    message, _, place = text.partition(" - at ")
    key = place.strip("`").removeprefix("$").lstrip(".")
    message = message.replace("`", "").replace("Expected", "expected").replace("Object missing", "missing")
    return f"key {key!r}: {message}" if key else message
