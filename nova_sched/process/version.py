"""The installed version of nova_sched."""

from importlib import metadata

PROJECT = "nova_sched"


def version() -> str:
    """Return the installed version; "0" in a checkout that is not installed."""
    try:
        return metadata.version(PROJECT)
    except metadata.PackageNotFoundError:
        return "0"
