"""Versions of installed packages, for records of how a result came about."""

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """`unknown` for a package that is not installed, such as this project where it is found by PYTHONPATH."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
