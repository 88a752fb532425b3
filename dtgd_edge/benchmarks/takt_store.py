"""Times that were measured on this machine, kept in a file of the workspace."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.benchmarks.takt import Candidate, Timing
from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import BackendError, ConfigError, DataError

SCHEMA = 1
FILE = "takt.json"
# Of a machine's fingerprint: what is another one each time.
_PASSING = ("load", "sensors", "memory_mib")


@dataclass(frozen=True, slots=True)
class KeptTiming:
    """A measured time, the digest of everything that decides it, and the seconds that measuring it took."""

    digest: str
    timing: Timing
    seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The file."""

    schema: int = SCHEMA
    timings: tuple[KeptTiming, ...] = ()


class TimingStore:
    """Measured times by candidate, machine and circumstances.

    Args:
        path: of the file; it need not be there.
        machine: that measures.
        circumstances: what else decides a time: backend, threads, the frames' size, the networks.
        is_fresh: forget what earlier runs measured in these circumstances.

    Raises:
        DataError: the file is there and cannot be read, or is none of ours.
    """

    def __init__(
        self, path: Path, machine: Machine, circumstances: Mapping[str, Any], is_fresh: bool = False
    ) -> None:
        self._path = path
        lasting = {k: v for k, v in mapping_from_record(machine).items() if k not in _PASSING}
        self._place = {"machine": lasting, **circumstances}
        self._kept = {kept.digest: kept for kept in _read(path).timings}
        self._forgotten = set(self._kept) if is_fresh else set()

    def __getitem__(self, candidate: Candidate) -> KeptTiming | None:
        """What the candidate took; None: not measured in these circumstances."""
        digest = self._digest(candidate)
        return None if digest in self._forgotten else self._kept.get(digest)

    def keep(self, timing: Timing, seconds: float) -> None:
        """Write a measured time, and what measuring it took.

        Raises:
            BackendError: the disk refused.
        """
        digest = self._digest(timing.candidate)
        self._kept[digest] = KeptTiming(digest, timing, round(seconds, 1))
        self._forgotten.discard(digest)
        kept = Kept(timings=tuple(self._kept.values()))
        with written_whole(self._path, BackendError) as file:
            file.write(msgspec.json.format(msgspec.json.encode(mapping_from_record(kept)), indent=1))

    def _digest(self, candidate: Candidate) -> str:
        decisive = {**self._place, "candidate": mapping_from_record(candidate)}
        return hashlib.sha256(msgspec.json.encode(decisive, order="sorted")).hexdigest()[:32]


def _read(path: Path) -> Kept:
    try:
        values = msgspec.json.decode(path.read_bytes())
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise DataError(
                f"{path} holds no times of schema {SCHEMA}; expected a file of dtgd-edge plan; remove it"
            )
        return record_from_mapping(values, Kept, str(path))
    except FileNotFoundError:
        return Kept()
    except ConfigError as exc:
        raise DataError(f"{exc}, or remove it") from exc
    except OSError as exc:
        raise DataError(f"{path} cannot be read ({exc.strerror}); expected measured times") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{path} is damaged ({exc}); expected measured times; remove it") from exc
