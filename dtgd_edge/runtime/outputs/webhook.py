"""HTTP: a POST with JSON for every verdict that somebody wants to hear of."""

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from typing import Any

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.message import message_from_verdict
from dtgd_edge.runtime.outputs.queued import Refused
from dtgd_edge.runtime.outputs.secret import secret_from_file
from dtgd_edge.runtime.outputs.settings import WebhookConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

SIGNATURE = "X-Dtgd-Signature"
TIMESTAMP = "X-Dtgd-Timestamp"

# Answers that are worth another try although the server gave one.
_TRY_AGAIN = (408, 425, 429)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without the verdict, which nobody would notice."""

    def redirect_request(self, *args: Any) -> None:
        return None


class WebhookSink(Sink):
    """Posts verdicts; waits for the answer, so it belongs behind a QueuedSink.

    With a secret, SIGNATURE is "sha256=" and the hex HMAC-SHA256 of the TIMESTAMP header's text (seconds
    since 1970), a full stop and the body.

    Raises:
        SinkError: the secret cannot be read.
    """

    def __init__(self, config: WebhookConfig) -> None:
        self._config = config
        self._secret = secret_from_file(config.secret_file, "outputs.webhook")
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._sequence = 0
        self._body = b""
        self._verdict: Verdict | None = None

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if verdict.decision not in self._config.decisions:
            return
        if verdict is not self._verdict:  # else it is tried again and keeps its number
            self._sequence += 1
            self._body = message_from_verdict(verdict, self._sequence)
            self._verdict = verdict
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers |= signed_headers(self._secret, str(int(time.time())), self._body)
        request = urllib.request.Request(self._config.url, self._body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._config.timeout_s):
                pass
        except urllib.error.HTTPError as exc:
            exc.close()
            text = f"{self._config.url} answers {exc.code} {exc.reason}; expected 2xx; check the server"
            is_final = exc.code < 500 and exc.code not in _TRY_AGAIN
            raise (Refused(text) if is_final else SinkError(text)) from exc
        except (OSError, http.client.HTTPException) as exc:
            why = exc.reason if isinstance(exc, urllib.error.URLError) else exc
            raise SinkError(
                f"{self._config.url} does not answer ({why}); expected 2xx; check the server"
            ) from exc

    def close(self) -> None:
        """Nothing is held between two verdicts."""


def signed_headers(secret: bytes, timestamp: str, body: bytes) -> dict[str, str]:
    """Headers that prove who sent a body and when."""
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: timestamp, SIGNATURE: f"sha256={digest}"}
