"""A request in the scheduler's form, and the evidence of each decision."""

from oslo_versionedobjects import fields

from rpc_api.events import device  # noqa: F401 (registers what SchedulingRequest consists of)
from rpc_api.events.claim import SCHEDULER
from rpc_api.events.schema import PackedObjectField, SchemaObject, register

#: A scheduler that decides on copies of the requests of another one, and claims nothing.
SHADOW = "shadow"


@register
class ResourceAmount(SchemaObject):
    """A requested amount of a resource class."""

    VERSION = "1.0"
    fields = {"resource_class": fields.StringField(), "amount": fields.NonNegativeIntegerField()}


@register
class ResourceGroup(SchemaObject):
    """A group of the request, in Placement's terms.

    With the ``suffix`` "" its resources may come from several providers of one tree; a single provider must satisfy any
    other group. ``any_traits`` and ``member_of`` are lists of lists of alternatives: one of each inner list must be
    met.
    """

    VERSION = "1.0"
    fields = {
        "suffix": fields.StringField(),
        "resources": fields.ListOfObjectsField("ResourceAmount"),
        "required_traits": fields.ListOfStringsField(),
        "forbidden_traits": fields.ListOfStringsField(),
        "any_traits": fields.ListOfListsOfStringsField(),
        "member_of": fields.ListOfListsOfStringsField(),
        "forbidden_aggregates": fields.ListOfStringsField(),
        "in_tree": fields.UUIDField(nullable=True),
    }


@register
class ServerGroupRequest(SchemaObject):
    """The server group of a request.

    ``policy`` is one of affinity, anti-affinity, soft-affinity, soft-anti-affinity, fault-domain. ``limit`` is the
    largest number of members (fault-domain: of distinct ``partition``) in one ``scope``, which is "host" or the
    kind of an aggregate (its metadata key ``domain``, e.g. "rack"). ``members`` and ``hosts`` are what the conductor
    knew of the group; the members in the logs are added. Evidence leaves out what the logs know, and has at most 1,000
    of each.
    """

    VERSION = "1.0"
    fields = {
        "uuid": fields.UUIDField(),
        "policy": fields.StringField(),
        "limit": fields.NonNegativeIntegerField(),
        "scope": fields.StringField(),
        "partition": fields.StringField(nullable=True),
        "members": fields.ListOfStringsField(),
        "hosts": fields.ListOfStringsField(),
    }


@register
class SchedulingRequest(SchemaObject):
    """The parts of a RequestSpec that a decision depends on (no credentials, no image locations).

    ``fallback_groups`` are requested if there is no room for ``groups`` (VCPU in place of PCPU); empty without such
    groups. ``preferred_cell`` is the present cell of a server that may move to another cell. ``disk_format`` is that of
    the image. ``segments`` are those of the requested networks, from Neutron: a host must be on one segment of each
    list.
    """

    VERSION = "1.1"  # 1.1: user_id and all behind it
    fields = {
        "request_id": fields.StringField(),
        "project_id": fields.StringField(nullable=True),
        "flavor_name": fields.StringField(),
        "extra_specs": fields.DictOfStringsField(),
        "image_properties": fields.DictOfStringsField(),
        "groups": fields.ListOfObjectsField("ResourceGroup"),
        "group_policy": fields.StringField(),
        "same_subtree": fields.ListOfListsOfStringsField(),
        "root_required": fields.ListOfStringsField(),
        "root_forbidden": fields.ListOfStringsField(),
        "availability_zone": fields.StringField(nullable=True),
        "force_hosts": fields.ListOfStringsField(),
        "force_nodes": fields.ListOfStringsField(),
        "ignore_hosts": fields.ListOfStringsField(),
        "target_host": fields.StringField(nullable=True),
        "target_node": fields.StringField(nullable=True),
        "target_cell": fields.StringField(nullable=True),
        "server_group": fields.ObjectField("ServerGroupRequest", nullable=True),
        "check_only": fields.BooleanField(default=False),
        "user_id": fields.StringField(nullable=True, default=None),
        "flavor_id": fields.StringField(nullable=True, default=None),
        "vcpus": fields.NonNegativeIntegerField(default=0),
        "memory_mb": fields.NonNegativeIntegerField(default=0),
        "root_gb": fields.NonNegativeIntegerField(default=0),
        "ephemeral_gb": fields.NonNegativeIntegerField(default=0),
        "swap_mb": fields.NonNegativeIntegerField(default=0),
        "is_bfv": fields.BooleanField(default=False),
        "image_id": fields.StringField(nullable=True, default=None),
        "has_image": fields.BooleanField(default=True),
        "scheduler_hints": fields.Field(fields.Dict(fields.List(fields.String())), default={}),
        "numa": fields.ObjectField("NUMARequest", nullable=True, default=None),
        "pci": fields.ListOfObjectsField("PCIRequest", default=()),
        "fallback_groups": fields.ListOfObjectsField("ResourceGroup", default=()),
        "preferred_cell": fields.StringField(nullable=True, default=None),
        "disk_format": fields.StringField(nullable=True, default=None),
        "segments": fields.ListOfListsOfStringsField(default=()),
    }


