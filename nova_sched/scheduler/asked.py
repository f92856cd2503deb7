"""The parts of a select_destinations call: what is asked, for which instances, and under which id."""

import uuid

from rpc_api import errors
from rpc_api.objects.request_spec import RequestSpec

#: A larger request would delay all others for seconds.
MAX_INSTANCES = 1000


def checked_uuids(instance_uuids):
    """Return the uuids of a request's instances in the form of events; UsageError for others."""
    if not isinstance(instance_uuids, (list, tuple)) or len(instance_uuids) > MAX_INSTANCES:
        got = len(instance_uuids) if hasattr(instance_uuids, "__len__") else type(instance_uuids).__name__
        raise errors.UsageError(
            f"the request names {got} as its instances, wanted a list of at most {MAX_INSTANCES}; ask in parts"
        )
    try:
        checked = [str(uuid.UUID(instance_uuid)) for instance_uuid in instance_uuids]
    except (ValueError, AttributeError, TypeError):
        raise errors.UsageError(
            "the id of an instance of the request is not a UUID; use a conductor with scheduler RPC 4.5"
        ) from None
    if len(set(checked)) < len(checked):
        raise errors.UsageError("the request names an instance twice; name each once")
    return checked


def instances_of(spec_obj):
    """Return the one instance of a RequestSpec without a list of instances."""
    number = readable(spec_obj).num_instances if spec_obj.obj_attr_is_set("num_instances") else 1
    if number != 1:
        raise errors.UsageError(
            f"the request names no instances and asks for {number}, wanted their uuids; use a "
            "conductor with scheduler RPC 4.5"
        )
    return [spec_obj.instance_uuid]


def readable(spec_obj) -> RequestSpec:
    """Return the RequestSpec of a call; UsageError for anything else."""
    if not isinstance(spec_obj, RequestSpec):
        raise errors.UsageError(
            f"select_destinations got {type(spec_obj).__name__} as spec_obj, wanted a "
            "RequestSpec; use a conductor with scheduler RPC 4.5"
        )
    return spec_obj


def line_of(text, most=4096) -> str:
    """Return a text from elsewhere in a form for one line of the log."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[:most])


def request_id_of(context) -> str:
    """Return the id of a request; "req-none" for a context without one."""
    found = getattr(context, "global_request_id", None) or getattr(context, "request_id", None)
    return line_of(found or "req-none", 255)


def in_named_cell(request, cells):
    """Replace the uuid of a CellMapping in a SchedulingRequest by the name of the cell, as in the logs. The uuid of an
    unknown cell stays. ``cells`` have a ``name`` and a ``uuid``."""
    names = {cell.uuid: cell.name for cell in cells}
    return request._replace(
        target_cell=names.get(request.target_cell, request.target_cell),
        preferred_cell=names.get(request.preferred_cell, request.preferred_cell),
    )
