"""The part of Nova's API that operators need for a host: its compute service, and its servers.

The session is keystoneauth1's: that of python-openstackclient, or of openstacksdk for nova-sched.
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from nova_sched.nova_objects.names import BINARY
from rpc_api import errors

#: Services have uuids, and one call changes them (Pike).
VERSION = "2.53"
#: Servers and flavors come with the extra specs of the flavor (Stein).
FLAVOR_VERSION = "2.61"
TIMEOUT = 60
#: More pages of one list than this are a fault of Nova.
MAX_PAGES = 1000


class ComputeService(NamedTuple):
    """A nova-compute as Nova's API has it: ``status`` is enabled or disabled, ``state`` up or down."""

    id: str
    host: str
    zone: str
    status: str
    state: str
    disabled_reason: str | None
    updated_at: str | None
    forced_down: bool


class Server(NamedTuple):
    """A server of a host: its ``status`` (ACTIVE, ...), ``task`` (migrating, ..., None) and project."""

    uuid: str
    name: str
    status: str
    task: str | None
    project: str


class ComputeApi:
    """``session`` is a keystoneauth1 session; ``region`` and ``interface`` choose the endpoint of Nova (None: the
    first one, public)."""

    def __init__(self, session, region: str | None = None, interface: str | None = None):
        from keystoneauth1 import adapter, exceptions

        self._faults = exceptions
        self._adapter = adapter.Adapter(
            session, service_type="compute", region_name=region, interface=interface or "public", connect_retries=2
        )

    def service(self, host: str) -> ComputeService | None:
        """The nova-compute of a host; None if Nova has none."""
        found = self._get(f"/os-services?binary={BINARY}&host={quote(host, safe='')}", VERSION)["services"]
        for one in found:
            if one["host"] == host:
                return ComputeService(
                    one["id"],
                    one["host"],
                    one["zone"],
                    one["status"],
                    one["state"],
                    one.get("disabled_reason"),
                    one.get("updated_at"),
                    bool(one.get("forced_down")),
                )
        return None

    def disable(self, service: ComputeService, reason: str) -> None:
        """Let a nova-compute get no more servers."""
        self._put(service, {"status": "disabled", "disabled_reason": reason} if reason else {"status": "disabled"})

    def enable(self, service: ComputeService) -> None:
        """Let a nova-compute get servers again."""
        self._put(service, {"status": "enabled"})

    def delete(self, service: ComputeService) -> None:
        """Delete a nova-compute, with its compute nodes and their resource providers. Nova refuses if it has servers or
        moves under way."""
        self._ask("DELETE", f"/os-services/{service.id}", VERSION)

    def servers(self, host: str) -> list[Server]:
        """The servers of a host, of all projects."""
        found, base = [], f"?all_tenants=1&host={quote(host, safe='')}"
        query = base
        for _ in range(MAX_PAGES):
            page = self._get(f"/servers/detail{query}", VERSION)
            found += [
                Server(one["id"], one["name"], one["status"], one.get("OS-EXT-STS:task_state"), one["tenant_id"])
                for one in page["servers"]
            ]
            following = [link["href"] for link in page.get("servers_links", ()) if link["rel"] == "next"]
            if not following:
                return found
            marker = dict(parse_qsl(urlsplit(following[0]).query)).get("marker")
            query = f"{base}&marker={marker}"
        raise errors.ServiceUnavailable(f"Nova lists the servers of {host} without an end; see to nova-api")

    def flavor(self, name: str) -> dict | None:
        """A flavor by its name or id, with extra_specs; None if there is none."""
        found = self._get("/flavors/detail?is_public=None", FLAVOR_VERSION)["flavors"]
        return next((one for one in found if name in (one["name"], one["id"])), None)

    def _put(self, service, body):
        self._ask("PUT", f"/os-services/{service.id}", VERSION, json=body)

    def _get(self, path, version):
        return self._ask("GET", path, version)

    def _ask(self, method, path, version, **more):
        try:
            # First of all, so that an error of Keystone is not taken for one of Nova.
            self._adapter.get_token()
        except self._faults.ClientException as fault:
            raise errors.ServiceUnavailable(
                f"Keystone gives no token ({_message_of(fault)}); see to the credentials (OS_CLOUD, OS_AUTH_URL, ...)"
            ) from None
        try:
            answer = self._adapter.request(
                path, method, microversion=version, headers={"Accept": "application/json"}, timeout=TIMEOUT, **more
            )
            return answer.json() if answer.content else None
        except self._faults.HttpError as fault:
            raise _refused(method, path, fault) from None
        except self._faults.ClientException as fault:
            raise errors.ServiceUnavailable(
                f"Nova cannot be asked ({_one_line(fault)}); see to its endpoint in Keystone's catalog "
                "(OS_REGION_NAME, OS_INTERFACE) and to nova-api"
            ) from None
        except ValueError:
            raise errors.ServiceUnavailable(f"Nova answers {method} {path} with no JSON; see to nova-api") from None


def _refused(method, path, fault):
    what = f"Nova answers {method} {path.partition('?')[0]} with {fault.http_status}: {_message_of(fault)}"
    if fault.http_status in (401, 403):
        return errors.ServiceUnavailable(f"{what}; use the credentials of an administrator")
    if fault.http_status == 406:
        return errors.ServiceUnavailable(f"{what}; Nova 16 (Pike) or later is needed")
    if 400 <= fault.http_status < 500:
        return errors.NovaSchedError(what)
    return errors.ServiceUnavailable(f"{what}; see to nova-api")


def _message_of(fault):
    """The text of an error: Nova's body is {"conflictingRequest": {"code": 409, "message": ...}}."""
    try:
        (body,) = fault.response.json().values()
        return _one_line(body["message"])
    except (AttributeError, ValueError, TypeError, KeyError):
        return _one_line(getattr(fault, "message", None) or fault)


def _one_line(text):
    return " ".join(str(text).split())
