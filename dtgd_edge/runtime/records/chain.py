"""How the rows of the audit log prove each other."""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dtgd_edge.errors import ConfigError

_KEY_BYTES = 16
_NOTHING = bytes(32)


@dataclass(frozen=True, slots=True)
class Chain:
    """The hashes of one log: each row's covers its content and the hash before it.

    Attributes:
        log_id: random, made with the log, so that rows of another log do not fit.
        key: makes it HMAC-SHA-256: who can write the file but does not have the key cannot make hashes.
            None: plain SHA-256.
    """

    log_id: str
    key: bytes | None = None

    @property
    def genesis(self) -> bytes:
        """What the first row follows."""
        return self._hash(_NOTHING + b"dtgd-edge audit log " + self.log_id.encode())

    def link(self, previous: bytes, values: tuple[Any, ...]) -> bytes:
        """Hash of a row.

        Args:
            previous: hash of the row before; of the first row, the genesis.
            values: of the row, in the order of COLUMNS.
        """
        return self._hash(previous + content(values))

    def _hash(self, message: bytes) -> bytes:
        if self.key is None:
            return hashlib.sha256(message).digest()
        return hmac.digest(self.key, message, "sha256")


def content(values: tuple[Any, ...]) -> bytes:
    """The one way to write a row's values as bytes: a JSON array, which tells 1, 1.0, "1" and null apart.

    Raises:
        TypeError: a value that no row has, such as bytes, which JSON would write as a text.
    """
    if any(isinstance(value, bytes) for value in values):
        raise TypeError("a row holds bytes")
    return msgspec.json.encode(values)


def key_check(key: bytes) -> str:
    """What tells a wrong key from a broken chain, without giving the key away."""
    return hmac.digest(key, b"dtgd-edge audit key", "sha256")[:8].hex()


def read_key(path: Path | str) -> bytes:
    """Read a key file; white space around the key does not count.

    Raises:
        ConfigError: it cannot be read, or the key is too short to be one.
    """
    try:
        key = Path(path).read_bytes().strip()
    except OSError as exc:
        raise ConfigError(
            f"key file {path} cannot be read ({exc.strerror}); expected a secret of at least {_KEY_BYTES} "
            "bytes; check the path and the rights"
        ) from exc
    if len(key) < _KEY_BYTES:
        raise ConfigError(
            f"key file {path} holds {len(key)} bytes; expected at least {_KEY_BYTES}; "
            f"make one with: openssl rand -hex 32 > {path}"
        )
    return key
