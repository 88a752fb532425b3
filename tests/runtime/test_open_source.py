"""What a source's name means, and the sources that read files or the pretend line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, DataError, SourceNotFound
from dtgd_edge.runtime.source import is_uri
from dtgd_edge.runtime.sources.folder import FolderSource, PictureSource
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.sample import SampleSource


@pytest.mark.parametrize("text", ["rtsp://host/1", "http://host", "sample:", "sample:?parts=5", "x-y.z+1:a"])
def test_is_uri(text: str) -> None:
    assert is_uri(text)


@pytest.mark.parametrize("text", ["", "0", "folder", "C:\\parts", "./a:b", "/dev/video0", ":", "1a:", "::1"])
def test_is_no_uri(text: str) -> None:
    assert not is_uri(text)


def test_unknown_scheme_names_the_known() -> None:
    with pytest.raises(SourceNotFound, match=r"'ftp://x'.*rtsp://.*sample:"):
        open_source("ftp://x")


@pytest.mark.parametrize("text", ["", "nowhere", "nowhere.png", "/nowhere/at/all.mp4"])
def test_what_does_not_exist(text: str) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        open_source(text)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceNotFound, match=r"\.png .*\.mp4"):
        open_source(str(tmp_path / "notes.txt"))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="holds no pictures"):
        open_source(str(tmp_path))


def test_a_folder_with_a_colon_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part:a").mkdir()
    cv2.imwrite("part:a/1.png", np.zeros((4, 4, 3), np.uint8))
    assert isinstance(open_source("part:a"), FolderSource)


def test_a_folder_goes_on_after_a_damaged_picture(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((4, 4, 3), np.uint8))
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[:-20])
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["a.png", "b.png", "c.png"]
    assert [frame.image is None for frame in frames] == [False, True, False]
    assert frames[1].fault is not None and frames[1].fault.startswith("unreadable picture: ")


def test_a_picture_that_is_named_must_be_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    source = open_source(str(path))
    assert isinstance(source, PictureSource)
    assert [frame.name for frame in source] == ["a.png"]
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        open_source(str(path))


def test_the_pretend_line_repeats_itself_by_its_seed() -> None:
    first, second, other = (
        [frame.image for frame in open_source(f"sample:?parts=3&size=64&seed={seed}")] for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_pretend_line_takes_its_options() -> None:
    source = open_source("sample:?parts=6&size=96&defect_rate=1")
    assert isinstance(source, SampleSource)
    frames = list(source)
    assert len(frames) == 6
    assert all(frame.image is not None and frame.image.shape == (96, 96, 3) for frame in frames)
    assert "good" not in {frame.name for frame in frames}


def test_the_pretend_line_is_endless_without_parts() -> None:
    source = open_source("sample:")
    assert next(iter(source)).index == 0
    assert "endless" in source.description


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sample:?part=3", "did you mean 'parts'"),
        ("sample:?parts=many", "parts"),
        ("sample:?parts=0", "parts >= 1"),
        ("sample:?defect_rate=nan", "defect_rate"),
        ("sample:?fps=0", "fps above 0"),
    ],
)
def test_the_pretend_line_refuses_what_it_does_not_know(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(uri)
