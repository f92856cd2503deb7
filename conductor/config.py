"""Options of the conductors."""

from oslo_config import cfg

from rpc_api import config, errors
from rpc_api.contracts import agent as agent_rpc
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.own_name import own_name

LEVELS = ("api", "cell")

CLI_OPTS = [
    cfg.StrOpt("level", choices=LEVELS, help="What this conductor is of: the API level, or one cell."),
    cfg.StrOpt("cell", help="Name of the cell, with --level cell."),
]
OPTS = [
    own_name(
        "Name of this conductor in the log and on the RPC bus. Two of the same level and cell that run at "
        "the same time must have different ones."
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

TAP_GROUP = cfg.OptGroup("tap", "The wire tap of a cell's conductor: what nova-compute publishes to Nova's conductor")
TAP_OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Whether the conductor of a cell reads copies of what the nova-computes of the cell publish, and reports "
        "their hosts. The log of the cell must be at level 3 or higher.",
    ),
    cfg.StrOpt(
        "url",
        secret=True,
        help="RabbitMQ of Nova's cell, in the form of transport_url, with an account that has rights on the tap's own "
        "queue and may read the exchange. The default is the transport_url of the cell.",
    ),
    cfg.StrOpt(
        "exchange", default="nova", help="Nova's exchange: [DEFAULT] control_exchange of the cell's Nova services."
    ),
    cfg.StrOpt("topic", default="conductor", help="Routing key of the messages to Nova's conductor."),
    cfg.StrOpt(
        "queue",
        help="Name of the tap's queue, and the start of the names beside it. The default is nova_sched.tap. and the "
        "name of the cell.",
    ),
    cfg.IntOpt(
        "queue_mb",
        default=64,
        min=1,
        help="Limit of the queue in MiB. If it is full, the broker drops the oldest messages of the queue; Nova's own "
        "queues are not affected.",
    ),
    cfg.FloatOpt(
        "queue_expires",
        default=1800.0,
        min=10.0,
        help="Seconds after which the broker removes the queue if no conductor reads it.",
    ),
    cfg.BoolOpt(
        "durable",
        default=False,
        help="Whether the queue and its messages survive a restart of the broker. Without it the tap makes the queue "
        "again, and the messages of the restart are missing. Needed for a broker that refuses transient queues.",
    ),
]


def list_opts():
    """All options of the conductors, for oslo-config-generator."""
    return [(None, CLI_OPTS), (conductor_rpc.GROUP, OPTS), (TAP_GROUP, TAP_OPTS)]


def register(conf) -> None:
    """Register the conductors' options, and those that all services share."""
    config.register(conf, [(conductor_rpc.GROUP, OPTS), (TAP_GROUP, TAP_OPTS)])
    conf.register_cli_opts(CLI_OPTS)


def check(conf) -> None:
    """Raise UsageError for options that do not go together."""
    if conf.level is None:
        raise errors.UsageError("--level is not given, wanted api or cell; add it to the command line")
    if conf.level == "cell" and not conf.cell:
        raise errors.UsageError("--cell is not given, wanted the name of the cell; add it to the command line")
    if conf.level == "api" and conf.cell:
        raise errors.UsageError("--cell goes with --level cell, got --level api; take one of them away")
    if conf.tap.enabled and conf.level == "api":
        raise errors.UsageError(
            "[tap] enabled is set for --level api, wanted it for the conductors of cells only; take it away here"
        )
    options = conf.conductor
    if options.claim_ttl <= options.build_timeout:
        raise errors.UsageError(
            f"[conductor] claim_ttl is {options.claim_ttl:g} s, wanted more than build_timeout, "
            f"which is {options.build_timeout:g} s; fix one of them"
        )
