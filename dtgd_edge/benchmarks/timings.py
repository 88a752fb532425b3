"""One run of the benchmark as a file: what `bench --out` writes and `--baseline` reads."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.timing import Measurement
from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import ConfigError, DataError, SinkError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TimedBundle:
    """A bundle that was timed.

    Attributes:
        path: as it was given.
        sha256: of the file.
    """

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Timings:
    """One run of the benchmark.

    Attributes:
        schema: of this record.
        created: when it ended: UTC, ISO 8601.
        bundles: in the order of the measurements.
        pace: when frames came.
        threads: as they were asked for; None: all cores.
        measurements: one per bundle, the null session's last.
    """

    schema: int
    created: str
    bundles: tuple[TimedBundle, ...]
    pace: Pace
    threads: int | None
    measurements: tuple[Measurement, ...]

    @property
    def of_bundles(self) -> tuple[tuple[str, Measurement], ...]:
        """Path and measurement of each bundle."""
        return tuple(
            (bundle.path, measured) for bundle, measured in zip(self.bundles, self.measurements, strict=False)
        )

    def record(self) -> dict[str, Any]:
        """What `--json` prints: everything but the single times."""
        return {
            **mapping_from_record(self),
            "measurements": [measured.record() for measured in self.measurements],
        }

    def save(self, path: Path) -> None:
        """Write everything, the single times included; missing folders are made.

        Raises:
            SinkError: the disk refused.
        """
        with written_whole(path, SinkError) as file:
            file.write(msgspec.json.encode(mapping_from_record(self)) + b"\n")


def timings_of(
    paths: Sequence[Path], measurements: Sequence[Measurement], pace: Pace, threads: int | None
) -> Timings:
    """Put a run together, with the bundles' digests and the time."""
    bundles = [TimedBundle(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Timings(SCHEMA, created, tuple(bundles), pace, threads, tuple(measurements))


def read_timings(path: Path) -> Timings:
    """Read a run that `save` wrote.

    Raises:
        DataError: no such file, or it holds something else.
    """
    advice = "expected a file that dtgd-edge bench --out wrote"
    try:
        values = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {advice}; check the path") from None
    except OSError as exc:
        raise DataError(f"{path} cannot be read ({exc.strerror}); {advice}; check the path") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{path} is not valid JSON ({exc}); {advice}; check the path") from exc
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path} holds no timings of schema {SCHEMA}; {advice}; measure it again")
    try:
        return record_from_mapping(values, Timings, str(path))
    except ConfigError as exc:
        raise DataError(f"{exc}; or measure it again with dtgd-edge bench --out") from exc
