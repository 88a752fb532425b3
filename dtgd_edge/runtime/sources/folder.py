"""Pictures on the disk."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dtgd_edge.errors import DataError, SourceNotFound
from dtgd_edge.pictures import picture_paths, read_picture
from dtgd_edge.runtime.source import Frame, FrameSource


class FilesSource(FrameSource):
    """Pictures on the disk, one after the other.

    A picture that is missing or cannot be read becomes a frame with a fault and the rest follow: one
    damaged file must not end a night's run.

    Args:
        paths: of the pictures, in order.
        description: for people.
    """

    is_live = False

    def __init__(self, paths: Sequence[Path], description: str) -> None:
        self._paths = paths
        self._description = f"{description} ({len(paths)} pictures)"
        self._is_closed = False

    @property
    def description(self) -> str:
        return self._description

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            if self._is_closed:
                return
            yield frame_of_file(path, index)

    def close(self) -> None:
        self._is_closed = True


class FolderSource(FilesSource):
    """The pictures directly in a folder, by name.

    Raises:
        SourceNotFound: no such folder, or no picture in it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            paths = picture_paths(folder)
        except DataError as exc:
            raise SourceNotFound(str(exc)) from exc
        super().__init__(paths, f"folder {folder}")


class ListSource(FilesSource):
    """The pictures that a text file names, one per line; relative names count from the file's folder.

    Raises:
        SourceNotFound: no such file, or no name in it.
    """

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise SourceNotFound(
                f"list {path} cannot be read ({exc}); expected a text file with a picture per line; check it"
            ) from exc
        names = [line.strip() for line in lines]
        paths = [path.parent / name for name in names if name and not name.startswith("#")]
        if not paths:
            raise SourceNotFound(f"list {path} names no picture; expected one per line; check the file")
        super().__init__(paths, f"list {path}")


class PictureSource(FrameSource):
    """One picture, named by the user.

    Raises:
        DataError: it cannot be decoded; here nothing else is left to do.
    """

    is_live = False

    def __init__(self, path: Path) -> None:
        self._description = f"picture {path}"
        self._path = path
        self._is_closed = False
        read_picture(path)

    @property
    def description(self) -> str:
        return self._description

    def __iter__(self) -> Iterator[Frame]:
        # Read again rather than kept, so that its times are those of this run.
        if not self._is_closed:
            yield frame_of_file(self._path, 0)

    def close(self) -> None:
        self._is_closed = True


def frame_of_file(path: Path, index: int) -> Frame:
    """Read a picture; one that cannot be read is a frame with a fault."""
    begun_ns = time.monotonic_ns()
    try:
        image = read_picture(path)
    except DataError as exc:
        return Frame(None, index, begun_ns, path.name, fault=f"unreadable picture: {exc}")
    return Frame(image, index, begun_ns, path.name, (time.monotonic_ns() - begun_ns) / 1e6)
