"""Versions of what is installed. Some have no record of it: OpenCV on a Jetson is no Python package."""

import importlib.metadata
from collections.abc import Iterable


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions by package name; packages that are not recorded as installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
