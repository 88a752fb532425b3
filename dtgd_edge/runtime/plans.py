"""The plan cache: serialised engines of this machine, each with a record of what it belongs to.

`<key>.engine` is plain, so that trtexec opens it; `<key>.json` beside it says what it is. The key is the
SHA-256 of everything that makes a plan another plan. A plan is a cache entry, never a deliverable: what
does not fit is built again or refused, never loaded on hope.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

import msgspec

from dtgd_edge.atomic import written_whole
from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import BackendError, ConfigError, PlanMismatch
from dtgd_edge.runtime.plan import SCHEMA, Built, Plan, PlanKey, PlanRecord, difference
from dtgd_edge.workspace import CACHE_VARIABLE, cache_folder

try:
    import fcntl
except ImportError:  # Windows: files are still written whole, but two builds may run at once
    fcntl = None  # type: ignore[assignment]

FOLDER = "plans"
_REBUILD = "run: dtgd-edge build"


class PlanCache:
    """Plans in a folder.

    Args:
        folder: None: `plans` in the cache folder ($DTGD_EDGE_CACHE, or ~/.cache/dtgd-edge).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() / FOLDER if folder is None else folder

    def path(self, key: PlanKey) -> Path:
        """Where the engine of a key lies, or would."""
        return self.folder / f"{key.digest}.engine"

    def read(self, key: PlanKey) -> Plan | None:
        """Read and check a plan; None if there is none.

        Raises:
            PlanMismatch: its files are damaged, or not what their name says.
        """
        path = self.path(key)
        try:
            record = self._record(path.with_suffix(".json"))
            if record is None:
                return None
            engine = path.read_bytes()
        except FileNotFoundError:
            raise PlanMismatch(f"{path} is missing though its record is there; {_REBUILD}") from None
        except OSError as exc:
            raise PlanMismatch(
                f"{path} cannot be read ({exc.strerror}); expected a plan; {_REBUILD}"
            ) from exc
        if record.key != key:
            raise PlanMismatch(
                f"{path} is a plan for {difference(record.key, key)}; "
                f"expected the one its name stands for; {_REBUILD}"
            )
        if hashlib.sha256(engine).hexdigest() != record.engine_sha256:
            raise PlanMismatch(
                f"{path} is damaged: {len(engine)} bytes whose SHA-256 is not the record's; "
                f"expected {record.engine_bytes} bytes as they were built; {_REBUILD}"
            )
        return Plan(path, record, engine, is_hit=True)

    def find(self, key: PlanKey, capability: str) -> Plan | None:
        """Read the plan of a key, or one that differs only in being built for more capabilities.

        Args:
            key: what is wanted.
            capability: what `targets` has to contain.

        Raises:
            PlanMismatch: as `read`.
        """
        if (plan := self.read(key)) is not None:
            return plan
        for record in self.records():
            if capability in record.key.targets and replace(record.key, targets=key.targets) == key:
                return self.read(record.key)
        return None

    def records(self) -> Iterator[PlanRecord]:
        """Every readable record, the newest first."""
        paths = sorted(self.folder.glob("*.json"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
        for path in paths:
            try:
                record = self._record(path)
            except (PlanMismatch, OSError):
                continue  # `read` says so when that very plan is asked for
            if record is not None:
                yield record

    def sizes_bytes(self) -> list[int]:
        """Size of every engine in the folder, whether or not it fits anything here."""
        return [path.stat().st_size for path in self.folder.glob("*.engine")]

    def why_missing(self, key: PlanKey) -> str:
        """Say in words what is there in place of a key's plan."""
        for record in self.records():
            if record.key.graph_sha256 == key.graph_sha256:
                return f"the plan in {self.folder} is for {difference(record.key, key)}"
        return f"no plan of this graph is in {self.folder}"

    def provide(
        self,
        key: PlanKey,
        build: Callable[[], Built],
        *,
        is_forced: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> Plan:
        """Read a plan, or build and keep it; of several processes that want it at once, one builds.

        Args:
            key: what is wanted.
            build: makes it; called at most once, and only when the folder can be written.
            is_forced: build even if it is there.
            say: is told why a plan is built again, and that another process is building.

        Raises:
            BackendError: the folder cannot be written, or `build` failed.
        """
        if not is_forced and (plan := self._intact(key, say)) is not None:
            return plan
        with self._locked(key, say) as has_waited:
            # The process that held the lock has built what this one wants.
            if (not is_forced or has_waited) and (plan := self._intact(key, say)) is not None:
                return plan
            begun = time.monotonic()
            built = build()
            return self._keep(key, built, time.monotonic() - begun)

    def discard(self, key: PlanKey) -> None:
        """Remove a plan that turned out wrong.

        Raises:
            BackendError: the folder cannot be written.
        """
        path = self.path(key)
        try:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _intact(self, key: PlanKey, say: Callable[[str], None]) -> Plan | None:
        try:
            return self.read(key)
        except PlanMismatch as exc:
            say(f"building again: {exc}")
            return None

    def _keep(self, key: PlanKey, built: Built, seconds: float) -> Plan:
        record = PlanRecord(
            schema=SCHEMA,
            key=key,
            inputs=built.inputs,
            outputs=built.outputs,
            engine_sha256=hashlib.sha256(built.engine).hexdigest(),
            engine_bytes=len(built.engine),
            build_seconds=round(seconds, 3),
            memory_limit_mib=built.memory_limit_mib,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        path = self.path(key)
        # The record goes first and comes last: without it, nobody takes the engine.
        self.discard(key)
        for target, content in (
            (path, built.engine),
            (path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(record), indent=2)),
        ):
            with written_whole(target, BackendError) as file:
                file.write(content)
        return Plan(path, record, built.engine, is_hit=False)

    @contextmanager
    def _locked(self, key: PlanKey, say: Callable[[str], None]) -> Iterator[bool]:
        """Hold the key's lock; yields whether another process held it. It dies with its process."""
        path = self.path(key).with_suffix(".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file: BinaryIO = path.open("ab")
        except OSError as exc:
            raise self._unwritable(exc) from exc
        with file:
            has_waited = False
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    say("another process is building this engine; waiting for it")
                    fcntl.flock(file, fcntl.LOCK_EX)
                    has_waited = True
                except OSError as exc:  # some network file systems have no locks
                    say(f"{self.folder} cannot be locked ({exc.strerror}); building without a lock")
            yield has_waited

    def _record(self, path: Path) -> PlanRecord | None:
        try:
            values = msgspec.json.decode(path.read_bytes())
            if not isinstance(values, dict) or values.get("schema") != SCHEMA:
                raise PlanMismatch(f"{path} is no record of schema {SCHEMA}; expected one; {_REBUILD}")
            return record_from_mapping(values, PlanRecord, str(path))
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, ConfigError, UnicodeDecodeError) as exc:
            raise PlanMismatch(f"{path} is damaged ({exc}); expected a plan's record; {_REBUILD}") from exc

    def _unwritable(self, exc: OSError) -> BackendError:
        return BackendError(
            f"{self.folder} cannot be written ({exc.strerror or exc}); expected a folder for engines; "
            f"free it, or set {CACHE_VARIABLE} to another"
        )
