"""RPC messages beside Nova's own objects: versioned objects in the namespace nova_sched."""

from oslo_versionedobjects import fields

from rpc_api.events import claim  # noqa: F401  (registers the classes that are named below)
from rpc_api.events.schema import SchemaObject, register


@register
class BuildRequest(SchemaObject):
    """Build one instance in a cell: ``claims[0]`` is accepted already, the others are its alternates in order.

    ``max_attempts`` is the largest number of builds. ``position`` is that of the first claim in the cell's log.
    """

    #: 1.1: position; 1.2: ClaimProposed 1.1; 1.3: ClaimProposed 1.2; 1.4: ClaimProposed 1.3; 1.5: ClaimProposed 1.4
    VERSION = "1.5"
    OLDER = {1: "1.2", 2: "1.3", 3: "1.4"}
    fields = {
        "instance_uuid": fields.UUIDField(),
        "request_id": fields.StringField(),
        "claims": fields.ListOfObjectsField("ClaimProposed"),
        "max_attempts": fields.NonNegativeIntegerField(),
        "position": fields.IntegerField(default=-1),
    }


@register
class BuildOutcome(SchemaObject):
    """The result of a build: ``outcome`` built, no_valid_host, max_retries_exceeded or service_unavailable (it is not
    known whether there is a host, or whether the instance was built), after ``attempts``.

    ``reason`` is for the operator, and empty if the instance was built.
    """

    VERSION = "1.0"
    fields = {
        "instance_uuid": fields.UUIDField(),
        "outcome": fields.StringField(),
        "host": fields.StringField(nullable=True),
        "allocations": fields.ListOfObjectsField("Allocation"),
        "attempts": fields.NonNegativeIntegerField(),
        "reason": fields.StringField(),
    }


@register
class BuildAnswer(SchemaObject):
    """The answer of an agent about one build: ``reason`` is empty if the instance runs."""

    VERSION = "1.0"
    fields = {"started": fields.BooleanField(), "reason": fields.StringField()}


BuildRequest, BuildOutcome, BuildAnswer = BuildRequest.Frozen, BuildOutcome.Frozen, BuildAnswer.Frozen
BUILT = "built"
NO_VALID_HOST = "no_valid_host"
MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
SERVICE_UNAVAILABLE = "service_unavailable"
