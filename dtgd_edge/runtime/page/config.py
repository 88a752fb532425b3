"""Where the operator's page listens, and what it shows."""

import ipaddress
import re
from dataclasses import dataclass

from dtgd_edge.errors import ConfigError

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+):(\d{1,5})")
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PageConfig:
    """The TOML table [http].

    Attributes:
        address: host:port to listen on; port 0 takes a free one. Any host but this machine itself
            (127.0.0.1, localhost, [::1]) needs a token file.
        token_file: a file with the token that opens the page, 16 characters or more, in its first line.
            "": this machine's own page can be read without, and what it needs for changes is made up at
            the start and shown there.
        host_names: names by which browsers may call the page, beside IP addresses and localhost:
            "line3.plant.example". A proxy before the page needs its own name here.
        session_hours: how long a login lasts.
        picture_fps: live pictures drawn per second, at most, and only while somebody looks.
        picture_px: longest side of the pictures, pixels.
        rejects: rejected parts that are kept to look at.
        trend: newest scores that the trend shows.
        silence_limit_s: a live source that gave no frame for so long is unhealthy; 0: waiting is always
            healthy, as on a triggered line.
        connections: open at the same time, of all clients together.
    """

    address: str = "127.0.0.1:8080"
    token_file: str = ""
    host_names: tuple[str, ...] = ()
    session_hours: float = 12.0
    picture_fps: float = 5.0
    picture_px: int = 960
    rejects: int = 24
    trend: int = 300
    silence_limit_s: float = 30.0
    connections: int = 64

    def __post_init__(self) -> None:
        match = _ADDRESS.fullmatch(self.address)
        if match is None or int(match[2]) > 65535:
            raise ConfigError(
                f"address {self.address!r} is not host:port; expected for instance 127.0.0.1:8080; correct it"
            )
        for name in self.host_names:
            if not _HOST_NAME.fullmatch(name):
                raise ConfigError(
                    f"host_names has {name!r}; expected a name in small letters without port; correct it"
                )
        for key, low, high in _RANGES:
            value = getattr(self, key)
            if not low <= value <= high:
                raise ConfigError(f"{key} is {value}; expected {low:g} to {high:g}; correct it")
        if not self.is_loopback and not self.token_file:
            raise ConfigError(
                f"address {self.address} can be reached from other machines and has no token; expected "
                "token_file with a file whose first line is the token; make one, or listen on 127.0.0.1"
            )

    @property
    def host(self) -> str:
        """The host to bind, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0: a free one."""
        return int(self.address.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name that is not an address is taken for the network."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


_RANGES = (
    ("session_hours", 0.01, 24 * 31),
    ("picture_fps", 0.1, 60),
    ("picture_px", 64, 4096),
    ("rejects", 1, 200),
    ("trend", 10, 5000),
    ("silence_limit_s", 0, 86400),
    ("connections", 4, 1024),
)
