"""Events of the ledger: providers of resources, what they have, and what consumers hold of them.

These are the writes of Placement's API. Each is one event, and it takes effect if its conditions hold at its position
in the log; otherwise it changes nothing. Where a client sent a generation, the event has it as a condition.
``request_id`` is the id of the API request, and ``user_id`` the user of its token, so that the log shows who wrote.
"""

from typing import Any

from oslo_versionedobjects import fields

from rpc_api.events.host import API
from rpc_api.events.schema import PackedObjectField, SchemaObject, register

WRITERS = API | frozenset({"operator"})
#: Greatest size of a packed event that writes many consumers or inventories, in bytes.
MAX_WRITE_BYTES = 1000 * 1024


def _of_request() -> dict[str, fields.Field[Any]]:
    """The fields that say which API request wrote."""
    return {"request_id": fields.StringField(), "user_id": fields.StringField(nullable=True)}


@register
class ProviderCreated(SchemaObject):
    """A provider without inventories. It is the root of a tree, or belongs to the tree of its parent. Its uuid and its
    name are those of no other provider."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {
        "provider_uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "parent_uuid": fields.UUIDField(nullable=True),
        **_of_request(),
    }


@register
class ProviderChanged(SchemaObject):
    """A provider gets a name and a parent. With ``may_move`` it may leave the parent that it has."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {
        "provider_uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "parent_uuid": fields.UUIDField(nullable=True),
        "may_move": fields.BooleanField(),
        **_of_request(),
    }


@register
class ProviderDeleted(SchemaObject):
    """A provider that has no children and of which nobody holds anything is removed."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"provider_uuid": fields.UUIDField(), **_of_request()}


@register
class InventoriesPut(SchemaObject):
    """Inventories of a provider are written. ``kind`` is one of

    * ``all``: the provider has these inventories and no others from now on;
    * ``add``: these are new;
    * ``change``: these are there already, and get new values;
    * ``remove``: those of these classes are removed (only the names of ``inventories`` count).
    """

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {
        "provider_uuid": fields.UUIDField(),
        "generation": fields.NonNegativeIntegerField(nullable=True),
        "kind": fields.StringField(),
        "inventories": fields.ListOfObjectsField("Inventory"),
        **_of_request(),
    }


@register
class TraitsPut(SchemaObject):
    """A provider has these traits and no others from now on."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {
        "provider_uuid": fields.UUIDField(),
        "generation": fields.NonNegativeIntegerField(nullable=True),
        "traits": fields.ListOfStringsField(),
        **_of_request(),
    }


@register
class AggregatesPut(SchemaObject):
    """A provider is in these aggregates and no others from now on."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {
        "provider_uuid": fields.UUIDField(),
        "generation": fields.NonNegativeIntegerField(nullable=True),
        "aggregates": fields.ListOfUUIDField(),
        **_of_request(),
    }


@register
class ClaimTerms(SchemaObject):
    """What must hold, beside the room, for allocations of an instance on a host: as in a ClaimProposed."""

    VERSION = "1.0"
    fields = {
        "host": fields.StringField(),
        "instance_uuid": fields.UUIDField(),
        "rule": fields.ObjectField("GroupRule", nullable=True),
        "guest": PackedObjectField("Guest", nullable=True),
        "companion": fields.UUIDField(nullable=True),
    }


@register
class ConsumerPut(SchemaObject):
    """All that one consumer holds of the providers of this log from now on.

    If it is ``guarded``, the consumer must have ``generation`` at this position, or hold nothing (None). With a
    ``consumer_type`` of None it keeps its type. ``terms`` are those under which a scheduler offered the allocations.
    """

    VERSION = "1.0"
    fields = {
        "consumer_uuid": fields.UUIDField(),
        "guarded": fields.BooleanField(),
        "generation": fields.NonNegativeIntegerField(nullable=True),
        "project_id": fields.StringField(),
        "user_id": fields.StringField(),
        "consumer_type": fields.StringField(nullable=True),
        "allocations": fields.ListOfObjectsField("Allocation"),
        "terms": fields.ObjectField("ClaimTerms", nullable=True, default=None),
    }


@register
class AllocationsPut(SchemaObject):
    """The allocations of some consumers are written, of all of them or of none."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    MAX_BYTES = MAX_WRITE_BYTES
    fields = {"consumers": fields.ListOfObjectsField("ConsumerPut"), **_of_request()}


