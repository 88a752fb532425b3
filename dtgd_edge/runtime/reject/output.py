"""Where the signals of the reject line go: to pins, registers or nodes that a controller reads."""

from typing import Protocol

from dtgd_edge.runtime.reject.signals import Signals


class Commands(Protocol):
    """What a controller may say to the line. Any thread may call; the calls return at once."""

    def acknowledge(self, sequence: int) -> None:
        """It has the result of this number."""
        ...

    def resume(self) -> None:
        """A stopped line may go on."""
        ...


class Output(Protocol):
    """Shows signals to a controller. Structural: any class with these members is one."""

    @property
    def name(self) -> str:
        """What it is, for people: "modbus 127.0.0.1:502"."""
        ...

    @property
    def is_required(self) -> bool:
        """Whether the line is not ready without it."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether what is shown reaches the controller."""
        ...

    def open(self, commands: Commands) -> None:
        """Begin; pass on what the controller says.

        Raises:
            SinkError: it cannot be: the address is taken, the chip is not there.
        """
        ...

    def show(self, signals: Signals) -> None:
        """Make the signals seen; returns at once: whoever waits for a network does so in a thread.

        Raises:
            SinkError: it did not work; it is tried again with the next change.
        """
        ...

    def close(self) -> None:
        """Leave the last signals as they are and give back what is held; closing twice is fine."""
        ...
