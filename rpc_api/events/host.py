"""Events of agents and cell conductors about hosts."""

from oslo_versionedobjects import fields

from rpc_api.events import device  # noqa: F401 (registers what HostInventory consists of)
from rpc_api.events.fields import AmountField
from rpc_api.events.schema import PackedObjectField, SchemaObject, register

AGENT = frozenset({"compute_agent"})
CONDUCTOR = frozenset({"conductor"})
#: The workers of Placement's API.
API = frozenset({"placement"})


@register
class Inventory(SchemaObject):
    """The inventory of one resource class of a provider, in Placement's terms (total in the class's own unit)."""

    VERSION = "1.0"
    fields = {
        "resource_class": fields.StringField(),
        "total": AmountField(),
        "reserved": AmountField(),
        "min_unit": AmountField(),
        "max_unit": AmountField(),
        "step_size": AmountField(),
        "allocation_ratio": fields.FloatField(),
    }


@register
class Provider(SchemaObject):
    """One resource provider of a host's tree; ``parent`` is its parent's index in the list, -1 for the root."""

    VERSION = "1.0"
    fields = {
        "uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "parent": fields.IntegerField(),
        "inventories": fields.ListOfObjectsField("Inventory"),
        "traits": fields.ListOfStringsField(),
        "aggregates": fields.ListOfUUIDField(),
    }


@register
class HostInventory(SchemaObject):
    """The part of a host that seldom changes: its hypervisor and its tree of providers (the root, the compute node,
    first).

    ``supported_instances`` are ``[architecture, hypervisor type, vm mode]``; ``stats`` are what a flavor's
    ``capabilities:`` extra specs may name beside the other fields. ``numa_cells`` and ``pci_pools`` are those of the
    host, used or not: the use follows from its consumers.

    With ``root_uuid`` it has no ``providers``: a :class:`ProvidersReported` or Placement's API writes the tree of that
    root. ``authority`` is who says what the consumers of the host hold: its ``agent``, or ``nova``.
    """

    VERSION = "1.2"  # 1.1: numa_cells, pci_pools; 1.2: root_uuid, authority
    OLDER = {2: "1.1"}
    NEWER = {"root_uuid": 3, "authority": 3}
    fields = {
        "nodename": fields.StringField(),
        "availability_zone": fields.StringField(nullable=True),
        "host_ip": fields.StringField(nullable=True),
        "hypervisor_type": fields.StringField(),
        "hypervisor_version": fields.NonNegativeIntegerField(),
        "cpu_info": fields.StringField(),
        "supported_instances": fields.ListOfListsOfStringsField(),
        "stats": fields.DictOfStringsField(),
        "providers": fields.ListOfObjectsField("Provider"),
        "numa_cells": fields.ListOfObjectsField("HostNUMACell", default=()),
        "pci_pools": fields.ListOfObjectsField("PCIPool", default=()),
        "root_uuid": fields.UUIDField(nullable=True, default=None),
        "authority": fields.StringField(default="agent"),
    }


@register
class ReportedProviders(SchemaObject):
    """A tree of providers, the root first."""

    VERSION = "1.0"
    fields = {"providers": fields.ListOfObjectsField("Provider")}


@register
class NUMAMetric(SchemaObject):
    """The value of a metric for one NUMA node, such as numa.membw.current (in bytes per second)."""

    VERSION = "1.0"
    fields = {"name": fields.StringField(), "node": fields.NonNegativeIntegerField(), "value": fields.IntegerField()}


@register
class HostStatus(SchemaObject):
    """The part of a host that often changes, except its use: whether it takes instances, and its load.

    ``metrics`` have one value for the host, ``numa_metrics`` have one for each of its NUMA nodes.
    """

    VERSION = "1.1"  # 1.1: numa_metrics
    OLDER = {1: "1.0"}
    NEWER = {"numa_metrics": 2}
    fields = {
        "disabled": fields.BooleanField(),
        "disabled_reason": fields.StringField(nullable=True),
        "forced_down": fields.BooleanField(),
        "num_io_ops": fields.NonNegativeIntegerField(),
        "failed_builds": fields.NonNegativeIntegerField(),
        "metrics": fields.Field(fields.Dict(fields.Float())),
        "numa_metrics": fields.ListOfObjectsField("NUMAMetric", default=()),
    }


@register
class Allocation(SchemaObject):
    """An amount of one resource class of one provider."""

    VERSION = "1.0"
    fields = {"provider_uuid": fields.UUIDField(), "resource_class": fields.StringField(), "amount": AmountField()}


@register
class GroupRule(SchemaObject):
    """The rule of a server group for one claim.

    * ``spread``: at most ``limit`` distinct partitions of the group in ``domain``. Anti-affinity has the host as
      domain and the instance as partition; fault domains have the rack as domain and the number as partition.
    * ``together``: all members of the group are in one ``domain`` (affinity).
    * ``member``: nothing is refused; only the membership is recorded (the soft policies).
    """

    VERSION = "1.0"
    fields = {
        "group_uuid": fields.UUIDField(),
        "policy": fields.StringField(),
        "domain": fields.StringField(),
        "partition": fields.StringField(),
        "limit": fields.NonNegativeIntegerField(),
    }


