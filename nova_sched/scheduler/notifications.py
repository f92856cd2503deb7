"""``scheduler.select_destinations.start`` and ``.end`` on the notification bus, as nova-scheduler emits them.

Nothing is emitted unless ``[oslo_messaging_notifications] driver`` is set, which is oslo.messaging's own option.
"""

import logging
import threading

from oslo_config import cfg

from rpc_api import concurrency, errors
from rpc_api.bus.messaging import usable_url
from rpc_api.clock import SYSTEM
from rpc_api.objects import payloads
from rpc_api.objects.serializer import NovaSerializer
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)

GROUP = cfg.OptGroup("notifications", "Notifications about decisions")
UNVERSIONED, VERSIONED, BOTH = "unversioned", "versioned", "both"
OPTS = [
    cfg.StrOpt(
        "notification_format",
        default=UNVERSIONED,
        choices=(UNVERSIONED, VERSIONED, BOTH),
        deprecated_group="DEFAULT",
        help="Forms of the notifications scheduler.select_destinations.start and .end. They are emitted if "
        "[oslo_messaging_notifications] driver is set.",
    ),
    cfg.ListOpt(
        "versioned_notifications_topics",
        default=["versioned_notifications"],
        help="Topics of versioned notifications. Unversioned ones go to [oslo_messaging_notifications] topics.",
    ),
]
EVENT = "scheduler.select_destinations."
START, END = EVENT + "start", EVENT + "end"
#: Publishers of both forms, before the name of the scheduler.
PUBLISHER, VERSIONED_PUBLISHER = "scheduler.", "nova-scheduler:"
#: Notifications that wait for the broker; more are dropped, so that they do not fill the memory.
WAITING_MAX = 1000


class Silent:
    """Emits nothing."""

    def start(self, context, spec) -> None: ...

    def end(self, context, spec) -> None: ...

    def close(self) -> None: ...


class Notifications:
    """``notifiers`` are (function that makes the payload of a RequestSpec, Notifier of oslo.messaging). A thread of its
    own sends: a broker that is away must not delay a decision."""

    def __init__(self, notifiers, transport, clock=SYSTEM):
        self._notifiers = notifiers
        self._transport = transport
        self._pool = concurrency.DaemonPool(1, "notifications")
        self._outage = Outage("notifications cannot be sent, and are dropped", clock, LOG)
        #: Under the lock: how many wait, and the outage, which callers and the thread both see.
        self._lock = threading.Lock()
        self._waiting = 0

    def start(self, context, spec) -> None:
        """A RequestSpec is going to be decided."""
        self._emit(START, context, spec)

    def end(self, context, spec) -> None:
        """Hosts were chosen for a RequestSpec."""
        self._emit(END, context, spec)

    def _emit(self, event, context, spec):
        with self._lock:
            if self._waiting >= WAITING_MAX:
                self._outage.met(errors.ServiceUnavailable(f"{WAITING_MAX} of them wait for the broker; check it"))
                return
            self._waiting += 1
        self._pool.submit(self._send, event, context, spec)

    def _send(self, event, context, spec):
        fault = None
        try:
            for payload_of, notifier in self._notifiers:
                notifier.info(context, event, payload_of(spec))
        except Exception as found:
            # The transport decides which errors there are, and no decision depends on a notification.
            LOG.debug("the fault of a notification", exc_info=True)
            fault = found
        with self._lock:
            self._waiting -= 1
            if fault is not None:
                self._outage.met(fault)
            elif not self._waiting:
                # Not before: with a broker that is too slow, each one that is sent makes room for one only.
                self._outage.over("notifications can be sent again")

    def close(self) -> None:
        """Send what waits, for a moment, and end."""
        self._pool.shutdown(wait=True, timeout=1.0)
        self._transport.cleanup()


class _Serializer(NovaSerializer):
    """Without the token of the user: a reader of notifications must not be able to act for the user."""

    def serialize_context(self, ctxt):
        return {**super().serialize_context(ctxt), "auth_token": None}


def notifications_of(conf) -> Notifications | Silent:
    """What emits the notifications that are configured."""
    import oslo_messaging

    with usable_url():
        transport = oslo_messaging.get_notification_transport(conf)
    if not set(conf.oslo_messaging_notifications.driver) - {"noop"}:
        transport.cleanup()
        return Silent()
    options, name, notifiers = conf.notifications, conf.scheduler.name, []
    if options.notification_format != VERSIONED:
        notifiers.append(
            (payloads.unversioned, oslo_messaging.Notifier(transport, PUBLISHER + name, serializer=_Serializer()))
        )
    if options.notification_format != UNVERSIONED:
        versioned = oslo_messaging.Notifier(
            transport,
            VERSIONED_PUBLISHER + name,
            serializer=_Serializer(),
            topics=options.versioned_notifications_topics,
        )
        notifiers.append((payloads.versioned, versioned))
    return Notifications(notifiers, transport)
