"""Read host aggregates, services, compute nodes, instances and server groups from Nova's REST API."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nova_sched.migration.services import Service
from nova_sched.nova_objects.names import BINARY
from nova_sched.request.instances import image_properties_of
from rpc_api import errors

#: The newest microversion that is used (servers with the properties of their images), and the oldest one that has all
#: that is needed (server groups with their rules).
NEWEST, OLDEST = (2, 98), (2, 64)
PAGE = 1000


class Aggregate(NamedTuple):
    """A host aggregate; ``metadata`` has its zone."""

    uuid: str
    name: str
    hosts: frozenset[str]
    metadata: Mapping[str, str]


class ComputeService(NamedTuple):
    """The nova-compute of a host; ``is_up`` is what Nova says of its heartbeats, the last of which came at
    ``heard``."""

    host: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    is_up: bool
    heard: str


class Instance(NamedTuple):
    """An instance on a host; its ``image_properties`` are None if Nova does not show them."""

    uuid: str
    host: str
    image_properties: Mapping[str, str] | None


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
    newest = service.newest_version()
    if newest < OLDEST:
        raise errors.ServiceUnavailable(
            f"Nova has microversions up to {newest[0]}.{newest[1]}, wanted {OLDEST[0]}.{OLDEST[1]}; import without Nova"
        )
    major, minor = min(newest, NEWEST)
    source = _Source(service, f"{major}.{minor}", (major, minor) >= NEWEST)
    # Services and hosts last: an instance is never on a host that came later.
    groups, instances = source.groups(), source.instances()
    return Nova(source.aggregates(), source.services(), source.nodes(), instances, groups)


class _Source:
    def __init__(self, service: Service, version: str, shows_images: bool):
        self._service, self._version, self._shows_images = service, version, shows_images

    def _get(self, path: str, name: str) -> list[dict[str, Any]]:
        found = self._service.ask("GET", path, version=self._version).body.get(name)
        if not isinstance(found, list):
            raise errors.ServiceUnavailable(f"Nova answers GET {path} without {name}; is it Nova?")
        return found

    def _pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        marker = ""
        while page := self._get(f"{path}limit={PAGE}{marker}", name):
            yield from page
            if len(page) < PAGE and name == "hypervisors":
                return
            marker = f"&marker={page[-1]['id']}"

    def aggregates(self) -> dict[str, Aggregate]:
        return {
            one["uuid"]: Aggregate(one["uuid"], one["name"], frozenset(one["hosts"]), dict(one["metadata"]))
            for one in self._get("/os-aggregates", "aggregates")
        }

    def services(self) -> dict[str, ComputeService]:
        listed = self._get(f"/os-services?binary={BINARY}", "services")
        down = [one["host"] for one in listed if "state" not in one]
        if down:
            raise _cell_is_down(f"the service of {down[0]}")
        return {
            one["host"]: ComputeService(
                one["host"],
                one["status"] == "disabled",
                one["disabled_reason"],
                one["forced_down"],
                one["state"] == "up",
                one["updated_at"] or "",
            )
            for one in listed
        }

    def nodes(self) -> dict[str, str]:
        return {one["id"]: one["service"]["host"] for one in self._pages("/os-hypervisors/detail?", "hypervisors")}

    def instances(self) -> dict[str, Instance]:
        found = {}
        for one in self._pages("/servers/detail?all_tenants=True&", "servers"):
            if "OS-EXT-SRV-ATTR:host" not in one:
                raise _cell_is_down(f"the server {one['id']}")
            host = one["OS-EXT-SRV-ATTR:host"]
            if host:
                found[one["id"]] = Instance(one["id"], host, self._properties(one))
        return found

    def _properties(self, server: dict[str, Any]) -> Mapping[str, str] | None:
        if not self._shows_images:
            return None
        # (A server that was started from a volume has no image here.)
        image = server.get("image") or {}
        return image_properties_of({name: str(value) for name, value in image.get("properties", {}).items()})

    def groups(self) -> dict[str, Group]:
        members, offset = {}, 0
        while page := self._get(f"/os-server-groups?all_projects=True&limit={PAGE}&offset={offset}", "server_groups"):
            offset += len(page)
            for one in page:
                limit = int((one.get("rules") or {}).get("max_server_per_host", 1))
                members |= dict.fromkeys(one["members"], Group(one["id"], one["name"], one["policy"], limit))
        return members


def _cell_is_down(what: str) -> errors.ServiceUnavailable:
    return errors.ServiceUnavailable(
        f"Nova cannot reach one of its cells ({what} is listed without its state); repeat the command when it is up"
    )