@register
class CellPosition(SchemaObject):
    """The last position of a cell's log that a decision knew, and those of its own claims (by sequence) that were in
    flight then; ``closed`` if the log of the cell was unreadable, so that nothing was placed there."""

    VERSION = "1.0"
    fields = {
        "cell": fields.StringField(),
        "epoch": fields.StringField(),
        "position": fields.IntegerField(),
        "first_in_flight": fields.NonNegativeIntegerField(),
        "last_in_flight": fields.NonNegativeIntegerField(),
        "closed": fields.BooleanField(default=False),
    }


@register
class RefusalCount(SchemaObject):
    """The number of hosts that one filter refused for one reason."""

    VERSION = "1.0"
    fields = {"filter": fields.StringField(), "reason": fields.StringField(), "hosts": fields.NonNegativeIntegerField()}


@register
class WeigherScore(SchemaObject):
    """The result of one weigher for a host: its raw value, and what it added to the host's score."""

    VERSION = "1.0"
    fields = {"weigher": fields.StringField(), "raw": fields.FloatField(), "weighed": fields.FloatField()}


@register
class HostScore(SchemaObject):
    """The score of a host, weigher by weigher; the first host of a list is the chosen one."""

    VERSION = "1.0"
    fields = {
        "host": fields.StringField(),
        "score": fields.FloatField(),
        "weighers": fields.ListOfObjectsField("WeigherScore"),
    }


@register
class Evidence(SchemaObject):
    """The evidence of a decision: all that a replay needs to make it again.

    ``hosts_total`` hosts were considered; each is counted once, in ``refusals`` or in ``survivors``. The draw among
    equals follows from ``seed`` and ``attempt``; ``equals`` is the number of hosts with the best score.
    """

    VERSION = "1.1"  # 1.1: SchedulingRequest 1.1
    fields = {
        "request": fields.ObjectField("SchedulingRequest"),
        "positions": fields.ListOfObjectsField("CellPosition"),
        "policy_digest": fields.StringField(),
        "seed": fields.NonNegativeIntegerField(),
        "hosts_total": fields.NonNegativeIntegerField(),
        "survivors": fields.NonNegativeIntegerField(),
        "equals": fields.NonNegativeIntegerField(),
        "refusals": fields.ListOfObjectsField("RefusalCount"),
        "scores": fields.ListOfObjectsField("HostScore"),
    }


@register
class DecisionMade(SchemaObject):
    """A decision for one instance: ``outcome`` is selected or no_valid_host. If selected, hosts[0] is claimed and the
    rest are alternates. ``attempt`` counts the decisions for the instance from 0 (tools show it from 1). ``took_ns`` is
    the time from the request's arrival at the scheduler to the decision."""

    VERSION = "1.1"  # 1.1: Evidence 1.1
    ROLES = SCHEDULER
    fields = {
        "request_id": fields.StringField(),
        "instance_uuid": fields.UUIDField(),
        "attempt": fields.NonNegativeIntegerField(),
        "outcome": fields.StringField(),
        "reason": fields.StringField(),
        "claim_uuid": fields.UUIDField(nullable=True),
        "hosts": fields.ListOfStringsField(),
        "took_ns": fields.NonNegativeIntegerField(),
        "evidence": PackedObjectField("Evidence"),
    }


@register
class RequestRefused(SchemaObject):
    """A request failed without a decision: it contradicts itself, or there was a fault. ``reason`` is the text for the
    caller or the operator."""

    VERSION = "1.0"
    ROLES = SCHEDULER
    fields = {"request_id": fields.StringField(), "instances": fields.ListOfUUIDField(), "reason": fields.StringField()}


@register
class PolicyAdopted(SchemaObject):
    """A scheduler uses this policy from here on: the options whose digest its decisions record.

    ``options`` are JSON, by name.
    """

    VERSION = "1.0"
    ROLES = SCHEDULER
    LATER_ROLES = {SHADOW: 3}
    fields = {"digest": fields.StringField(), "options": fields.StringField()}


@register
class DecisionCompared(SchemaObject):
    """A shadow decided for one instance on a copy of a request, and compares that with what Nova did. Nothing is
    claimed, and no state changes.

    ``outcome``, ``reason``, ``hosts``, ``took_ns`` and ``evidence`` are those of the shadow's own decision, as in a
    DecisionMade; hosts[0] is what it would have claimed. ``nova_host`` is the host that Nova chose, None if none was
    seen; ``seen_in`` says where it was seen: "allocations", or the method that Nova's conductor called on the host.
    ``verdict`` and ``cause`` are stable codes, ``part`` is the filter or weigher that makes the difference ("" for
    none), and ``text`` says why in one sentence. ``from_memory`` is the number of
    instances that counted in the decision although no log has what they hold.
    """

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({SHADOW})
    fields = {
        "request_id": fields.StringField(),
        "instance_uuid": fields.UUIDField(),
        "outcome": fields.StringField(),
        "reason": fields.StringField(),
        "hosts": fields.ListOfStringsField(),
        "nova_host": fields.StringField(nullable=True),
        "seen_in": fields.StringField(),
        "verdict": fields.StringField(),
        "cause": fields.StringField(),
        "part": fields.StringField(),
        "text": fields.StringField(),
        "from_memory": fields.NonNegativeIntegerField(),
        "took_ns": fields.NonNegativeIntegerField(),
        "evidence": PackedObjectField("Evidence"),
    }
