"""The filters and weighers that a command decides with."""

import os

from nova_sched.cli import command
from nova_sched.selection.catalogue import BUILT_IN


def add_config_file(parser) -> None:
    """Add ``--config-file``, for commands that decide with filters and weighers that are not built in."""
    command.add_config_file(
        parser,
        "configuration file of the schedulers, for filters and weighers that are not built in "
        "(default: the file that the services read, such as /etc/nova_sched/nova_sched.conf)",
    )


def catalogue(arguments):
    """Return the filters and weighers of the command's configuration, or of the file that the services read.

    Without a readable file these are the built-in ones."""
    from nova_sched.cli import command_config

    paths = arguments.config_files
    if not paths and not all(map(_readable, command_config.found() or [""])):
        return BUILT_IN
    from nova_sched.scheduler import config

    return config.catalogue_of(command_config.read(paths))[0]


def _readable(path):
    return bool(path) and os.access(path, os.R_OK)
