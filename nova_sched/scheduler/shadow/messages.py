"""What a shadow reads in copies of Nova's messages: requests to the scheduler, and what the conductor does with the
answers. Nothing of a message is logged but its method and the ids in it: it may have tokens and passwords."""

import uuid
from typing import NamedTuple

from nova_sched.request.from_spec import request_from
from nova_sched.request.networks import with_networks
from nova_sched.scheduler.asked import checked_uuids, in_named_cell, instances_of, readable, request_id_of
from rpc_api import errors
from rpc_api.bus.copies import Copy
from rpc_api.bus.envelope import MAX_BYTES, NotACall, call_of, context_of, message_of
from rpc_api.events import SchedulingRequest
from rpc_api.objects.context import RequestContext
from rpc_api.serializer import RpcSerializer

SELECT = "select_destinations"
#: Methods that Nova's conductor calls on a chosen host.
CHOICES = frozenset(
    {
        "build_and_run_instance",
        "prep_resize",
        "prep_snapshot_based_resize_at_dest",
        "check_can_live_migrate_destination",
        "unshelve_instance",
        "rebuild_instance",
    }
)
#: The method after which an instance holds nothing any more.
END = "terminate_instance"
DATA = "nova_object.data"


class Unread(Exception):
    """A message cannot be used: a stable ``code``, and a text that quotes nothing secret."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Request(NamedTuple):
    """A select_destinations for some instances; ``spec`` is its RequestSpec."""

    request: SchedulingRequest
    instance_uuids: list[str]
    spec: object
    context: RequestContext


class Choice(NamedTuple):
    """The host on which the conductor calls a ``method`` for an instance, in the course of the request of an id."""

    instance_uuid: str
    host: str
    method: str
    request_id: str


def request_of(copy: Copy, cells) -> Request | None:
    """The request in a message to the scheduler; None for another call. ``cells`` have names and uuids. Raises
    Unread."""
    method, args, message = _call(copy)
    if method != SELECT:
        return None
    serializer = RpcSerializer()
    try:
        context = serializer.deserialize_context(context_of(message))
        spec = serializer.deserialize_entity(None, args.get("spec_obj"))
        uuids = checked_uuids(args["instance_uuids"]) if args.get("instance_uuids") else ()
        uuids = uuids or checked_uuids(instances_of(spec))
        request = in_named_cell(request_from(readable(spec), request_id_of(context), uuids), cells)
    except errors.NovaSchedError as fault:
        raise Unread("not-a-request", str(fault)) from None
    except Exception as fault:
        # The text of an unknown error may quote the message.
        raise Unread("not-a-request", f"a request that cannot be read ({type(fault).__name__})") from fault
    return Request(request, uuids, spec, context)


def with_networks_of(found: Request, networks, asks_for_segments: bool) -> Request:
    """The request with what Neutron knows of its ports and networks. Raises Unread."""
    try:
        return found._replace(request=with_networks(found.request, found.spec, networks, asks_for_segments))
    except errors.NovaSchedError as fault:
        raise Unread("no-networks", str(fault)) from None


def choice_of(copy: Copy, topic: str) -> Choice | None:
    """What a message to a compute host says of an instance; None for a call that says nothing. Raises Unread.

    The host is in the routing key, ``topic``.HOST.
    """
    method, args, message = _call(copy)
    if method not in CHOICES and method != END:
        return None
    instance = args.get("instance")
    data = instance.get(DATA) if type(instance) is dict else None
    try:
        instance_uuid = str(uuid.UUID(data["uuid"] if type(data) is dict else None))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unread("not-an-instance", f"a call of {method} without the uuid of an instance") from None
    host = copy.routing_key.removeprefix(f"{topic}.")
    if not host or host == copy.routing_key:
        raise Unread("not-a-host", f"a call of {method} to {copy.routing_key!r:.80}, wanted {topic}.HOST")
    try:
        context = RpcSerializer().deserialize_context(context_of(message))
    except errors.NovaSchedError as fault:
        raise Unread("not-a-call", str(fault)) from None
    return Choice(instance_uuid, host, method, request_id_of(context))


def _call(copy: Copy):
    """(Method, its arguments as they are sent, the message)."""
    if copy.body is None:
        raise Unread("not-a-call", "a message whose compression cannot be read")
    if len(copy.body) > MAX_BYTES:
        raise Unread("too-large", f"a message of {len(copy.body)} bytes, wanted at most {MAX_BYTES}")
    try:
        message = message_of(copy.body)
        return (*call_of(message), message)
    except NotACall as fault:
        raise Unread("not-a-call", f"a message that is not a call of Nova: {fault}") from None