@register
class Consumer(SchemaObject):
    """An instance that a host runs, and its use of the host."""

    VERSION = "1.1"  # 1.1: guest
    fields = {
        "instance_uuid": fields.UUIDField(),
        "project_id": fields.StringField(nullable=True),
        "allocations": fields.ListOfObjectsField("Allocation"),
        "rule": fields.ObjectField("GroupRule", nullable=True),
        "guest": PackedObjectField("Guest", nullable=True, default=None),
    }


@register
class HostConsumers(SchemaObject):
    """All instances that a host runs."""

    VERSION = "1.1"  # 1.1: Consumer 1.1
    fields = {"consumers": fields.ListOfObjectsField("Consumer")}


@register
class HostReported(SchemaObject):
    """The whole state of a host, from its agent: on start, on change, and on request.

    ``consumers_digest`` is :func:`rpc_api.digest.consumers_digest` of ``consumers``: a reader with the same digest does
    not need to unpack them. ``server`` is the RPC server of the host's agent.
    """

    VERSION = "1.3"  # 1.1: HostInventory 1.1, HostConsumers 1.1; 1.2: HostStatus 1.1; 1.3: HostInventory 1.2
    OLDER = {1: "1.1", 2: "1.2"}
    ROLES = AGENT
    #: A conductor reports the facts of a host whose authority is Nova; so does an operator who imports a cloud.
    LATER_ROLES = {"conductor": 3, "operator": 3}
    fields = {
        "host": fields.StringField(),
        "server": fields.StringField(),
        "inventory": PackedObjectField("HostInventory"),
        "status": fields.ObjectField("HostStatus"),
        "consumers": PackedObjectField("HostConsumers"),
        "consumers_digest": fields.NonNegativeIntegerField(),
    }


@register
class ProvidersReported(SchemaObject):
    """The tree of providers of a host, from its agent: all that the agent knows of. Providers in the tree that
    Placement's API made stay."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = AGENT
    fields = {"host": fields.StringField(), "providers": PackedObjectField("ReportedProviders")}


@register
class AuthorityPassed(SchemaObject):
    """From here on ``authority`` says what the consumers of a host hold: its ``agent``, or ``nova``."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    fields = {"host": fields.StringField(), "authority": fields.StringField()}


@register
class HostDisabled(SchemaObject):
    """An operator gives no more instances to a host of an agent; those that it runs stay. Its agent's reports do not
    change that. ``reason`` is for people."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    fields = {"host": fields.StringField(), "reason": fields.StringField()}


@register
class HostEnabled(SchemaObject):
    """A host that an operator disabled takes instances again, if its agent reports that it does."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    fields = {"host": fields.StringField()}


@register
class HostConfirmed(SchemaObject):
    """Nothing changed on a host: the digest of what it would report (:func:`rpc_api.digest.host_digest`)."""

    VERSION = "1.0"
    ROLES = AGENT
    fields = {"host": fields.StringField(), "digest": fields.NonNegativeIntegerField()}


@register
class HostLost(SchemaObject):
    """A cell conductor has received no beat of a host for longer than ``service_down_time``."""

    VERSION = "1.0"
    ROLES = CONDUCTOR
    fields = {"host": fields.StringField(), "reason": fields.StringField()}


@register
class HostSeen(SchemaObject):
    """A cell conductor receives beats of a lost host again."""

    VERSION = "1.0"
    ROLES = CONDUCTOR
    fields = {"host": fields.StringField()}


@register
class HostRemoved(SchemaObject):
    """A host was removed: its providers and its instances are forgotten."""

    VERSION = "1.0"
    ROLES = CONDUCTOR | AGENT
    #: An operator removes a host of an agent that is gone for good.
    LATER_ROLES = {"operator": 3}
    fields = {"host": fields.StringField(), "reason": fields.StringField()}


@register
class TrackedInstance(SchemaObject):
    """An instance that nova-compute reports, and the properties of its image (as text)."""

    VERSION = "1.0"
    fields = {"instance_uuid": fields.UUIDField(), "image_properties": fields.DictOfStringsField()}


@register
class InstancesTracked(SchemaObject):
    """The instances of a host, which nova-compute casts to all schedulers and publishes to its conductor; a scheduler
    or a conductor to which they are new appends them.

    It shows where instances are, not what they use: the host's agent reports that. ``gone`` are instances that the host
    does not have any more.
    """

    VERSION = "1.0"
    ROLES = frozenset({"scheduler"})
    #: A conductor that taps the messages of nova-compute, and an operator who imports a cloud.
    LATER_ROLES = {"conductor": 3, "operator": 3}
    fields = {
        "host": fields.StringField(),
        "instances": fields.ListOfObjectsField("TrackedInstance"),
        "gone": fields.ListOfUUIDField(),
    }
