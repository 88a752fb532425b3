"""What stands behind the "?" of a source's name, as a record."""

import difflib
from dataclasses import fields
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from dtgd_edge.errors import ConfigError

Options = TypeVar("Options")


def split_uri(uri: str) -> tuple[str, str]:
    """What stands between the scheme and the "?", without the slashes before it, and behind the "?".

    "csi://0?fps=30" is ("0", "fps=30"); "v4l2:/dev/video0" is ("/dev/video0", "").
    """
    body = uri.partition(":")[2]
    place, _, query = body.partition("?")
    return place.removeprefix("//"), query


def options_from_uri(uri: str, kind: type[Options]) -> Options:
    """Read "key=value&key=value" behind the "?" into a record.

    Args:
        kind: a record whose values can be written as text; a list of texts takes a key several times.

    Raises:
        ConfigError: an option that is not known, or a value that cannot be.
    """
    assert isinstance(kind, type), "options are read into a class of records"
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in parse_qsl(split_uri(uri)[1], keep_blank_values=True):
        if key not in types:
            nearest = difflib.get_close_matches(key, types, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"source {uri!r}: option {key!r} is not known; expected one of {', '.join(types)}; "
                f"did you mean {nearest!r}?"
            )
        if types[key] == tuple[str, ...]:
            values.setdefault(key, []).append(value)
        else:
            values[key] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as exc:
        example = "&".join(f"{key}=..." for key in list(types)[:2])
        raise ConfigError(f"source {uri!r}: {exc}; expected ?{example}; correct it") from exc
