from collections.abc import Iterator
from pathlib import Path

import pytest

from dtgd_edge.train import loop
from dtgd_edge.train.data import DataSet, read_data


@pytest.fixture(scope="module")
def few_judging_frames() -> Iterator[None]:
    """Drawing and packing 64 defects would take longer than a handful of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "MOST_DEFECTS", 4)
        patch.setattr(loop, "MOST_FITTED", 4)
        yield


@pytest.fixture(scope="module")
def data(pretend_data: Path) -> DataSet:
    return read_data(pretend_data)
