"""Read host aggregates, services, compute nodes, instances and server groups from Nova's REST API."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nova_sched.clients.nova import ComputeService, NovaApi
from nova_sched.clients.service import Service, understood
from nova_sched.migration.owners import Owner
from nova_sched.request.instances import image_properties_of
from rpc_api import errors

#: The newest microversion that is used (servers with the properties of their images), and the oldest one that has all
#: that is needed: before it Nova leaves out the services of a cell that it cannot reach, and nobody notices.
NEWEST, OLDEST = (2, 98), (2, 69)
#: The newest one of which Nova lists hypervisors without a call to each nova-compute (for its uptime).
NEWEST_OF_NODES = (2, 87)


class Aggregate(NamedTuple):
    """A host aggregate; ``metadata`` has its zone."""

    uuid: str
    name: str
    hosts: frozenset[str]
    metadata: Mapping[str, str]


class Instance(NamedTuple):
    """An instance on a host, with its owner; its ``image_properties`` are None if Nova does not show them."""

    uuid: str
    host: str
    image_properties: Mapping[str, str] | None
    owner: Owner


class Group(NamedTuple):
    """A server group; ``limit`` is the number of members that one host may have by anti-affinity."""

    uuid: str
    name: str
    policy: str
    limit: int


class Nova(NamedTuple):
    """What Nova knows: aggregates by uuid, services by host, hosts by the uuid of their compute node, instances by
    uuid, and the group of each member of a server group."""

    aggregates: Mapping[str, Aggregate]
    services: Mapping[str, ComputeService]
    nodes: Mapping[str, str]
    instances: Mapping[str, Instance]
    groups: Mapping[str, Group]


def read(service: Service) -> Nova:
    """All of it. ServiceUnavailable if Nova cannot be read, or if a cell of it is down."""
    with understood("compute"):
        return _read(service)


def _read(service: Service) -> Nova:
    newest = service.newest_version()
    if newest < OLDEST:
        raise errors.ServiceUnavailable(
            f"Nova has microversions up to {newest[0]}.{newest[1]}, wanted {OLDEST[0]}.{OLDEST[1]}; import without Nova"
        )
    source = _Source(NovaApi(service), min(newest, NEWEST))
    # Nova leaves out the servers of a cell that it cannot reach, if they are listed in pages. Services show such a
    # cell: before and after.
    source.services()
    # Services and hosts last: an instance is never on a host that came later.
    groups, instances = source.groups(), source.instances()
    return Nova(source.aggregates(), source.services(), source.nodes(), instances, groups)


class _Source:
    def __init__(self, api: NovaApi, version: tuple[int, int]):
        self._api = api
        self._version, self._of_nodes = _text(version), _text(min(version, NEWEST_OF_NODES))
        self._shows_images = version >= NEWEST

    def aggregates(self) -> dict[str, Aggregate]:
        return {
            one["uuid"]: Aggregate(one["uuid"], one["name"], frozenset(one["hosts"]), dict(one["metadata"]))
            for one in self._api.aggregates(self._version)
        }

    def services(self) -> dict[str, ComputeService]:
        listed = self._api.services(self._version)
        down = [service.host for service in listed if service.is_up is None]
        if down:
            raise _cell_is_down(f"the service of {down[0]}")
        return {service.host: service for service in listed}

    def nodes(self) -> dict[str, str]:
        return {one["id"]: one["service"]["host"] for one in self._api.hypervisors(self._of_nodes)}

    def instances(self) -> dict[str, Instance]:
        found = {}
        for one in self._api.all_servers(self._version):
            if "OS-EXT-SRV-ATTR:host" not in one:
                raise _cell_is_down(f"the server {one['id']}")
            host = one["OS-EXT-SRV-ATTR:host"]
            if host:
                owner = Owner(one["tenant_id"], one["user_id"])
                found[one["id"]] = Instance(one["id"], host, self._properties(one), owner)
        return found

    def _properties(self, server: dict[str, Any]) -> Mapping[str, str] | None:
        if not self._shows_images:
            return None
        # (A server that was started from a volume has no image here.)
        image = server.get("image") or {}
        return image_properties_of({name: str(value) for name, value in image.get("properties", {}).items()})

    def groups(self) -> dict[str, Group]:
        members: dict[str, Group] = {}
        for one in self._api.groups(self._version):
            limit = int((one.get("rules") or {}).get("max_server_per_host", 1))
            members |= dict.fromkeys(one["members"], Group(one["id"], one["name"], one["policy"], limit))
        return members


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _cell_is_down(what: str) -> errors.ServiceUnavailable:
    return errors.ServiceUnavailable(
        f"Nova cannot reach one of its cells ({what} is listed without its state); repeat the command when it is up"
    )
