"""Targets: TOML to record, names to records, and what `auto` decides."""

from pathlib import Path

import pytest

from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError
from dtgd_edge.export import target as target_module
from dtgd_edge.export.target import CalibrationTarget, LimitsTarget, Target, target_from_name
from dtgd_edge.runtime.doctor import Finding

SHIPPED = Path(__file__).parents[2] / "export" / "targets"


@pytest.mark.parametrize("name", ["cpu", "tensorrt"])
def test_the_shipped_files_spell_every_key_of_the_defaults(name: str) -> None:
    import msgspec

    path = SHIPPED / f"{name}.toml"
    assert target_from_name(str(path)) == target_from_name(name)
    written = msgspec.toml.decode(path.read_bytes())
    expected = mapping_from_record(target_from_name(name))
    assert {k: set(v) if isinstance(v, dict) else None for k, v in written.items()} == {
        k: set(v) if isinstance(v, dict) else None for k, v in expected.items()
    }


def test_keys_left_out_keep_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text('float_modules = [".noise"]\n[limits]\nflip_share = 0.01\n')
    assert target_from_name(str(path)) == Target(
        float_modules=(".noise",), limits=LimitsTarget(flip_share=0.01)
    )


def test_what_is_not_understood_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="target 'jetson' is not known; expected one of auto, cpu, tensorrt"
    ):
        target_from_name("jetson")
    path = tmp_path / "line.toml"
    path.write_text("[calibration]\nmetod = 'minmax'\n")
    with pytest.raises(ConfigError, match="did you mean 'method'"):
        target_from_name(str(path))
    with pytest.raises(ConfigError, match=r"calibration\.frames is 0"):
        CalibrationTarget(frames=0)
    with pytest.raises(ConfigError, match="rest is 'fp16' with placement 'cpu'"):
        Target("cpu", "fp16")
    with pytest.raises(ConfigError, match="a limit is negative"):
        LimitsTarget(flip_share=-0.1)


@pytest.mark.parametrize(
    ("usable", "placement"),
    [((), "cpu"), (("cuda",), "cpu"), (("tensorrt",), "cpu"), (("cuda", "tensorrt_rtx"), "tensorrt")],
)
def test_auto_takes_tensorrt_where_a_gpu_and_a_library_answer(
    monkeypatch: pytest.MonkeyPatch, usable: tuple[str, ...], placement: str
) -> None:
    monkeypatch.setattr(target_module, "finding", lambda name: Finding(name, name in usable, ""))
    assert target_from_name("auto").placement == placement
