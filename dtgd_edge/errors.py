"""Every error this package raises on purpose.

    DtgdError
    ├── ConfigError            a recipe, target or line file says something we do not understand
    ├── DataError              pictures or a checkpoint are missing, damaged or of the wrong kind
    ├── BundleError            a bundle cannot be used
    │   ├── SchemaVersionError     it was written by a newer dtgd-edge
    │   └── DigestError            its bytes are not the bytes that were written
    ├── BackendError           a session cannot be opened or cannot score
    │   ├── BackendUnavailable     the library or device is not here (the text says what to install)
    │   ├── PlanMismatch           a serialised engine belongs to another graph, GPU or version
    │   └── ShapeError             frames of another shape or dtype than the graph takes
    ├── ParityError            a converted graph gives other verdicts than the trained one
    ├── SourceError            a camera, stream or folder gives no frames
    │   ├── SourceNotFound         it is not there
    │   ├── SourceLost             it was there and went away
    │   └── SourceTimeout          it is there and stays silent
    ├── SinkError              a verdict cannot be delivered or stored
    └── ProcessLost            another of the processes that train together ended

A text is one sentence in three parts: what was found, what was expected, what to do.
The command line prints it and exits with `exit_code`.
"""


class DtgdError(Exception):
    """Base of all errors that a user can act on."""

    exit_code = 2


class ConfigError(DtgdError):
    """A configuration file or value is not understood."""


class DataError(DtgdError):
    """Pictures, masks or a checkpoint are missing, damaged or of the wrong kind."""


class BundleError(DtgdError):
    """A bundle cannot be used."""


class SchemaVersionError(BundleError):
    """A bundle was written by a newer version."""


class DigestError(BundleError):
    """A bundle's bytes are not the bytes that were written."""


class BackendError(DtgdError):
    """A session cannot be opened, or fails while scoring."""


class BackendUnavailable(BackendError):
    """The library or the device a session needs is not here."""


class PlanMismatch(BackendError):
    """A serialised engine belongs to another graph, GPU or library version."""


class ShapeError(BackendError):
    """Frames have another shape or dtype than the graph takes."""


class ParityError(DtgdError):
    """A converted graph gives other verdicts than the trained one."""

    exit_code = 3


class SourceError(DtgdError):
    """A frame source gives no frames."""


class SourceNotFound(SourceError):
    """A camera, stream or folder is not there."""


class SourceLost(SourceError):
    """A source was open and went away."""


class SourceTimeout(SourceError):
    """A source is open but delivers nothing in time."""


class SinkError(DtgdError):
    """A verdict cannot be delivered or stored."""


class ProcessLost(DtgdError):
    """Another of the processes that train together ended.

    Attributes:
        is_told: the one that ended says why, so that this one need not speak.
    """

    def __init__(self, text: str, is_told: bool = False) -> None:
        super().__init__(text)
        self.is_told = is_told
