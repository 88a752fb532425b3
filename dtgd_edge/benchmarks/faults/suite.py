"""Every fault of the table, in the order in which they are tried."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dtgd_edge.benchmarks.faults.row import FaultTable, Row, try_all
from dtgd_edge.errors import ConfigError

Inject = Callable[[Path], Row]


def injections() -> dict[str, Inject]:
    """By the names that `--only` takes. Imported when asked for: they bring OpenCV along."""
    from dtgd_edge.benchmarks.faults import camera, delivery, disk, inside, killed

    return {
        "unplugged": camera.unplugged,
        **{kind: partial(camera.bad_picture, kind=kind) for kind in camera.bad_pictures()},
        "slow": camera.slow,
        "webhook": partial(delivery.peer_away, kind="webhook"),
        "mqtt": partial(delivery.peer_away, kind="mqtt"),
        "modbus": partial(delivery.peer_away, kind="modbus"),
        "disk": disk.disk_full,
        "kill": killed.killed,
        "clock": inside.clock_stepped,
        "session": inside.session_fails,
        "queue": inside.queue_full,
    }


def run_faults(only: Sequence[str] = (), say: Callable[[str], None] = lambda text: None) -> FaultTable:
    """Inject all faults, or some of them.

    Args:
        only: names; none: all.
        say: is told each row when it is done.

    Raises:
        ConfigError: a name that is not known.
    """
    known = injections()
    for name in only:
        if name not in known:
            raise ConfigError(
                f"fault {name!r} is not known; expected some of {', '.join(known)}; correct --only"
            )
    with tempfile.TemporaryDirectory(prefix="dtgd-faults-") as scratch:
        chosen = []
        for name in only or known:
            folder = Path(scratch) / name
            folder.mkdir()
            chosen.append(partial(known[name], folder))
        return try_all(chosen, say)
