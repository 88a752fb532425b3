"""No garbage collection inside of a library that calls back while it holds a lock."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Collect garbage now, and not again while the block runs.

    TensorRT calls our logger while it holds a lock of its own. A collection that starts there may free an
    older builder or runtime, caught in the cycle of an error's traceback; freeing it wants the same lock,
    and the process hangs.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
