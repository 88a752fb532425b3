"""Versions of what is installed."""

import importlib.metadata

from dtgd_edge.versions import installed_versions


def test_what_is_not_installed_is_left_out() -> None:
    found = installed_versions(["numpy", "no-such-package", "dtgd-edge"])
    assert found == {name: importlib.metadata.version(name) for name in ("numpy", "dtgd-edge")}
