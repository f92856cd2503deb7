"""Options of the shadow, and the queues that they name."""

from oslo_config import cfg

from rpc_api.bus.copies import CopyQueue
from rpc_api.bus.copy_address import MIB, address_of
from rpc_api.own_name import own_name

PREFIX = "nova_sched.shadow."
#: Seconds after which the broker removes a queue that nobody reads. Older messages are of no use.
EXPIRES = 60.0

GROUP = cfg.OptGroup("shadow", "The shadow: decisions on copies of the requests to Nova's own scheduler")
OPTS = [
    own_name(
        "Name of this shadow in the log of cell0 and in the names of its queues; shadows that run at the same "
        "time must have different ones."
    ),
    cfg.StrOpt(
        "url",
        secret=True,
        help="RabbitMQ of Nova's API level, in the form of transport_url, with an account that has rights on the "
        "shadow's own queues and may read the exchange. The default is [DEFAULT] transport_url. It also counts for a "
        "cell whose section [cell:NAME] has no transport_url.",
    ),
    cfg.StrOpt("exchange", default="nova", help="Nova's exchange: [DEFAULT] control_exchange of the Nova services."),
    cfg.StrOpt("topic", default="scheduler", help="Routing key of the messages to Nova's scheduler."),
    cfg.StrOpt(
        "compute_topic", default="compute", help="Routing key, in front of .HOST, of the messages to compute hosts."
    ),
    cfg.BoolOpt(
        "read_builds",
        default=True,
        help="Whether the shadow reads copies of the calls to compute hosts in each cell, to learn which host Nova "
        "chose. Without it only allocations in the logs show that, so [scheduler] placement_endpoint must be "
        "nova_sched, and what Nova does with a rebuild is not seen.",
    ),
    cfg.IntOpt(
        "queue_mb",
        default=64,
        min=1,
        help="Limit of each queue in MiB. If one is full, the broker drops its oldest messages; Nova's own queues are "
        "not affected.",
    ),
    cfg.BoolOpt(
        "durable",
        default=False,
        help="Whether the queues are durable, for a broker that refuses transient queues. The shadow starts with empty "
        "queues in any case.",
    ),
    cfg.FloatOpt(
        "choice_timeout",
        default=60.0,
        min=1.0,
        help="Seconds after a request without a choice of Nova, after which Nova counts as having found no host.",
    ),
    cfg.FloatOpt(
        "memory_seconds",
        default=3600.0,
        min=1.0,
        help="With [scheduler] placement_endpoint = placement: seconds for which what Nova chose counts in memory, "
        "unless an import brings it into a log before. Should be longer than the time between two imports.",
    ),
]


def register_transport(conf) -> None:
    """Register the options of oslo.messaging that say where Nova's broker is."""
    from oslo_messaging import opts

    for group, options in opts.list_opts():
        if group in (None, "oslo_messaging_rabbit"):
            conf.register_opts(options, group)


def queue_of(conf, name: str, url: str | None, routing_key: str) -> CopyQueue:
    """A queue of the shadow on the broker of a transport URL; UsageError if that is not of RabbitMQ. ``name`` comes
    after the shadow's own name."""
    options = conf.shadow
    url = url or options.url or conf.transport_url
    return CopyQueue(
        address_of(conf, "shadow", url, f"{PREFIX}{options.name}.{name}"),
        options.exchange,
        routing_key,
        options.queue_mb * MIB,
        EXPIRES,
        options.durable,
        starts_empty=True,
        name="shadow",
    )
