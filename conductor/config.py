"""Options of the conductors."""

import socket

from oslo_config import cfg

from rpc_api import config, errors
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts import conductor as conductor_rpc

LEVELS = ("api", "cell")

CLI_OPTS = [
    cfg.StrOpt("level", choices=LEVELS, help="What this conductor is of: the API level, or one cell."),
    cfg.StrOpt("cell", help="Name of the cell, with --level cell."),
]
OPTS = [
    cfg.StrOpt(
        "name",
        default=socket.gethostname(),
        sample_default="<the host's name>",
        help="Name of this conductor in the log and on the RPC bus. Two of the same level and cell that run at "
        "the same time must have different ones.",
    ),
    cfg.IntOpt("build_threads", default=32, min=1, help="Requests that are built side by side at the API level."),
    cfg.FloatOpt(
        "build_timeout",
        default=agent_rpc.BUILD_TIMEOUT,
        min=0.1,
        help="Seconds that an agent has to start an instance, before it is asked to cancel.",
    ),
    cfg.FloatOpt(
        "cancel_timeout",
        default=agent_rpc.CANCEL_TIMEOUT,
        min=0.1,
        help="Seconds that an agent has to confirm that it cancelled; after them the claim stays.",
    ),
    cfg.FloatOpt(
        "claim_ttl",
        default=1200.0,
        min=0.1,
        help="Seconds after which a claim that nobody builds expires. In a log at level 2 or above that is time for "
        "which some conductor of the cell ran, in a log at level 1 time for which this conductor ran without a "
        "restart. Must be more than build_timeout, as a conductor may not know what its peers are building.",
    ),
]


def list_opts():
    """All options of the conductors, for oslo-config-generator."""
    return [(None, CLI_OPTS), (conductor_rpc.GROUP, OPTS)]


def register(conf) -> None:
    """Register the conductors' options, and those that all services share."""
    config.register(conf, [(conductor_rpc.GROUP, OPTS)])
    conf.register_cli_opts(CLI_OPTS)


def check(conf) -> None:
    """Raise UsageError for options that do not go together."""
    if conf.level is None:
        raise errors.UsageError("--level is not given, wanted api or cell; add it to the command line")
    if conf.level == "cell" and not conf.cell:
        raise errors.UsageError("--cell is not given, wanted the name of the cell; add it to the command line")
    if conf.level == "api" and conf.cell:
        raise errors.UsageError("--cell goes with --level cell, got --level api; take one of them away")
    options = conf.conductor
    if options.claim_ttl <= options.build_timeout:
        raise errors.UsageError(
            f"[conductor] claim_ttl is {options.claim_ttl:g} s, wanted more than build_timeout, "
            f"which is {options.build_timeout:g} s; fix one of them"
        )