@register
class AllocationsDropped(SchemaObject):
    """A consumer holds nothing any more, whatever its generation was."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"consumer_uuid": fields.UUIDField(), **_of_request()}


@register
class AllocationsPrepared(SchemaObject):
    """The part of a write over several logs in this one: if it can be written here, its room is held, and its consumers
    are locked, until a WriteCommitted or a WriteAborted.

    ``logs`` are the names of all logs of the write. What the log ``home`` decides counts for all of them.
    """

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    MAX_BYTES = MAX_WRITE_BYTES
    fields = {
        "write_uuid": fields.UUIDField(),
        "home": fields.StringField(),
        "logs": fields.ListOfStringsField(),
        "consumers": fields.ListOfObjectsField("ConsumerPut"),
        **_of_request(),
    }


@register
class WriteCommitted(SchemaObject):
    """A write over several logs takes effect: in its home log this decides it, in the others it follows. The consumers
    are named for readers of the log."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"write_uuid": fields.UUIDField(), "consumer_uuids": fields.ListOfUUIDField(), **_of_request()}


@register
class WriteAborted(SchemaObject):
    """A write over several logs is given up, and what was held for it is free."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"write_uuid": fields.UUIDField(), "consumer_uuids": fields.ListOfUUIDField(), **_of_request()}


@register
class WriteEnded(SchemaObject):
    """All logs of a write have committed it, and its home log may forget it."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"write_uuid": fields.UUIDField(), **_of_request()}


@register
class ProviderInventories(SchemaObject):
    """All inventories that one provider has after a reshape, and the generation that it must have before."""

    VERSION = "1.0"
    fields = {
        "provider_uuid": fields.UUIDField(),
        "generation": fields.NonNegativeIntegerField(),
        "inventories": fields.ListOfObjectsField("Inventory"),
    }


@register
class Reshaped(SchemaObject):
    """Inventories move between providers, and with them the allocations of their consumers: all in one step."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    MAX_BYTES = MAX_WRITE_BYTES
    fields = {
        "inventories": fields.ListOfObjectsField("ProviderInventories"),
        "consumers": fields.ListOfObjectsField("ConsumerPut"),
        **_of_request(),
    }


@register
class ClassCreated(SchemaObject):
    """A resource class of the cloud's own (``CUSTOM_``)."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"name": fields.StringField(), **_of_request()}


@register
class ClassRenamed(SchemaObject):
    """A resource class of the cloud's own gets another name, wherever it occurs."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"name": fields.StringField(), "new_name": fields.StringField(), **_of_request()}


@register
class ClassDeleted(SchemaObject):
    """A resource class of the cloud's own, of which no provider has an inventory, is removed."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"name": fields.StringField(), **_of_request()}


@register
class TraitCreated(SchemaObject):
    """A trait of the cloud's own (``CUSTOM_``)."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"name": fields.StringField(), **_of_request()}


@register
class TraitDeleted(SchemaObject):
    """A trait of the cloud's own, which no provider has, is removed."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = WRITERS
    fields = {"name": fields.StringField(), **_of_request()}


@register
class ProviderImported(SchemaObject):
    """A provider is as another Placement has it, with its ``generation`` there: it is created, or gets this name and
    parent, these inventories, traits and aggregates, and no others. Before it must have the generation ``before`` here,
    or be unknown (None)."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    MAX_BYTES = MAX_WRITE_BYTES
    fields = {
        "provider_uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "parent_uuid": fields.UUIDField(nullable=True),
        "generation": fields.NonNegativeIntegerField(),
        "inventories": fields.ListOfObjectsField("Inventory"),
        "traits": fields.ListOfStringsField(),
        "aggregates": fields.ListOfUUIDField(),
        "before": fields.NonNegativeIntegerField(nullable=True),
        **_of_request(),
    }


@register
class ConsumerImported(SchemaObject):
    """A consumer holds what another Placement says, with its ``generation`` there. It was given away already, so no
    room is asked for, and no provider gets another generation. ``consumer`` has the condition: the generation that it
    must have here before. Its ``terms`` replace those that it has on their host; nothing has to hold for them."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    MAX_BYTES = MAX_WRITE_BYTES
    fields = {
        "consumer": fields.ObjectField("ConsumerPut"),
        "generation": fields.NonNegativeIntegerField(),
        **_of_request(),
    }
