"""A line's file: every key, its default, and the examples of the repository."""

import re
from pathlib import Path

import pytest

from dtgd_edge.config import record_from_toml
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.line import LineConfig, read_line
from dtgd_edge.runtime.line_text import keys_of, line_text
from dtgd_edge.runtime.source_config import SourceConfig

LINES = Path(__file__).parents[2] / "runtime" / "lines"
DEFAULT = LineConfig(SourceConfig("0"))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_file_with_all_keys_is_of_this_version() -> None:
    # dtgd-edge line > runtime/lines/all-keys.toml
    assert (LINES / "all-keys.toml").read_text() == line_text()


def test_it_says_the_defaults() -> None:
    assert read_line(LINES / "all-keys.toml") == DEFAULT


def test_it_names_every_key() -> None:
    text = line_text()
    for key in keys_of(LineConfig):
        table, _, name = key.rpartition(".")
        is_table = re.search(rf"^#?\[+{re.escape(key)}\]+$", text, re.MULTILINE)
        body = text if not table else re.split(rf"^#?\[+{re.escape(table)}\]+$", text, flags=re.MULTILINE)[1]
        is_key = re.search(rf"^#?{name} = ", body.split("\n[")[0].split("\n#[")[0], re.MULTILINE)
        assert is_table or is_key, f"{key} is not in the file"


def off_tables() -> list[str]:
    return re.findall(r"^#\[+([a-z_.]+)\]+$", line_text(), re.MULTILINE)


@pytest.mark.parametrize("table", off_tables())
def test_every_table_that_is_off_can_be_switched_on(table: str, tmp_path: Path) -> None:
    """Take the comment signs from its keys, and from the tables that it lies in."""
    lines, inside = [], ""
    for line in line_text().splitlines():
        heading = re.fullmatch(r"#?\[+([a-z_.]+)\]+", line)
        if heading is not None:
            inside = heading[1]
        is_on = inside == table or table.startswith(f"{inside}.")
        # Examples of keys that are off would not always go together.
        is_example = re.match(r"#(fewest_judged|width_px|height_px) = ", line) is not None
        lines.append(line[1:] if is_on and re.match(r"#[\[a-z]", line) and not is_example else line)
    text = "\n".join(lines)
    if table.startswith("pictures"):
        text += "\n[audit]\n"
    try:
        config = read_line(written(tmp_path / "line.toml", text))
    except ConfigError as exc:
        pytest.fail(f"{table}: {exc}")
    value = config
    for name in table.split("."):
        value = value[0] if isinstance(value, tuple) else getattr(value, name)
    assert value


@pytest.mark.parametrize("path", sorted(LINES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_understood(path: Path) -> None:
    assert record_from_toml(path, LineConfig).source.uri


def test_a_wrong_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    text = '[source]\nuri = "0"\n[helth]\n'
    with pytest.raises(ConfigError, match=r"line\.toml: key 'helth' is not known.*did you mean 'health'\?"):
        read_line(written(tmp_path / "line.toml", text))
    text = '[source]\nuri = "0"\n[reject]\ndelay = 5\n'
    with pytest.raises(ConfigError, match=r"table \[reject\], key 'delay'.*did you mean 'delay_ms'\?"):
        read_line(written(tmp_path / "line.toml", text))


def test_pictures_need_a_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[pictures\] without \[audit\]"):
        read_line(written(tmp_path / "line.toml", '[source]\nuri = "0"\n[pictures]\n'))


@pytest.mark.parametrize("keys", ["threads = -1", "queue_frames = 0", "silence_limit_s = nan"])
def test_impossible_loops(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ConfigError, match="loop"):
        read_line(written(tmp_path / "line.toml", f'[source]\nuri = "0"\n[loop]\n{keys}\n'))
