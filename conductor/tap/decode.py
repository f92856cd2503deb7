"""From the bytes of an RPC message of Nova to what it changes.

A nova-compute has no database. It calls ``object_action`` of its conductor for each create, save and destroy of an
object; the message has all fields of the object that are set, and names those that changed. The message travels in an
envelope of oslo.messaging (version 2.0). It also has the token of a user: nothing of it may reach a log line.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nova_sched.nova_objects.names import ACTION, CHANGES, LOST, METHODS, NAME, NAMESPACE
from nova_sched.nova_objects.tables import OBJECTS, Wrong, fields_of, is_text
from rpc_api.bus.envelope import MAX_BYTES, NotACall, call_of, message_of

#: The codes of messages that cannot be used: by decode(), and by the tap.
UNREAD_CODES = ("too-large", "not-a-call", "invalid-object", "not-used", "not-published", "internal-fault")


class Change(NamedTuple):
    """``method`` (create, save, destroy) of a nova object ``name``. ``fields`` are those that the sender set, of
    :data:`nova_sched.nova_objects.tables.OBJECTS`; ``changed`` names all fields that it changed."""

    name: str
    method: str
    fields: Mapping[str, Any]
    changed: frozenset[str]


class Lost(NamedTuple):
    """Messages of the nova-compute of ``host`` may be missing; ``dropped`` of them certainly are."""

    host: str
    dropped: int


class Ignored(NamedTuple):
    """A message that concerns nobody here: the RPC method, and the object and its method if there are any."""

    what: str


class Unread(NamedTuple):
    """A message that cannot be used: a stable ``code``, and a sentence that quotes nothing secret."""

    code: str
    reason: str


def decode(body: bytes) -> Change | Lost | Ignored | Unread:
    """Read the body of a message. Never raises."""
    if len(body) > MAX_BYTES:
        return Unread("too-large", f"a message of {len(body)} bytes, wanted at most {MAX_BYTES}")
    try:
        return _change(*call_of(message_of(body)))
    except (NotACall, Wrong) as wrong:
        return Unread("not-a-call", f"a message that is not a call of Nova: {wrong}")


def _change(method: str, args: dict[str, Any]) -> Change | Lost | Ignored | Unread:
    if method == LOST:
        host, dropped = args.get("host"), args.get("dropped")
        if type(host) is not str or not is_text(host) or type(dropped) is not int or dropped < 0:
            raise Wrong("it names no host, or no number of messages")
        return Lost(host, dropped)
    if method != ACTION:
        shown = (method, args.get("objname"), args.get("objmethod"))
        return Ignored(" ".join(part[:40] for part in shown if type(part) is str))
    primitive, called = args.get("objinst"), args.get("objmethod")
    name = primitive.get(NAME) if type(primitive) is dict else None
    if type(name) is not str or type(called) is not str:
        raise Wrong("its objinst is not an object, or it has no objmethod")
    if name not in OBJECTS or called not in METHODS or primitive.get(NAMESPACE) != "nova":
        return Ignored(f"{method} {name[:40]} {called[:40]}")
    try:
        fields = fields_of(primitive, OBJECTS[name])
    except Wrong as wrong:
        return Unread("invalid-object", f"a {name} {called} that cannot be read: {wrong}")
    changes = primitive.get(CHANGES)
    changed = frozenset(filter(lambda text: type(text) is str, changes)) if type(changes) is list else frozenset()
    return Change(name, called, fields, changed)
