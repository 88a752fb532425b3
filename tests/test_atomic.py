from pathlib import Path

import pytest

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import BundleError, SinkError


def test_writes_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    with written_whole(path, SinkError) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_raising_inside_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), written_whole(path, SinkError) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_refusing_disk_is_our_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with (
        pytest.raises(BundleError, match="could not be written"),
        written_whole(tmp_path / "taken" / "x", BundleError),
    ):
        pass
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SinkError), written_whole(folder, SinkError) as file:
        file.write(b"x")
    with pytest.raises(SinkError, match="No space left"), written_whole(tmp_path / "x", SinkError):
        raise OSError(28, "No space left on device")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "taken"]
