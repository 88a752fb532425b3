"""How often one client may ask."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_CLIENTS = 1024


class Rate:
    """Allows a client a burst, and then so many requests a second (a token bucket for each client).

    Clients are told apart by address, those of IPv6 by their network: one machine has 2^64 of them.

    Args:
        per_s: allowed in the long run.
        burst: allowed at once.
        clock_s: the time.
    """

    def __init__(self, per_s: float, burst: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock_s = clock_s
        self._lock = threading.Lock()
        # The oldest client first; a flood of addresses forgets the oldest and fills no memory.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Use one request up; False when there is none left."""
        return self._change(address, 1.0)

    def is_spent(self, address: str) -> bool:
        """Whether there is none left, without using one up."""
        return not self._change(address, 0.0)

    def _change(self, address: str, amount: float) -> bool:
        client, now_s = _client(address), self._clock_s()
        with self._lock:
            left, seen_s = self._left.pop(client, (self._burst, now_s))
            left = min(self._burst, left + (now_s - seen_s) * self._per_s)
            is_allowed = left >= 1.0
            self._left[client] = (left - amount if is_allowed else left, now_s)
            while len(self._left) > _CLIENTS:
                self._left.popitem(last=False)
            return is_allowed


def _client(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
