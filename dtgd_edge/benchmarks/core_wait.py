"""How long this process had work but no core to do it on: what other programs take from a measurement."""

from pathlib import Path

from dtgd_edge.runtime.doctor.finding import file_text


class CoreWait:
    """Counts from the moment when it is made, over all threads of the process.

    Linux counts it for every thread (schedstat): nanoseconds on a core, and ready but waiting for one. What
    a hypervisor takes from a virtual machine is not among it.

    Args:
        root: of the file tree, "/" on a real machine.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._tasks = root / "proc/self/task"
        self._begun = self._counted()

    def share(self) -> float | None:
        """Of the time since then in which threads could run, the part that they waited; None: not counted."""
        ran, waited = (now - begun for now, begun in zip(self._counted(), self._begun, strict=True))
        # Threads that ended have taken their counts with them.
        return min(max(waited / (ran + waited), 0.0), 1.0) if ran > 0 and waited >= 0 else None

    def _counted(self) -> tuple[int, int]:
        """Nanoseconds on a core, and waiting for one."""
        counts = [file_text(file).split() for file in self._tasks.glob("*/schedstat")]
        known = [(int(each[0]), int(each[1])) for each in counts if len(each) == 3]
        return sum(ran for ran, _ in known), sum(waited for _, waited in known)
