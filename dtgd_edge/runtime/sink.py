"""Where verdicts go."""

from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict


class Sink(Protocol):
    """Takes verdicts. Structural: any class with these members is one."""

    def write(self, verdict: Verdict, frame: Frame) -> None:
        """Deliver one verdict before returning.

        Args:
            verdict: about `frame`.
            frame: as it came from the source; its image may be None.

        Raises:
            SinkError: it could not be delivered.
        """
        ...

    def close(self) -> None:
        """Flush and give back what is held; closing twice is fine."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
