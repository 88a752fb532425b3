"""A session that computes nothing, to measure what the loop itself costs."""

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.session import Session, SessionSpec, check_frames, spec_of_bundle
from dtgd_edge.verdict import Scores


class NullSession(Session):
    """Answers score 0 and a map of zeros. Never judge parts with it: everything is OK."""

    def __init__(self, bundle: Bundle) -> None:
        self._spec = spec_of_bundle(bundle, "null", "nothing (null session)")
        self._is_closed = False

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        if self._is_closed:
            raise BackendError("the null session is closed; expected an open one; open it again")
        check_frames(frames, self._spec)
        return Scores(
            np.zeros(self._spec.batch, np.float32),
            np.zeros((self._spec.batch, *self._spec.size_hw), np.float32),
        )

    def close(self) -> None:
        self._is_closed = True
