"""What belongs to a log itself or to the whole cloud: its beginning, aggregates, the host of an affinity group."""

from oslo_versionedobjects import fields

from rpc_api.events.claim import SCHEDULER
from rpc_api.events.host import CONDUCTOR
from rpc_api.events.schema import SchemaObject, register

ANYONE = frozenset({"scheduler", "conductor", "compute_agent", "operator"})


@register
class LogOpened(SchemaObject):
    """The first event of a log; ``epoch`` is what every record of this incarnation of the log carries."""

    VERSION = "1.0"
    ROLES = ANYONE
    fields = {"cell": fields.StringField(), "epoch": fields.UUIDField()}


@register
class LogRebased(SchemaObject):
    """The state of this log is empty from here on, whatever stood in front of it.

    Records were removed in front of the log and no snapshot holds what they said, so nobody who begins to read could
    know the state that others have. From here on all have the same one again; the hosts are asked to report in full.
    One with ``accounts_required`` keeps that rule itself, as :class:`AccountsRequired` does.
    """

    VERSION = "1.1"  # 1.1: accounts_required
    ROLES = SCHEDULER | CONDUCTOR
    fields = {
        "cell": fields.StringField(),
        "first": fields.NonNegativeIntegerField(),
        "accounts_required": fields.BooleanField(default=False),
    }


@register
class AccountsRequired(SchemaObject):
    """From here on (``required``) an event counts only if it was appended with an account that may speak for its
    producer: see :mod:`rpc_api.accounts`. One that does not keep this rule itself changes nothing, so it shuts nobody
    out of a log that knows no accounts."""

    VERSION = "1.0"
    ROLES = SCHEDULER | CONDUCTOR | frozenset({"operator"})
    fields = {"required": fields.BooleanField()}


@register
class AggregateUpdated(SchemaObject):
    """A host aggregate as it is now: its hosts by name, and its metadata (``availability_zone``, ``domain``, ...)."""

    VERSION = "1.0"
    ROLES = SCHEDULER | frozenset({"operator"})
    fields = {
        "uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "hosts": fields.ListOfStringsField(),
        "metadata": fields.DictOfStringsField(),
    }


@register
class AggregateDeleted(SchemaObject):
    """A host aggregate is gone."""

    VERSION = "1.0"
    ROLES = SCHEDULER | frozenset({"operator"})
    fields = {"uuid": fields.UUIDField()}


@register
class GroupAnchored(SchemaObject):
    """An affinity group of a cloud of several cells belongs to ``host`` of ``cell`` (in cell0's log).

    It takes effect if the group's anchor is then still ``replaces`` (0: it has none); the number of an anchor is
    the position of the record that set it, plus one.
    """

    VERSION = "1.0"
    ROLES = SCHEDULER
    fields = {
        "group_uuid": fields.UUIDField(),
        "cell": fields.StringField(),
        "host": fields.StringField(),
        "replaces": fields.NonNegativeIntegerField(),
    }


@register
class GroupFenced(SchemaObject):
    """No member of an affinity group may be claimed in this cell any more under anchors up to ``anchor`` (in the
    cell's log). It takes effect if no member is claimed or runs in the cell then; the group may be anchored anew."""

    VERSION = "1.0"
    ROLES = SCHEDULER
    fields = {"group_uuid": fields.UUIDField(), "anchor": fields.NonNegativeIntegerField()}
