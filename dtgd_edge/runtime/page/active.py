"""What the page reads of an inspector."""

from typing import Protocol

from dtgd_edge.manifest import Manifest
from dtgd_edge.runtime.session import Session


class Active(Protocol):
    """An Inspector or a LiveInspector. Asked anew each time: threshold and bundle may change."""

    @property
    def threshold(self) -> float: ...

    @property
    def manifest(self) -> Manifest: ...

    @property
    def session(self) -> Session: ...
