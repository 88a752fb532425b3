"""How bundles are swapped on a line, and which one the next start takes."""

from dataclasses import dataclass
from pathlib import Path

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import ConfigError, SinkError


@dataclass(frozen=True, slots=True)
class SwapConfig:
    """The table [swap] of a line file.

    Attributes:
        watch: a bundle, or a folder of bundles, that is looked at for something newer; "": nothing is.
        watch_s: seconds between two looks.
        every_nth_frame: the candidate is given every n-th frame.
        budget_ms: from a frame's arrival to the end of the candidate's look at it; take the time between
            two parts.
        pictures: differing verdicts that the report shows.
        reports: folder of the reports; "": none are written.
        probation_s: seconds after a switch in which the line goes back by itself.
        probation_frames: it lasts so many frames at least; rates are those of so many newest frames.
        max_ng, max_no_decision: rates above which the line goes back.
        remember: file that keeps the path of the bundle that passed its probation, for the next start;
            "": the next start takes the bundle it is given.
    """

    watch: str = ""
    watch_s: float = 10.0
    every_nth_frame: int = 5
    budget_ms: float = 200.0
    pictures: int = 20
    reports: str = ""
    probation_s: float = 600.0
    probation_frames: int = 100
    max_ng: float = 0.5
    max_no_decision: float = 0.2
    remember: str = ""

    def __post_init__(self) -> None:
        counts = {
            "every_nth_frame": (self.every_nth_frame, 1, 1_000_000),
            "pictures": (self.pictures, 0, 200),
            "probation_frames": (self.probation_frames, 1, 1_000_000),
            "watch_s": (self.watch_s, 0.1, 86_400.0),
            "budget_ms": (self.budget_ms, 0.0, 1e6),
            "probation_s": (self.probation_s, 0.0, 1e6),
            "max_ng": (self.max_ng, 0.0, 1.0),
            "max_no_decision": (self.max_no_decision, 0.0, 1.0),
        }
        for key, (value, lowest, highest) in counts.items():
            if not lowest <= value <= highest:
                raise ConfigError(
                    f"swap has {key} {value}; expected {lowest:g} to {highest:g}; correct the key"
                )


def remember_bundle(file: Path, bundle: Path) -> None:
    """Write down which bundle the next start takes.

    Raises:
        SinkError: the disk refused.
    """
    with written_whole(file, SinkError) as opened:
        opened.write(f"{bundle.absolute()}\n".encode())


def remembered_bundle(config: SwapConfig, given: Path) -> Path:
    """The bundle that a start takes: the one that passed its probation if it is still there, else `given`."""
    if not config.remember:
        return given
    try:
        path = Path(Path(config.remember).read_text().strip())
    except (OSError, UnicodeDecodeError):
        return given
    return path if path.is_file() else given
