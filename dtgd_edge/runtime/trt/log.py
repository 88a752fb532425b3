"""What TensorRT says while it works: errors to raise, progress to show, Ctrl-C to obey."""

import logging
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

SAY_EVERY_S = 2.0
# On a machine without a GPU this line follows every other error and explains none.
_SPURIOUS = "catchCudaError"


class TrtLog:
    """Keeps TensorRT's errors.

    Attributes:
        logger: to hand to TensorRT; must live as long as what was made with it.
        errors: texts of its ERROR lines since `clear`.
        is_interrupted: whether Ctrl-C was pressed inside a callback, where Python must not raise.
    """

    def __init__(self, module: Any) -> None:
        self.errors: list[str] = []
        self.is_interrupted = False
        severities = module.ILogger

        class Logger(module.ILogger):  # type: ignore[misc]  # its base is only known at run time
            def log(inner, severity: Any, text: str) -> None:
                try:
                    if severity in (severities.ERROR, severities.INTERNAL_ERROR):
                        self.errors.append(" ".join(text.split()))
                    elif severity == severities.WARNING:
                        logger.debug("TensorRT: %s", text)
                except KeyboardInterrupt:
                    self.is_interrupted = True

        self.logger = Logger()

    def clear(self) -> None:
        """Forget the errors so far."""
        self.errors.clear()

    def reason(self) -> str:
        """TensorRT's own words for the last failure."""
        telling = [text for text in self.errors if _SPURIOUS not in text] or self.errors
        return "; ".join(dict.fromkeys(telling[:2])) or "TensorRT gave no reason"


def progress_monitor(module: Any, log: TrtLog, say: Callable[[str], None]) -> Any | None:
    """Make TensorRT's progress monitor; None where it has none.

    Args:
        module: the TensorRT module.
        log: is asked, and told, whether the build was interrupted.
        say: is told the phase, at most every SAY_EVERY_S.
    """
    if not hasattr(module, "IProgressMonitor"):
        return None

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]  # its base is only known at run time
        def __init__(self) -> None:
            super().__init__()
            self.phases: dict[str, tuple[int, int]] = {}
            self.begun = self.said = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                self.phases[phase_name] = (step + 1, self.phases.get(phase_name, (0, step + 1))[1])
                now = time.monotonic()
                if now - self.said >= SAY_EVERY_S:
                    self.said = now
                    state = ", ".join(f"{name} {done}/{of}" for name, (done, of) in self.phases.items())
                    say(f"building the engine, {now - self.begun:.0f} s: {state}")
            except KeyboardInterrupt:
                log.is_interrupted = True
            return not log.is_interrupted  # False ends the build

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

    return Monitor()
