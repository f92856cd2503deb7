"""The life of a claim: proposed, then started, released, expired or moved."""

from oslo_versionedobjects import fields

from rpc_api.events.host import AGENT, CONDUCTOR
from rpc_api.events.schema import PackedObjectField, SchemaObject, register

SCHEDULER = frozenset({"scheduler"})
#: Begins the reason of a BuildFailed if there was no build on the host. Part of the event's contract: it has no field
#: for that, and logs that exist already contain it.
CLAIM_REFUSED = "claim refused: "


@register
class ClaimProposed(SchemaObject):
    """Claim resources of one host for one consumer.

    It takes effect if, at its position, the host is known and takes instances (or ``forced``), each allocation fits
    what its provider has left, ``rule`` holds, and the CPUs, pages and devices in ``guest`` are free; otherwise it
    changes nothing. ``claim_uuid`` names this attempt: a release or expiry of another attempt of the same consumer does
    not affect it.

    ``companion`` is the consumer of a member of the affinity group that is on the host. While it is, ``rule`` holds,
    wherever the other members are.

    With a ``consumer_generation`` the consumer must have it at this position, and holds the allocations beside what it
    holds already, on another host. Without one it must hold nothing.

    ``user_id`` is the user of the request. The consumer then has this user and ``project_id``, as after a write of its
    allocations through Placement's API. None if the request has no user: the consumer keeps the user that it has.
    """

    VERSION = "1.4"  # 1.1: guest; 1.2: companion; 1.3: consumer_generation; 1.4: user_id
    NEWER = {"companion": 2, "consumer_generation": 3, "user_id": 4}
    OLDER = {1: "1.1", 2: "1.2", 3: "1.3"}
    ROLES = SCHEDULER | CONDUCTOR
    fields = {
        "claim_uuid": fields.UUIDField(),
        "consumer_uuid": fields.UUIDField(),
        "instance_uuid": fields.UUIDField(),
        "request_id": fields.StringField(),
        "project_id": fields.StringField(nullable=True),
        "host": fields.StringField(),
        "allocations": fields.ListOfObjectsField("Allocation"),
        "rule": fields.ObjectField("GroupRule", nullable=True),
        "forced": fields.BooleanField(default=False),
        "guest": PackedObjectField("Guest", nullable=True, default=None),
        "companion": fields.UUIDField(nullable=True, default=None),
        "consumer_generation": fields.NonNegativeIntegerField(nullable=True, default=None),
        "user_id": fields.StringField(nullable=True, default=None),
    }


@register
class ClaimReleased(SchemaObject):
    """The holder of a claim gives it back (a build failed, or a request was refused as a whole)."""

    VERSION = "1.0"
    ROLES = SCHEDULER | CONDUCTOR
    #: An operator who asked for it, as a smoke test.
    LATER_ROLES = {"operator": 3}
    fields = {"consumer_uuid": fields.UUIDField(), "claim_uuid": fields.UUIDField(), "reason": fields.StringField()}


@register
class ClaimExpired(SchemaObject):
    """A claim was not built in time, by the clock of the cell conductor; so all readers agree."""

    VERSION = "1.0"
    ROLES = CONDUCTOR
    fields = {"consumer_uuid": fields.UUIDField(), "claim_uuid": fields.UUIDField()}


@register
class ClaimsWatched(SchemaObject):
    """A conductor watched the claims of this log, so those that are not started are older by that time.

    For ``watched_ms``, by its monotonic clock, it watched the log at its end since it folded the total ``after_ms``.
    The total grows only if it is ``after_ms`` at this position; otherwise another conductor was first, and the time
    does not count. ``building`` are the consumers whose claims it was building in that time: they are as new again,
    whether the time counts or not.
    """

    VERSION = "1.0"
    LEVEL = 2
    ROLES = CONDUCTOR
    fields = {
        "after_ms": fields.NonNegativeIntegerField(),
        "watched_ms": fields.NonNegativeIntegerField(),
        "building": fields.ListOfUUIDField(),
    }


@register
class InstanceStarted(SchemaObject):
    """An instance runs on a host: its claim there becomes use of the host, in one step."""

    VERSION = "1.1"  # 1.1: Consumer 1.1
    ROLES = AGENT
    fields = {"host": fields.StringField(), "consumer": fields.ObjectField("Consumer")}


@register
class InstanceDeleted(SchemaObject):
    """An instance does not run on a host any more."""

    VERSION = "1.0"
    ROLES = AGENT
    fields = {"host": fields.StringField(), "instance_uuid": fields.UUIDField()}


@register
class AllocationMoved(SchemaObject):
    """The allocations of a consumer on a host now belong to another consumer (from an instance to its migration, and
    back)."""

    VERSION = "1.0"
    ROLES = CONDUCTOR
    fields = {
        "host": fields.StringField(),
        "from_consumer_uuid": fields.UUIDField(),
        "to_consumer_uuid": fields.UUIDField(),
    }


@register
class BuildFailed(SchemaObject):
    """A build failed on a host; ``final`` if no alternate is left. ``attempt`` counts the builds of the instance, from
    1. If the claim was refused, there was no build on this host: the reason then begins with "claim refused: "."""

    VERSION = "1.0"
    ROLES = CONDUCTOR
    fields = {
        "instance_uuid": fields.UUIDField(),
        "request_id": fields.StringField(),
        "host": fields.StringField(),
        "attempt": fields.NonNegativeIntegerField(),
        "reason": fields.StringField(),
        "final": fields.BooleanField(),
    }


def reason_without_build(refused: str) -> str:
    """Return the reason of a BuildFailed for a claim that was refused, with why it was refused."""
    return CLAIM_REFUSED + refused


def is_without_build(reason: str) -> bool:
    """Return whether the reason of a BuildFailed is a refused claim, so that there was no build on the host."""
    return reason.startswith(CLAIM_REFUSED)
