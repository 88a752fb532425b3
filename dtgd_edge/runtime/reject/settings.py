"""The table [reject] of a line's file."""

from dataclasses import dataclass
from typing import Literal

from dtgd_edge.errors import ConfigError

SafeState = Literal["reject", "pass", "stop"]
Combine = Literal["worst", "last"]

_LONGEST_MS = 3_600_000.0


@dataclass(frozen=True, slots=True)
class RejectConfig:
    """When the ejector acts, and what happens to a part that nobody could judge.

    Attributes:
        delay_ms: from the capture of a part to its moment at the ejector; used when encoder_counts is 0.
        encoder_counts: the same way in counts of the conveyor's encoder; 0: there is none, time is used.
        pulse_ms: how long the ejector's signal stays on for one part.
        safe_state: what happens to a part without a decision, with a late one or with none, and to all
            parts while nobody judges: "reject" it, let it "pass", or "stop" the line.
        frames_per_part: so many verdicts make a part's result; a part with fewer has none.
        combine: of several verdicts on one part, the "worst" (NG, then NO_DECISION) or the "last" counts.
        acknowledge_ms: how long a result waits for the controller to acknowledge it; 0: results are not
            acknowledged, the controller looks at the sequence number.
        heartbeat_ms: the heartbeat bit changes so often.
        encoder_poll_ms: the encoder is read so often.
    """

    delay_ms: float = 500.0
    encoder_counts: int = 0
    pulse_ms: float = 50.0
    safe_state: SafeState = "reject"
    frames_per_part: int = 1
    combine: Combine = "worst"
    acknowledge_ms: float = 0.0
    heartbeat_ms: float = 500.0
    encoder_poll_ms: float = 2.0

    def __post_init__(self) -> None:
        least = {
            "delay_ms": 0.0,
            "acknowledge_ms": 0.0,
            "pulse_ms": 1.0,
            "heartbeat_ms": 10.0,
            "encoder_poll_ms": 0.5,
        }
        for key, lowest in least.items():
            value: float = getattr(self, key)
            if not lowest <= value <= _LONGEST_MS:
                raise ConfigError(
                    f"{key} = {value} was given; expected {lowest:g} to {_LONGEST_MS:g}; correct [reject]"
                )
        for key, smallest in {"encoder_counts": 0, "frames_per_part": 1}.items():
            if getattr(self, key) < smallest:
                raise ConfigError(
                    f"{key} = {getattr(self, key)} was given; expected {smallest} or more; correct [reject]"
                )
