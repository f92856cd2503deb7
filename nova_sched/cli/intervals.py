"""The intervals of the services, for commands that judge whether something is silent or over."""

from nova_sched.cli.durations import duration
from nova_sched.replay.health.intervals import Intervals
from rpc_api import errors
from rpc_api.clock import spelled


def add_intervals(parser) -> None:
    """Add ``--config-file`` and ``--silent``."""
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        dest="config_files",
        help="configuration of the services, whose intervals say what is silent and what is over "
        "(their usual file if it is there, else their defaults)",
    )
    parser.add_argument(
        "--silent",
        metavar="TIME",
        help="take agents for silent that published nothing for so long, as 30m, and what was wrong so "
        "long ago for over (twice [compute_agent] confirm_interval and [conductor] "
        f"service_down_time: {spelled(Intervals().silent_ns / 1e9)} by default)",
    )


def intervals_of(command, arguments) -> Intervals:
    """What the configuration and ``--silent`` say; UsageError for what is wrong with them."""
    found = _configured(command, arguments.config_files)
    if arguments.silent is None:
        return found
    return found._replace(silent=duration(arguments.silent, "--silent") / 1e9)


def configuration(paths):
    """What all services share of the configuration in some files, or in their usual one; UsageError if it is wrong."""
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
        # The services' file is not everybody's to read.
        command.say(f"{command.app.NAME} {command.cmd_name}: the services' defaults are used: {fault}")
        return Intervals()
    return Intervals(
        conf.compute_agent.confirm_interval, conf.conductor.service_down_time, conf.scheduler.cell_down_after
    )
