"""Nova's API: compute services, hypervisors, servers, server groups, aggregates and flavors.

Lists come as Nova sends them, page by page. What may change something is for the operators' commands.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from nova_sched.clients.service import PAGE, REFUSALS, Service
from nova_sched.nova_objects.names import BINARY
from rpc_api import errors

#: Services have uuids, and one call changes them (Pike).
SERVICE_VERSION = "2.53"
#: Query for the servers of all projects, also for those that Nova calls soft-deleted.
_ALL = "all_tenants=True&soft_deleted=True"
#: Status of a service or a server whose cell Nova cannot reach.
UNKNOWN = "UNKNOWN"
#: Servers and flavors come with the extra specs of the flavor (Stein).
FLAVOR_VERSION = "2.61"


class ComputeService(NamedTuple):
    """A nova-compute. ``is_up`` is what Nova says of its heartbeats, the last of which came at ``heard``; it is None if
    Nova cannot reach the cell, and then the id is empty, too."""

    id: str
    host: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    is_up: bool | None
    heard: str


class Server(NamedTuple):
    """A server of a host: its ``status`` (ACTIVE, ...), ``task`` (migrating, ..., None), project and user."""

    uuid: str
    name: str
    status: str
    task: str | None
    project: str
    user: str


class NovaApi:
    """Nova's API through a Service of the kind ``compute``.

    ServiceUnavailable if Nova cannot be asked, or allows it to administrators only; NovaSchedError with Nova's words
    for what it refuses."""

    def __init__(self, service: Service):
        self._service = service

    # --- services and hosts ------------------------------------------------------------------------------------------

    def services(self, version: str = SERVICE_VERSION, host: str | None = None) -> list[ComputeService]:
        """All nova-computes, or those with the name of one host."""
        path = f"/os-services?binary={BINARY}" + (f"&host={quote(host, safe='')}" if host is not None else "")
        return [_service(found) for found in self._service.listed(path, "services", version)]

    def service(self, host: str) -> ComputeService | None:
        """The nova-compute of a host; None if Nova has none."""
        return next((found for found in self.services(host=host) if found.host == host), None)

    def disable(self, service: ComputeService, reason: str) -> None:
        """Let a nova-compute get no more servers."""
        self._put(service, {"status": "disabled", "disabled_reason": reason} if reason else {"status": "disabled"})

    def enable(self, service: ComputeService) -> None:
        """Let a nova-compute get servers again."""
        self._put(service, {"status": "enabled"})

    def delete(self, service: ComputeService) -> None:
        """Delete a nova-compute, with its compute nodes and their resource providers. Nova refuses if it has servers or
        moves under way."""
        self._change("DELETE", f"/os-services/{service.id}")

    def _put(self, service: ComputeService, body: dict[str, str]) -> None:
        self._change("PUT", f"/os-services/{service.id}", body)

    def _change(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        answer = self._service.ask(method, path, body, SERVICE_VERSION, REFUSALS)
        if answer.status >= 300:
            raise errors.NovaSchedError(f"Nova answers {method} {path} with {answer.status}: {answer.detail}")

    def hypervisors(self, version: str) -> Iterator[dict[str, Any]]:
        """All compute nodes that have a service."""
        return self._service.pages("/os-hypervisors/detail", "hypervisors", version)

    def aggregates(self, version: str) -> list[dict[str, Any]]:
        """All host aggregates."""
        return self._service.listed("/os-aggregates", "aggregates", version)

    # --- servers -----------------------------------------------------------------------------------------------------

    def all_servers(self, version: str) -> Iterator[dict[str, Any]]:
        """The servers of all projects, with those that are deleted and can be restored: they hold their room."""
        return self._service.pages(f"/servers/detail?{_ALL}", "servers", version)

    def servers(self, host: str) -> list[Server]:
        """The servers of a host, of all projects."""
        path = f"/servers/detail?{_ALL}&host={quote(host, safe='')}"
        return [_server(found) for found in self._service.pages(path, "servers", SERVICE_VERSION)]

    def server(self, uuid: str) -> Server | None:
        """A server of any project; None if Nova has none of that uuid."""
        answer = self._service.ask("GET", f"/servers/{uuid}", version=SERVICE_VERSION, wanted=(404,))
        return None if answer.status == 404 else _server(answer.body["server"])

    def groups(self, version: str) -> Iterator[dict[str, Any]]:
        """The server groups of all projects. Nova pages them by their number: one that is deleted meanwhile may hide
        another one."""
        number = 0
        path = "/os-server-groups?all_projects=True"
        while page := self._service.listed(f"{path}&limit={PAGE}&offset={number}", "server_groups", version):
            number += len(page)
            yield from page

    # --- flavors -----------------------------------------------------------------------------------------------------

    def flavor(self, name: str) -> dict[str, Any] | None:
        """A flavor by its name or id, with extra_specs; None if there is none."""
        found = self._service.pages("/flavors/detail?is_public=None", "flavors", FLAVOR_VERSION)
        return next((one for one in found if name in (one["name"], one["id"])), None)


def _service(found: dict[str, Any]) -> ComputeService:
    if found.get("status") == UNKNOWN:
        # From microversion 2.69 on: its cell cannot be reached, and Nova knows no more than its host.
        return ComputeService("", found["host"], False, None, False, None, "")
    return ComputeService(
        found["id"],
        found["host"],
        found["status"] == "disabled",
        found.get("disabled_reason"),
        bool(found.get("forced_down")),
        found["state"] == "up",
        found.get("updated_at") or "",
    )


def _server(found: dict[str, Any]) -> Server:
    return Server(
        found["id"],
        found["name"],
        found["status"],
        found.get("OS-EXT-STS:task_state"),
        found["tenant_id"],
        found["user_id"],
    )
