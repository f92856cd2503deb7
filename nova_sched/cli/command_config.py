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
    """Read configuration files, by default those of the services. Warn on stderr about options that nothing reads.

    Raise UsageError if a file is wrong.
    """
    conf = cfg.ConfigOpts()
    config.register(conf)
    parse(conf, program, [f"--config-file={path}" for path in paths])
    unread_options.warn(conf)
    return conf


def found(program: str = PROGRAM) -> list[str]:
    """Return the files that services read without ``--config-file``, including those in ``nova_sched.conf.d``."""
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
    """Return CELL=URL for each log that a configuration names: that of cell0, and those of the enabled cells.

    Raise UsageError for a cell without a log.
    """
    named = [f"{CELL0}={conf.cells.cell0_log}"] if conf.cells.cell0_log else []
    return named + [f"{name}={cell_of(conf, name, uuid_wanted=False).log}" for name in conf.cells.enabled]
