"""The configuration of the services, as commands read it."""

import os

from oslo_config import cfg

from nova_sched.process import unread_options
from nova_sched.process.process import parse
from nova_sched.process.version import PROJECT
from nova_sched.scheduler import config
from rpc_api.config import CELL0, cell_of

PROGRAM = "nova-sched"


def read(paths=(), program: str = PROGRAM) -> cfg.ConfigOpts:
    """The configuration in files, by default in those that services find; names on stderr what nobody reads in them.

    UsageError for what is wrong in them.
    """
    conf = cfg.ConfigOpts()
    config.register(conf)
    parse(conf, program, [f"--config-file={path}" for path in paths])
    unread_options.warn(conf)
    return conf


def found(program: str = PROGRAM) -> list[str]:
    """The files that services find without ``--config-file``, those in ``nova_sched.conf.d`` too."""
    directories = cfg.find_config_dirs(PROJECT, program)
    return [
        *cfg.find_config_files(PROJECT, program),
        *(
            os.path.join(directory, name)
            for directory in directories
            for name in sorted(os.listdir(directory))
            if name.endswith(".conf")
        ),
    ]


def logs(conf) -> list[str]:
    """CELL=URL of the logs that a configuration names: cell0's, and those of the enabled cells.

    UsageError for a cell without a log.
    """
    named = [f"{CELL0}={conf.cells.cell0_log}"] if conf.cells.cell0_log else []
    return named + [f"{name}={cell_of(conf, name, uuid_wanted=False).log}" for name in conf.cells.enabled]
