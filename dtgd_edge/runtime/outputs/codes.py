"""Numbers for decisions and reasons, for controllers that know no text."""

from dtgd_edge.verdict import Decision

DECISION_CODES = {None: 0, Decision.OK: 1, Decision.NG: 2, Decision.NO_DECISION: 3}

# Never renumber: controllers are programmed with these.
REASON_CODES = {
    "lost frame": 1,
    "wrong size": 2,
    "wrong layout": 3,
    "wrong channels": 4,
    "wrong channel order": 5,
    "wrong colour": 6,
    "black": 7,
    "white": 8,
    "frozen": 9,
    "nearly frozen": 10,
    "stale": 11,
    "blurred": 12,
    "under-exposed": 13,
    "over-exposed": 14,
    "missing frames": 15,
    "not a number": 16,
    "session failed": 17,
    "verdict missing": 18,
    "verdict late": 19,
}
OTHER_REASON = 255


def reason_code(reason: str | None) -> int:
    """Number of a reason "kind: detail"; 0 for none, OTHER_REASON for a kind without a number."""
    return 0 if reason is None else REASON_CODES.get(reason.partition(":")[0], OTHER_REASON)
