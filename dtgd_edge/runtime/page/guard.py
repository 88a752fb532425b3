"""Who may ask: the Host and Origin of a request, the token, the sessions of those who logged in."""

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Protocol

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.rates import Rate
from dtgd_edge.runtime.page.refused import Refused

_SESSIONS = 64
_TOKEN_LENGTH = 16
_TOKEN_LIMIT = 256

# A person mistypes a token a few times; a program that guesses gets one try in ten seconds.
_GUESSES_PER_S, _GUESSES_BURST = 0.1, 5


class Headers(Protocol):
    """A request's headers, found by name in any case."""

    def get(self, name: str, /) -> str | None: ...


class Guard:
    """Decides about one request at a time; any thread may ask.

    Args:
        config: of the page.
        port: that the server really has.
        token: what opens the page.
        clock_s: the time.
    """

    def __init__(
        self, config: PageConfig, port: int, token: str, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._port = port
        self._token_digest = _digest(token)
        self._clock_s = clock_s
        self._guesses = Rate(_GUESSES_PER_S, _GUESSES_BURST, clock_s)
        self._lock = threading.Lock()
        # Digest of a session's id to when it ends: what is in memory opens nothing.
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        # Cookies do not know ports: two lines on one machine need two names.
        self._cookie = f"dtgd_edge_{port}"

    @property
    def is_reading_free(self) -> bool:
        """Whether the page may be read without a login."""
        return self._config.is_loopback and not self._config.token_file

    def check_host(self, host: str | None) -> None:
        """Refuse a Host that is not ours: a foreign name that was made to point here (DNS rebinding).

        Raises:
            Refused: it is.
        """
        name, port = _split_host(host or "")
        if name in self._config.host_names:
            return
        if not self._is_own(name) or (port or 80) != self._port:
            raise Refused(
                421,
                "this line is not called by that name; expected its IP address, or a name of host_names "
                "in [http]; correct the address",
                must_close=True,
            )

    def check_origin(self, headers: Headers) -> None:
        """Refuse a change that another site's page asks for.

        Args:
            headers: the request's, names of any case.

        Raises:
            Refused: the Origin is not this page; or there is none, and no Authorization either.
        """
        origin, host = headers.get("Origin"), headers.get("Host") or ""
        site = headers.get("Sec-Fetch-Site")
        is_own = origin in (f"http://{host}", f"https://{host}")
        # Programs send no Origin; what they send by themselves is no cookie, but the token.
        is_program = origin is None and headers.get("Authorization") is not None
        if not (is_own or is_program) or site not in (None, "same-origin"):
            raise Refused(403, "another site's page asked for this; expected the line's own; use that")

    def is_known(self, headers: Headers, address: str) -> bool:
        """Whether a request carries the token or the cookie of a session.

        Raises:
            Refused: its token is wrong, or was too often.
        """
        authorization = headers.get("Authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise Refused(401, "that kind of Authorization is not known; expected Bearer and the token")
            self._check_token(token.strip(), address)
            return True
        session = self._session_id(headers)
        if session is None:
            return False
        with self._lock:
            ends_s = self._sessions.get(_digest(session))
            return ends_s is not None and self._clock_s() < ends_s

    def log_in(self, token: str, address: str) -> str:
        """Open a session for who has the token.

        Returns:
            The Set-Cookie header.

        Raises:
            Refused: the token is wrong, or was too often.
        """
        self._check_token(token, address)
        session = secrets.token_urlsafe(32)
        lasts_s = round(self._config.session_hours * 3600)
        with self._lock:
            self._sessions[_digest(session)] = self._clock_s() + lasts_s
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return f"{self._cookie}={session}; Max-Age={lasts_s}; Path=/; HttpOnly; SameSite=Strict"

    def log_out(self, headers: Headers) -> str:
        """End a session; the Set-Cookie header that makes the browser forget it."""
        session = self._session_id(headers)
        if session is not None:
            with self._lock:
                self._sessions.pop(_digest(session), None)
        return f"{self._cookie}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"

    def _check_token(self, token: str, address: str) -> None:
        # Asked before the comparison: a guess too many is not answered even if it is right.
        if self._guesses.is_spent(address):
            raise Refused(429, "too many wrong tokens; expected patience; try again in 10 s", 10)
        if not hmac.compare_digest(_digest(token), self._token_digest):
            self._guesses.take(address)
            raise Refused(401, "that is not the token; expected the one that this line was started with")

    def _session_id(self, headers: Headers) -> str | None:
        try:
            cookie = SimpleCookie(headers.get("Cookie") or "").get(self._cookie)
        except CookieError:
            return None
        return None if cookie is None else cookie.value

    def _is_own(self, name: str) -> bool:
        if name == "localhost":
            return self._config.is_loopback
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A literal address names no site that could be made to point elsewhere.
        return not self._config.is_loopback or address.is_loopback


def token_from_file(path: str) -> str:
    """Read a token.

    Raises:
        ConfigError: no such file, or what it holds is too short or too long.
    """
    try:
        lines = Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise ConfigError(
            f"token_file {path} cannot be read ({why}); expected a file with the token in its first line; "
            "make it, readable for this program only"
        ) from exc
    token = lines[0].strip() if lines else ""
    if not _TOKEN_LENGTH <= len(token) <= _TOKEN_LIMIT:
        raise ConfigError(
            f"token_file {path} has a token of {len(token)} characters; expected {_TOKEN_LENGTH} to "
            f"{_TOKEN_LIMIT}; make a random one"
        )
    return token


def _split_host(host: str) -> tuple[str, int | None]:
    """Name (small letters, no brackets) and port of a Host header; ("", None) when it is none."""
    name, _, port = (
        host.strip().lower().rpartition(":") if _has_port(host) else (host.strip().lower(), "", "")
    )
    if port and not (port.isascii() and port.isdigit()):
        return "", None
    return name.removeprefix("[").removesuffix("]"), int(port) if port else None


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
