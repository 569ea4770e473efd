"""Which Darkroom this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; 0 where the code runs from a folder that was never installed."""
    try:
        return version("darkroom")
    except PackageNotFoundError:
        return "0"
