"""Garbage collection stays out of TensorRT's calls."""

import gc

import pytest

from dtgd_edge.runtime.collection import collection_paused


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collection_is_paused_and_then_as_it_was(was_enabled: bool) -> None:
    class Cycle:
        pass

    freed: list[str] = []
    cycle = Cycle()
    cycle.self, Cycle.__del__ = cycle, lambda self: freed.append("cycle")  # type: ignore[attr-defined]
    before = gc.isenabled()
    (gc.enable if was_enabled else gc.disable)()
    try:
        del cycle
        with pytest.raises(ValueError, match="inside"), collection_paused():
            assert freed == ["cycle"] and not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if before else gc.disable)()
