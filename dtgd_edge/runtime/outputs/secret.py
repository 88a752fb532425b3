"""Passwords and keys, which do not belong into a line's file."""

from pathlib import Path

from dtgd_edge.errors import SinkError


def secret_from_file(path: str, table: str) -> bytes:
    """Read a secret, without the line's end; b"" for no path.

    Raises:
        SinkError: it cannot be read, or is empty.
    """
    if not path:
        return b""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as exc:
        raise SinkError(
            f"{path} cannot be read ({exc.strerror}); expected a file with the secret; correct [{table}]"
        ) from exc
    if not secret:
        raise SinkError(f"{path} is empty; expected a file with the secret; correct [{table}]")
    return secret
