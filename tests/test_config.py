from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dtgd_edge.config import mapping_from_record, record_from_mapping, record_from_toml
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Camera:
    exposure_ms: float
    gain: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    camera: Camera
    spare: Camera | None = None
    sinks: tuple[Camera, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    geometry: Geometry = field(default_factory=Geometry)


def _line(tmp_path: Path, text: str) -> Line:
    path = tmp_path / "line.toml"
    path.write_text(text)
    return record_from_toml(path, Line)


def test_reads_nested_tables_and_defaults(tmp_path: Path) -> None:
    line = _line(tmp_path, 'name = "a"\n[camera]\nexposure_ms = 2\n[labels]\nany = "key"\n')
    assert line == Line("a", Camera(2.0), labels={"any": "key"})


def test_round_trip() -> None:
    line = Line("a", Camera(1.5, 3), spare=Camera(2.0), sinks=(Camera(1.0),))
    assert record_from_mapping(mapping_from_record(line), Line, "here") == line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('nmae = "a"', ["'nmae'", "did you mean 'name'"]),
        ('name = "a"\n[camera]\nexposure = 2', ["[camera]", "'exposure'", "did you mean 'exposure_ms'"]),
        ('name = "a"\n[spare]\ngian = 2', ["[spare]", "'gian'", "did you mean 'gain'"]),
        ('name = "a"\n[[sinks]]\ngian = 2', ["[sinks]", "'gian'", "did you mean 'gain'"]),
        ('name = "a"', ["camera", "missing"]),
        ('name = "a"\n[camera]\ngain = 1', ["camera", "exposure_ms", "missing"]),
        ("name = 3\n[camera]\nexposure_ms = 2", ["'name'", "expected str", "int"]),
        ('name = "a"\n[camera]\nexposure_ms = "2"', ["'camera.exposure_ms'", "expected float", "str"]),
        ('name = "a"\n[camera]\nexposure_ms = 2\n[geometry]\nfit = "crop"', ["'geometry.fit'", "crop"]),
        ('name = "a"\n[camera]\nexposure_ms = 2\n[geometry]\nsize_hw = [100, 100]', ["multiples of 32"]),
        ("name = ", ["not valid TOML"]),
    ],
)
def test_says_what_does_not_fit_and_where(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        _line(tmp_path, text)
    for part in ["line.toml", *parts]:
        assert part in str(caught.value)
    assert "`" not in str(caught.value)


def test_missing_file_and_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        record_from_toml(tmp_path / "none.toml", Line)
    with pytest.raises(ConfigError, match="cannot be read"):
        record_from_toml(tmp_path, Line)
    (tmp_path / "x.toml").write_bytes(b'name = "\xff\xfe"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        record_from_toml(tmp_path / "x.toml", Line)


@dataclass(frozen=True)
class Places:
    """A record with paths."""

    mask: Path | None = None
    folders: tuple[Path, ...] = ()


def test_paths_are_strings_in_a_file() -> None:
    values = {"mask": "a/mask.png", "folders": ("b",)}
    places = record_from_mapping(values, Places, "line.toml")
    assert places == Places(Path("a/mask.png"), (Path("b"),))
    assert mapping_from_record(places) == values
    with pytest.raises(ConfigError, match=r"line\.toml: key 'mask'"):
        record_from_mapping({"mask": 5}, Places, "line.toml")


@dataclass(frozen=True)
class Park:
    """A record with records by name."""

    machines: dict[str, Places] = field(default_factory=dict)


def test_records_by_name() -> None:
    park = record_from_mapping({"machines": {"any name": {"mask": "m.png"}}}, Park, "x.json")
    assert park == Park({"any name": Places(Path("m.png"))})
    with pytest.raises(ConfigError, match=r"table \[machines\], key 'mesk' is not known.*'mask'"):
        record_from_mapping({"machines": {"any name": {"mesk": "m.png"}}}, Park, "x.json")
