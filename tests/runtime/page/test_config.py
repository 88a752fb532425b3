from pathlib import Path

import pytest

from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.page import PageConfig
from dtgd_edge.runtime.page.guard import token_from_file


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "127.8.8.8:80"])
def test_this_machine_needs_no_token(address: str) -> None:
    assert PageConfig(address).is_loopback


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.168.0.7:80", "line3:8080"])
def test_any_other_address_needs_a_token_file(address: str) -> None:
    with pytest.raises(ConfigError, match="token_file"):
        PageConfig(address)
    assert not PageConfig(address, token_file="token").is_loopback


@pytest.mark.parametrize(
    "address", ["", "8080", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:80", "a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        PageConfig(address)


def test_host_and_port_of_an_ipv6_address() -> None:
    config = PageConfig("[::1]:8080")
    assert (config.host, config.port) == ("::1", 8080)


@pytest.mark.parametrize(
    ("key", "value"),
    [("picture_fps", 0), ("rejects", 0), ("connections", 1), ("trend", 1), ("host_names", ["A:1"])],
)
def test_values_out_of_range_name_their_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        record_from_mapping({key: value}, PageConfig, "line.toml")


@pytest.mark.parametrize("text", ["", "short\n", "x" * 300, "\nsecond line is not looked at\n"])
def test_a_token_that_is_too_short_or_long_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="expected 16 to 256"):
        token_from_file(str(tmp_path / "token"))


def test_the_token_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  sixteen letters or more \nremark\n")
    assert token_from_file(str(tmp_path / "token")) == "sixteen letters or more"
    with pytest.raises(ConfigError, match="cannot be read"):
        token_from_file(str(tmp_path / "none"))
