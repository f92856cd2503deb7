"""The errors for conductors if a log, Neutron or the scheduler itself fails, so that no host can be chosen or refused.

They are never NoValidHost, which means that hosts were examined and none fits.
The class of ``nova.exception`` is chosen by what Nova's conductor does with it
(docs/design/0019-what-conductors-get.md).
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

#: The text for end users instead of the text of an error, which may contain addresses. The first class that fits
#: counts. None: the error's own text, which is written for end users.
CAUSES = (
    ((errors.ServiceUnavailable, errors.PluginFault), None),
    (errors.CellsUnreachable, "cells where it could go cannot be reached"),
    (errors.ClaimTimeout, "a claim was not confirmed in time"),
    (errors.LogClosed, "the scheduler is stopping"),
    ((errors.LogUnavailable, errors.LogGap), "the scheduler cannot read or append to a log"),
    (errors.NovaSchedError, "the scheduler met an internal fault"),
)


def told_of(fault, request_id: str, spec, return_alternates: bool, is_lost) -> NovaException:
    """Return the error of ``nova.exception`` that answers a call of ``select_destinations`` in place of ``fault``.

    ``is_lost(host)`` returns whether a host is known to be down.
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
    """Return the class with which the caller leaves the server in the right state."""
    if return_alternates:
        return ServiceUnavailable  # a build, a resize or a cold migration
    check = (_field(spec, "scheduler_hints") or {}).get("_nova_check_type")
    source = next(iter(_field(spec, "ignore_hosts") or ()), None)
    # An evacuation looks like a live migration, but its source is down. Both ignore the source.
    if check or (source is not None and is_lost(source)):
        return AllocationUpdateFailed  # a rebuild or an evacuation: else the server stays "rebuilding" for ever
    return ComputeServiceUnavailable  # a live migration, or unshelve


def _field(spec, name):
    return getattr(spec, name) if isinstance(spec, RequestSpec) and spec.obj_attr_is_set(name) else None
