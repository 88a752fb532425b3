"""How long this process had work but no core to do it on: what other programs take from a measurement."""

import os
from pathlib import Path


class CoreWait:
    """Reads what Linux counts for every thread (schedstat): time ready to run, but waiting for a core.

    The threads are those that there are when it is made. What a hypervisor takes from a virtual machine is
    not among it. A look takes a few microseconds.

    Args:
        root: of the file tree, "/" on a real machine.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._files: list[int] = []
        for path in sorted((root / "proc/self/task").glob("*/schedstat")):
            try:
                self._files.append(os.open(path, os.O_RDONLY))
            except OSError:  # the thread has just ended
                continue

    def now_ns(self) -> list[int]:
        """What each thread has waited so far; nothing where nobody counts, or all have ended."""
        try:
            return [int(os.pread(file, 64, 0).split()[1]) for file in self._files]
        except (OSError, IndexError, ValueError):
            return []

    def since_ms(self, before: list[int]) -> float | None:
        """The longest that a thread has waited since `now_ns` said so much; None: not counted."""
        waited = [now - then for now, then in zip(self.now_ns(), before, strict=False)]
        return max(waited) / 1e6 if waited else None

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())
