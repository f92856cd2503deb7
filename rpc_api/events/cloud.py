"""Events of a log itself or of the whole cloud: its beginning, aggregates, the host of an affinity group."""

from oslo_versionedobjects import fields

from rpc_api.events.claim import SCHEDULER
from rpc_api.events.fields import BytesField
from rpc_api.events.host import CONDUCTOR
from rpc_api.events.schema import SchemaObject, register

ANYONE = frozenset({"scheduler", "conductor", "compute_agent", "operator"})
#: Who writes checkpoints: the conductors of a cell in its log, the schedulers in cell0's, and an operator who restores.
KEEPERS = SCHEDULER | CONDUCTOR | frozenset({"operator"})


@register
class LogOpened(SchemaObject):
    """The first event of a log; every record of this incarnation of the log has its ``epoch``."""

    VERSION = "1.0"
    ROLES = ANYONE
    fields = {"cell": fields.StringField(), "epoch": fields.UUIDField()}


@register
class LogRestored(SchemaObject):
    """The first event of a log that was restored from a backup: the log of the epoch ``from_epoch`` up to its record
    ``from_position``. Its state is in the checkpoint that comes next; without that the log is one whose beginning is
    lost."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = frozenset({"operator"})
    fields = {
        "cell": fields.StringField(),
        "epoch": fields.UUIDField(),
        "from_epoch": fields.UUIDField(),
        "from_position": fields.NonNegativeIntegerField(),
    }


@register
class LogRebased(SchemaObject):
    """The state of this log is empty from here on; the records before it do not count.

    Records were removed in front of the log and no snapshot has their effect, so a new reader could not get the state
    of the other readers. From here on all readers have the same state again; the hosts are asked for full reports. If
    it has ``accounts_required``, it must keep that rule itself, as :class:`AccountsRequired` must.

    A log at level 3 may have API writes, which nobody reports again: there only an operator may rebase it.
    """

    VERSION = "1.1"  # 1.1: accounts_required
    ROLES = SCHEDULER | CONDUCTOR
    LATER_ROLES = {"operator": 3}
    fields = {
        "cell": fields.StringField(),
        "first": fields.NonNegativeIntegerField(),
        "accounts_required": fields.BooleanField(default=False),
    }


@register
class AccountsRequired(SchemaObject):
    """From here on (``required``) an event counts only if it was appended with an account that may publish for its
    producer: see :mod:`rpc_api.accounts`. This event must keep the rule itself, so in a log without accounts it has no
    effect and excludes no producer."""

    VERSION = "1.0"
    ROLES = SCHEDULER | CONDUCTOR | frozenset({"operator"})
    fields = {"required": fields.BooleanField()}


@register
class LevelPinned(SchemaObject):
    """From the next event on this log has ``level``: the forms of its events (:mod:`rpc_api.levels`) and the rules of
    the fold (:mod:`nova_sched.projection.rules`).

    An operator's command appends it when all services know the level; it is in a record of the level before. A level
    is never taken back, so one that is not above the present level changes nothing. Its own form never changes. A
    :class:`LogRebased` gives the log the level of its own record, because a reader that starts there does not know
    the pin.
    """

    VERSION = "1.0"
    ROLES = frozenset({"operator"})
    fields = {"level": fields.NonNegativeIntegerField()}


@register
class AggregateUpdated(SchemaObject):
    """The present state of a host aggregate: the names of its hosts, and its metadata (``availability_zone``,
    ``domain``, ...)."""

    VERSION = "1.0"
    ROLES = SCHEDULER | frozenset({"operator"})
    #: More than 10,000 hosts whose names have 90 bytes.
    MAX_BYTES = 1000 * 1024
    OLDER_MAX_BYTES = {2: 256 * 1024}
    fields = {
        "uuid": fields.UUIDField(),
        "name": fields.StringField(),
        "hosts": fields.ListOfStringsField(),
        "metadata": fields.DictOfStringsField(),
    }


@register
class AggregateDeleted(SchemaObject):
    """A host aggregate was deleted."""

    VERSION = "1.0"
    ROLES = SCHEDULER | frozenset({"operator"})
    fields = {"uuid": fields.UUIDField()}


@register
class GroupAnchored(SchemaObject):
    """An affinity group of a cloud of several cells belongs to ``host`` of ``cell`` (in cell0's log).

    It takes effect if the number of the group's anchor is ``replaces`` at its position (0: no anchor). The number of an
    anchor is the position of its record, plus one.
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
    """In the log of a cell: no member of an affinity group may be claimed in this cell any more under anchors up to
    ``anchor``. It takes effect if no member is claimed or runs in the cell at its position; then the group may get
    another anchor."""

    VERSION = "1.0"
    ROLES = SCHEDULER
    fields = {"group_uuid": fields.UUIDField(), "anchor": fields.NonNegativeIntegerField()}


@register
class StateKept(SchemaObject):
    """A part of a checkpoint: the state of the log after the record at ``position``, for readers that start later.

    ``content`` is part number ``part`` (from 0) of the ``of`` parts of its bytes, which
    :func:`nova_sched.projection.snapshot.dump` makes. The parts of one checkpoint have its uuid, and are in the log in
    their order, with other records between them. The fold does not look at it.
    """

    VERSION = "1.0"
    LEVEL = 3
    ROLES = KEEPERS
    MAX_BYTES = 1000 * 1024
    fields = {
        "checkpoint_uuid": fields.UUIDField(),
        "position": fields.NonNegativeIntegerField(),
        "part": fields.NonNegativeIntegerField(),
        "of": fields.NonNegativeIntegerField(),
        "content": BytesField(),
    }


@register
class CheckpointNamed(SchemaObject):
    """Where the newest complete checkpoint of this log is: its parts are in the records from ``first`` to ``last``, and
    it is the state after the record at ``position``. A reader that starts finds it near the end of the log."""

    VERSION = "1.0"
    LEVEL = 3
    ROLES = KEEPERS
    fields = {
        "checkpoint_uuid": fields.UUIDField(),
        "position": fields.NonNegativeIntegerField(),
        "first": fields.NonNegativeIntegerField(),
        "last": fields.NonNegativeIntegerField(),
    }
