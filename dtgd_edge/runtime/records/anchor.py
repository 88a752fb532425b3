"""The side file that knows how long the audit log was.

A chain alone cannot tell that its newest rows were cut off. The side file `LOG.anchor` holds the number and
the hash of the last row that was safe on the disk. Whoever can write both files can still cut both; a copy
kept elsewhere (`audit verify --anchor COPY`) cannot be cut from here.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import DataError, SinkError
from dtgd_edge.runtime.records.database import Head


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head of a log that was safe on the disk.

    Attributes:
        log_id, sequence, hash: of the head.
        wall_ns: time.time_ns() when it was written down, for people.
    """

    log_id: str
    sequence: int
    hash: str
    wall_ns: int

    @property
    def head(self) -> Head:
        return Head(self.log_id, self.sequence, self.hash)


def anchor_path(log: Path) -> Path:
    """Where the side file of a log is."""
    return log.with_name(f"{log.name}.anchor")


def write_anchor(log: Path, anchor: Anchor) -> None:
    """Replace the side file of a log.

    Raises:
        SinkError: the disk refused; the old one stays.
    """
    with written_whole(anchor_path(log), SinkError) as file:
        file.write(msgspec.json.encode(asdict(anchor)) + b"\n")


def read_anchor(path: Path) -> Anchor | None:
    """Read a side file; None when there is none.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Anchor)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(
            f"{path} cannot be read ({exc}); expected the side file of an audit log; copy it again"
        ) from exc
