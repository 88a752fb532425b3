import inspect

import pytest

from dtgd_edge import errors

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_ours_and_is_described(kind: type[errors.DtgdError]) -> None:
    assert issubclass(kind, errors.DtgdError)
    assert kind.__doc__
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", ALL)
def test_exit_code_tells_parity_from_everything_else(kind: type[errors.DtgdError]) -> None:
    assert kind.exit_code == (3 if issubclass(kind, errors.ParityError) else 2)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (errors.SchemaVersionError, errors.BundleError),
        (errors.DigestError, errors.BundleError),
        (errors.BackendUnavailable, errors.BackendError),
        (errors.PlanMismatch, errors.BackendError),
        (errors.ShapeError, errors.BackendError),
        (errors.SourceNotFound, errors.SourceError),
        (errors.SourceLost, errors.SourceError),
        (errors.SourceTimeout, errors.SourceError),
    ],
)
def test_family(narrow: type[Exception], wide: type[Exception]) -> None:
    assert issubclass(narrow, wide)
