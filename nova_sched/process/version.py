"""Which version of nova_sched runs."""

from importlib import metadata

PROJECT = "nova_sched"


def version() -> str:
    """The version that is installed; "0" in a checkout that is not."""
    try:
        return metadata.version(PROJECT)
    except metadata.PackageNotFoundError:
        return "0"
