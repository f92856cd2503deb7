"""What a conductor is told when it is not known whether there is a host: a log, Neutron or the scheduler itself fails.

It is never NoValidHost, which says that hosts were looked at and none will do.
Which class of ``nova.exception`` it is follows from what Nova's conductor does
with each (docs/design/0019-what-conductors-are-told.md).
"""

import logging

from rpc_api import errors
from rpc_api.bus import expected
from rpc_api.nova_exception import (
    AllocationUpdateFailed,
    ComputeServiceUnavailable,
    NovaException,
    NoValidHost,
    ServiceUnavailable,
)
from rpc_api.objects.request_spec import RequestSpec

LOG = logging.getLogger(__name__)

#: What end users read in place of an error, whose own text may name addresses; the first that fits. None: its own text,
#: which is written for them.
CAUSES = (
    ((errors.ServiceUnavailable, errors.PluginFault), None),
    (errors.CellsUnreachable, "cells where it could go cannot be reached"),
    (errors.ClaimTimeout, "a claim was not confirmed in time"),
    (errors.LogClosed, "the scheduler is stopping"),
    ((errors.LogUnavailable, errors.LogGap), "the scheduler cannot read or append to a log"),
    (errors.NovaSchedError, "the scheduler met a fault of its own"),
)


def told_of(fault, request_id: str, spec, return_alternates: bool, is_lost) -> NovaException:
    """The error of ``nova.exception`` that a call of ``select_destinations`` is answered with in place of ``fault``.

    ``is_lost(host)`` says whether a host is known to be down.
    """
    fault = expected(fault)
    if isinstance(fault, NovaException):
        return fault
    if isinstance(fault, errors.UsageError):
        return NoValidHost(reason=str(fault))
    LOG.warning("request %s cannot be scheduled now: %s", request_id, fault)
    cause = next(text or str(fault) for kind, text in CAUSES if isinstance(fault, kind))
    reason = f"Request {request_id} could not be scheduled: {cause.rstrip('.')}. Try again later."
    known = _class_for(spec, return_alternates, is_lost)
    return known(ServiceUnavailable.template.format(reason=reason), reason=reason)


def _class_for(spec, return_alternates, is_lost):
    """The class with which the caller leaves the server in the right state."""
    if return_alternates:
        return ServiceUnavailable  # a build, a resize or a cold migration
    check = (_field(spec, "scheduler_hints") or {}).get("_nova_check_type")
    source = next(iter(_field(spec, "ignore_hosts") or ()), None)
    # An evacuation looks like a live migration, but its source is down. Both ignore the source.
    if check or (source is not None and is_lost(source)):
        return AllocationUpdateFailed  # a rebuild or an evacuation: of any other class it stays "rebuilding" for ever
    return ComputeServiceUnavailable  # a live migration, or unshelve


def _field(spec, name):
    return getattr(spec, name) if isinstance(spec, RequestSpec) and spec.obj_attr_is_set(name) else None
