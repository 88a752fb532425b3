"""What the operator's page may ask of the line."""

from collections.abc import Callable
from dataclasses import dataclass

from dtgd_edge.verdict import Decision


@dataclass(frozen=True, slots=True)
class SwapOffer:
    """A bundle that could take over.

    Attributes:
        name: what it is called, for people.
        report: how it compares with the running one, one or two sentences.
        is_ready: whether it may be switched to now.
    """

    name: str
    report: str
    is_ready: bool = True


@dataclass(frozen=True, slots=True)
class Controls:
    """Callables of the line; one that is None hides its button.

    They are called in the server's threads, one at a time. A DtgdError is shown to the operator; anything
    else that is raised is logged and the operator is told to look there. The page tells an Event for each
    of them, done or refused, with who asked: "threshold changed", "trigger pressed", "output tested",
    "switch asked for", "rollback asked for", or the same with "not".

    Attributes:
        change_threshold: takes the new threshold, the reason and who wants it.
        trigger: takes one picture; gets who wants it.
        test_output: sends a decision to the outputs as if a part had got it; gets who wants it.
        swap_offer: a bundle that waits to take over, or None.
        switch: asks for it to take over; gets who wants it and the reason.
        rollback: asks for the bundle before; gets who wants it and the reason.
    """

    change_threshold: Callable[[float, str, str], None] | None = None
    trigger: Callable[[str], None] | None = None
    test_output: Callable[[Decision, str], None] | None = None
    swap_offer: Callable[[], SwapOffer | None] | None = None
    switch: Callable[[str, str], None] | None = None
    rollback: Callable[[str, str], None] | None = None
