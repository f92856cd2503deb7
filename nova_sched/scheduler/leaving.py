"""What an evacuation leaves: the host that the request ignores, and hosts that went down in an evacuation before."""

from nova_sched.projection.world import World
from rpc_api.events import SchedulingRequest


def leaving(request: SchedulingRequest, world: World, instance_uuid: str) -> SchedulingRequest:
    """The request of an instance that leaves a host, with all hosts that it leaves.

    Nova ignores the last host only. Where that one went down before the host before it came back, the instance still
    holds both. A host that is up is not left: the instance may be there, as a request that comes twice would find.
    """
    if not request.ignore_hosts:
        return request
    held = {entry.host for state in world.projections.values() for entry in state.consumers.get(instance_uuid, ())}
    if held.isdisjoint(request.ignore_hosts):
        return request
    more = sorted(host for host in held.difference(request.ignore_hosts) if _is_down(world, host))
    return request._replace(ignore_hosts=(*request.ignore_hosts, *more))


def _is_down(world: World, name: str) -> bool:
    known = [projection.hosts[name] for projection in world.projections.values() if name in projection.hosts]
    return bool(known) and all(world.table.down.item(host.root) for host in known)
