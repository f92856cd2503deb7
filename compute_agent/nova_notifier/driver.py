"""What ``[oslo_messaging_notifications] driver = nova_sched`` loads in nova-compute."""

from oslo_messaging.notify import notifier

from compute_agent.nova_notifier import config
from compute_agent.nova_notifier.outbox import Outbox
from compute_agent.nova_notifier.publisher import Publisher, Sender

_publishers: list[Publisher] = []


class Driver(notifier.Driver):
    """Loading it is what counts: it then publishes what nova-compute saves. oslo.messaging loads it once for each
    notifier of the process, of which Nova has two."""

    def __init__(self, conf, topics, transport) -> None:
        super().__init__(conf, topics, transport)
        if not _publishers:
            install(conf)

    def notify(self, ctxt, message, priority, retry) -> None:
        """Do nothing: a notification has less than the objects."""


def install(conf) -> None:
    """Let the objects of this process publish what they save. Nothing is logged here: nova-compute loads its drivers
    before it opens its log."""
    # Not above: the rest of the project can be used without Nova.
    from compute_agent.nova_notifier import classes

    config.register(conf)
    publisher = Publisher(Outbox(conf.host), Sender(conf))
    _publishers.append(publisher)
    classes.register(publisher.put)
