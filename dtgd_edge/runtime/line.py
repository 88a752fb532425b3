"""A line's file: everything that an engineer decides about one line, as TOML."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dtgd_edge.config import record_from_toml
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.drift import DriftConfig
from dtgd_edge.runtime.health import HealthLimits
from dtgd_edge.runtime.masters import MastersConfig
from dtgd_edge.runtime.outputs.settings import OutputsConfig
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.policy import PolicyConfig
from dtgd_edge.runtime.records.archive import PicturesConfig
from dtgd_edge.runtime.records.audit import AuditConfig
from dtgd_edge.runtime.recovery import RecoveryConfig
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.selftest import SelfTestConfig
from dtgd_edge.runtime.source_config import SourceConfig
from dtgd_edge.runtime.swap_config import SwapConfig


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The table [loop] of a line's file.

    Attributes:
        bundle: the bundle; "": the newest of the workspace.
        backend: the session, as `--backend`.
        threads: of a session that computes on the CPU; 0: all cores.
        queue_frames: frames that may wait, of a source that keeps every frame.
        silence_limit_s: a live source that gives nothing for so long, not even news of its fault, ends
            the run.
        part_silence_s: without a frame for so long, a part that still waits for frames is decided.
    """

    bundle: str = ""
    backend: str = "auto"
    threads: int = 0
    queue_frames: int = 4
    silence_limit_s: float = 30.0
    part_silence_s: float = 1.0

    def __post_init__(self) -> None:
        if self.threads < 0 or self.queue_frames < 1:
            raise ConfigError(
                f"loop threads {self.threads} and queue_frames {self.queue_frames} are impossible; "
                "expected 0 or more threads and 1 or more frames; correct them"
            )
        # Written as "not above", so that NaN is refused too.
        if not self.silence_limit_s > 0 or not self.part_silence_s > 0:
            raise ConfigError(
                f"loop silence_limit_s {self.silence_limit_s} and part_silence_s {self.part_silence_s} are "
                "impossible; expected more than 0; use 30 and 1"
            )


@dataclass(frozen=True, slots=True)
class LineConfig:
    """A line's file. A table that is None is off until the file has it.

    Attributes:
        source: where frames come from.
        loop: what scores them, and how they wait.
        health: which frames cannot be judged.
        policy: what becomes of scores.
        selftest: when golden frames are scored again.
        recovery: how a lost session is opened again.
        swap: how another bundle takes over.
        drift: alarms when light or scores move.
        masters: physical parts whose verdicts are known.
        reject: the ejector, when an output has signals for it.
        outputs: the ways to the plant.
        audit: the record of all verdicts; None: there is none.
        pictures: frames that are kept; needs an audit log to say where they are.
        http: the operator's page.
    """

    source: SourceConfig
    loop: LoopConfig = field(default_factory=LoopConfig)
    health: HealthLimits = field(default_factory=HealthLimits)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    selftest: SelfTestConfig = field(default_factory=SelfTestConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    swap: SwapConfig = field(default_factory=SwapConfig)
    drift: DriftConfig | None = None
    masters: MastersConfig | None = None
    reject: RejectConfig = field(default_factory=RejectConfig)
    outputs: OutputsConfig = field(default_factory=OutputsConfig)
    audit: AuditConfig | None = None
    pictures: PicturesConfig | None = None
    http: PageConfig | None = None

    def __post_init__(self) -> None:
        if self.pictures is not None and self.audit is None:
            raise ConfigError("there is [pictures] without [audit]; expected a log that names them; add it")

    def changed(self, **tables: Any) -> "LineConfig":
        """The same line with other tables."""
        return replace(self, **tables)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that are on, for people."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)


def read_line(path: Path) -> LineConfig:
    """Read a line's file.

    Raises:
        ConfigError: as record_from_toml.
    """
    return record_from_toml(path, LineConfig)
