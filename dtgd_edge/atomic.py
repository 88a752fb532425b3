"""Write a file completely or not at all."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dtgd_edge.errors import DtgdError


@contextmanager
def written_whole(path: Path, error: Callable[[str], DtgdError]) -> Iterator[BinaryIO]:
    """Open a temporary sibling for writing; on success flush it to the disk and rename it to `path`.

    When the block raises, the temporary file is removed and whatever stood at `path` stays.

    Args:
        path: the final path; missing parent folders are made.
        error: makes the error to raise when the disk refuses.

    Raises:
        DtgdError: as made by `error`, when the folder or the file cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as exc:
        raise error(
            f"{path} could not be written ({exc.strerror or exc}); nothing was changed; "
            "free some space or choose another place"
        ) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
