"""Options of the driver, which nova-compute reads from its own configuration."""

from oslo_config import cfg

GROUP = cfg.OptGroup("nova_sched", "In nova.conf of a nova-compute: the notification driver nova_sched")
OPTS = [
    cfg.StrOpt(
        "url",
        secret=True,
        help="RabbitMQ on which nova-compute publishes its objects for a tap of nova_sched, in the form of "
        "transport_url. Read by nova-compute. The default is its transport_url.",
    ),
    cfg.StrOpt(
        "exchange",
        default="nova_sched",
        help="Exchange to which nova-compute publishes its objects: [tap] exchange of nova_sched's conductor of the "
        "cell. Cells that share a vhost need different ones. Read by nova-compute.",
    ),
]
#: Routing key of the messages: the default of [tap] topic.
TOPIC = "conductor"


def list_opts():
    """All options of the driver, for oslo-config-generator."""
    return [(GROUP, OPTS)]


def register(conf) -> None:
    """Register the options in the configuration of nova-compute."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, GROUP)
