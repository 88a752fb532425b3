"""A server of the test bench that is killed and started again: a process of its own."""

import subprocess
import sys
import time
from collections.abc import Sequence


class Child:
    """A Python program that prints a line when it listens.

    Args:
        arguments: of the interpreter: switches, the program's file and what it takes.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> int:
        """Start it; the moment at which it listens, time.monotonic_ns()."""
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return time.monotonic_ns()

    def kill(self) -> int:
        """End it with SIGKILL; the moment, time.monotonic_ns()."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
        return time.monotonic_ns()
