"""What the page reads of an inspector."""

from typing import Protocol

from dtgd_edge.manifest import Manifest
from dtgd_edge.runtime.session import Session


class Judge(Protocol):
    """An Inspector, or what stands for one. Asked anew each time: threshold and bundle may change."""

    @property
    def threshold(self) -> float: ...

    @property
    def manifest(self) -> Manifest: ...

    @property
    def session(self) -> Session: ...
