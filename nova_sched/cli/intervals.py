"""The intervals of the services, for commands that judge whether an agent is silent or a fault is over."""

from nova_sched.cli.command import add_config_file
from nova_sched.cli.durations import duration
from nova_sched.replay.health.intervals import Intervals
from rpc_api import errors
from rpc_api.clock import spelled


def add_intervals(parser) -> None:
    """Add ``--config-file`` and ``--silent``."""
    add_config_file(
        parser,
        "configuration file of the services; its intervals define what is silent and what is over "
        "(default: their usual file if it exists, else the default intervals)",
    )
    parser.add_argument(
        "--silent",
        metavar="TIME",
        help="an agent is silent if it published nothing for this time, such as 30m, and a fault is over after this "
        "time (default: twice [compute_agent] confirm_interval plus [conductor] "
        f"service_down_time: {spelled(Intervals().silent_ns / 1e9)})",
    )


def intervals_of(command, arguments) -> Intervals:
    """Return the intervals of the configuration and of ``--silent``; UsageError if one of them is wrong."""
    found = _configured(command, arguments.config_files)
    if arguments.silent is None:
        return found
    return found._replace(silent=duration(arguments.silent, "--silent") / 1e9)


def configuration(paths):
    """Read the options that all services share, from some files or from the usual one; UsageError if they are wrong."""
    from oslo_config import cfg

    from nova_sched.process.process import parse
    from rpc_api import config

    conf = cfg.ConfigOpts()
    config.register(conf)
    parse(conf, "nova-sched", [f"--config-file={path}" for path in paths])
    return conf


def _configured(command, paths):
    try:
        conf = configuration(paths)
    except errors.UsageError as fault:
        if paths:
            raise
        # The user may have no right to read the services' file.
        command.say(f"{command.app.NAME} {command.cmd_name}: default intervals are used: {fault}")
        return Intervals()
    return Intervals(
        conf.compute_agent.confirm_interval, conf.conductor.service_down_time, conf.scheduler.cell_down_after
    )
