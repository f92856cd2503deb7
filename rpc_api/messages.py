"""What crosses a process boundary by RPC beside nova's own objects: versioned objects in the namespace nova_sched."""

from oslo_versionedobjects import fields

from rpc_api.events import claim  # noqa: F401  (its classes must be in the table before they are named below)
from rpc_api.events.schema import SchemaObject, register


@register
class BuildRequest(SchemaObject):
    """Build one instance in a cell: ``claims[0]`` is accepted already, the others are its alternates in order.

    ``max_attempts`` bounds how many of them are tried. ``position`` is where the first one stands in the cell's log.
    """

    VERSION = "1.2"  # 1.1: position; 1.2: ClaimProposed 1.1
    fields = {
        "instance_uuid": fields.UUIDField(),
        "request_id": fields.StringField(),
        "claims": fields.ListOfObjectsField("ClaimProposed"),
        "max_attempts": fields.NonNegativeIntegerField(),
        "position": fields.IntegerField(default=-1),
    }


@register
class BuildOutcome(SchemaObject):
    """What became of a build: ``outcome`` built, no_valid_host, max_retries_exceeded or service_unavailable (nobody
    can say whether there is a host, or whether it was built), after ``attempts``.

    ``reason`` is for the operator and empty when it is built.
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
    """What an agent says of one build: ``reason`` is empty when the instance runs."""

    VERSION = "1.0"
    fields = {"started": fields.BooleanField(), "reason": fields.StringField()}


BuildRequest, BuildOutcome, BuildAnswer = BuildRequest.Frozen, BuildOutcome.Frozen, BuildAnswer.Frozen
BUILT = "built"
NO_VALID_HOST = "no_valid_host"
MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
SERVICE_UNAVAILABLE = "service_unavailable"
