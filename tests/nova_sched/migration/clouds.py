"""A cloud to take over: a Placement behind a web server, with faults on demand, and what nova-api answers.

The Placement is ours, over a log of its own, as it answers like the real one; tests/against_nova has the real one. The
answers of nova-api have the forms of a real Nova 34.
"""

import urllib.parse

import webob

from placement_api.app import make_app
from placement_api.region import Region
from rpc_api import events
from rpc_api.levels import LEVEL, pack_oldest
from rpc_api.log import open_log
from tests.builders import Voice, facts_of, record_of
from tests.placement_api.client import Client, World, config_of
from tests.placement_api.regions import uuid_of
from tests.placement_api.server import Server

TOKEN = "admin"
#: A project in the endpoint of Nova, as older catalogs have it.
PROJECT = "/5a6cdd249e854a9c8bb25a6a1f6f7a3d"
MARKER_NOT_FOUND = {"badRequest": {"code": 400, "message": "marker [0] not found"}}


class Stock:
    """A Placement; ``before(request)`` is called before each request, and may return (status, body) in place of the
    answer. ``requests`` are (method, path) of all."""

    def __init__(self):
        self.region = Region.in_memory()
        self._app = make_app(config_of(), self.region)
        self.client = Client(self._app)
        self.before = lambda request: None
        self.requests = []
        self._server = Server(self._answer, threads=4)
        self.url = self._server.url

    def _answer(self, environ, start):
        request = webob.Request(environ)
        self.requests.append((request.method, request.path))
        found = self.before(request)
        if found is None and request.path != "/" and request.headers.get("X-Auth-Token") != TOKEN:
            found = 401, {"errors": [{"status": 401, "title": "Unauthorized", "detail": "wrong token"}]}
        if found is None:
            # A reshape is for services only, and all are here.
            environ["HTTP_X_ROLES"] = "admin,service"
            return self._app(environ, start)
        return _answered(found)(environ, start)

    @property
    def projection(self):
        (projection,) = self.region.projections()
        return projection

    def close(self):
        self._server.close()
        self.region.close()


def _answered(found):
    status, body = found
    if isinstance(body, bytes):
        return webob.Response(body, status=status, content_type="text/html")
    return webob.Response(json_body=body, status=status)


def conflict(code="placement.concurrent_update", detail="another write came first"):
    """The answer of Placement to a write that another one has overtaken."""
    return 409, {"errors": [{"status": 409, "title": "Conflict", "detail": detail, "code": code}]}


def small(stock, hosts=True):
    """Two hosts, shared storage, three consumers, of which one holds more than there is."""
    world = World()
    world.write(stock.client)
    path = f"/resource_providers/{uuid_of('host-1')}/inventories/CUSTOM_GOLD"
    stock.client.do("PUT", path, {"resource_provider_generation": 4, "total": 1})
    held = {uuid_of("host-1"): {"CUSTOM_GOLD": 1}}
    assert stock.client.put(uuid_of("gold"), None, held).status == 204
    stock.client.do("PUT", path, {"resource_provider_generation": 6, "total": 1, "reserved": 1})
    return world


class NovaAnswers:
    """What nova-api answers about two hosts: ``services``, ``servers``, ``groups`` and ``aggregates`` may change.
    ``max_limit`` is its own limit of a page; ``before(path, asked)`` is called before each answer, and may return
    (status, body) in its place."""

    def __init__(self, max_version="2.104"):
        self.max_version = max_version
        self.max_limit = 1000
        self.before = lambda path, asked: None
        #: (Path, query, microversion) of each request.
        self.requests = []
        self.hosts = ["host-1", "host-2"]
        self.services = {name: {} for name in self.hosts}
        #: Hosts of cells that nova-api cannot reach, and the hosts of compute nodes that have another name.
        self.down = set()
        self.host_of_node = {}
        #: Name of a server -> its host, and more of it.
        self.servers = {"vm-1": ("host-1", {}), "vm-2": ("host-2", {}), "failed": (None, {})}
        #: Names of servers that are not in lists.
        self.unlisted = []
        self.groups = {"group": ("anti-affinity", {"max_server_per_host": 2}, ["vm-1", "vm-2"])}
        self.aggregates = {"rack": (["host-1"], {"availability_zone": "az1"})}
        self._server = Server(self._answer)
        self.url = f"{self._server.url}/v2.1"

    def close(self):
        self._server.close()

    def _answer(self, environ, start):
        request = webob.Request(environ)
        path = request.path.removeprefix("/v2.1")
        if path.startswith(PROJECT):
            # (Nova answers 404 for the project without a slash.)
            path = path.removeprefix(PROJECT) or "/404"
        path = path.rstrip("/")
        asked = dict(urllib.parse.parse_qsl(request.query_string))
        version = request.headers.get("OpenStack-API-Version", "compute 2.1").split()[1]
        self.requests.append((path, asked, version))
        found = self.before(path, asked)
        if found is not None:
            return _answered(found)(environ, start)
        if path.startswith("/servers/") and path != "/servers/detail":
            return _answered(self._server_alone(path.removeprefix("/servers/")))(environ, start)
        body = {
            "": self._root,
            "/os-aggregates": self._aggregates,
            "/os-services": self._services,
            "/os-hypervisors/detail": self._hypervisors,
            "/servers/detail": self._servers,
            "/os-server-groups": self._groups,
        }[path](asked)
        found = (200, body) if body is not None else (400, MARKER_NOT_FOUND)
        return _answered(found)(environ, start)

    def _listed(self, name, listed, asked):
        """A page of a list; None if its marker is not there."""
        ids = [item["id"] for item in listed]
        if "marker" in asked and asked["marker"] not in ids:
            return None
        first = ids.index(asked["marker"]) + 1 if "marker" in asked else 0
        return {name: listed[first : first + min(self.max_limit, int(asked["limit"]))]}

    def _root(self, asked):
        version = {"id": "v2.1", "status": "CURRENT", "version": self.max_version, "min_version": "2.1"}
        return {"version": {**version, "updated": "2013-07-23T11:33:21Z", "links": [], "media-types": []}}

    def _aggregates(self, asked):
        return {
            "aggregates": [
                {
                    "id": number,
                    "uuid": uuid_of(name),
                    "name": name,
                    "availability_zone": metadata.get("availability_zone"),
                    "hosts": hosts,
                    "metadata": metadata,
                    "created_at": "2026-11-30T13:50:55.000000",
                    "updated_at": None,
                    "deleted_at": None,
                    "deleted": False,
                }
                for number, (name, (hosts, metadata)) in enumerate(sorted(self.aggregates.items()), 1)
            ]
        }

    def _services(self, asked):
        assert asked == {"binary": "nova-compute"}
        return {
            "services": [
                # nova/api/openstack/compute/services.py, from microversion 2.69 on.
                {"binary": "nova-compute", "host": host, "status": "UNKNOWN"}
                if host in self.down
                else {
                    "binary": "nova-compute",
                    "host": host,
                    "id": uuid_of(f"service {host}"),
                    "zone": "nova",
                    "status": "enabled",
                    "state": "up",
                    "updated_at": "2026-11-30T13:50:55.000000",
                    "disabled_reason": None,
                    "forced_down": False,
                    **more,
                }
                for host, more in self.services.items()
            ]
        }

    def _hypervisors(self, asked):
        listed = [
            {
                "id": uuid_of(node),
                "hypervisor_hostname": node,
                "state": "up",
                "status": "enabled",
                "hypervisor_type": "fake",
                "hypervisor_version": 1000,
                "host_ip": "127.0.0.1",
                "service": {"id": uuid_of(f"service {host}"), "host": host, "disabled_reason": None},
                "uptime": None,
                "servers": [],
            }
            for node in self.hosts
            for host in [self.host_of_node.get(node, node)]
        ]
        page = self._listed("hypervisors", listed, asked)
        # Nova takes a page of compute nodes first, and then leaves out those without a service.
        return page and {"hypervisors": [one for one in page["hypervisors"] if one["service"]["host"] in self.services]}

    def _servers(self, asked):
        assert asked["all_tenants"] == "True"
        listed = [
            {
                "id": uuid_of(name),
                "name": name,
                "status": "ACTIVE",
                "tenant_id": "project",
                "user_id": "user",
                "image": {"id": uuid_of("image"), "links": [], "properties": {"hw_disk_bus": "virtio"}},
                "OS-EXT-SRV-ATTR:host": host,
                "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
                **more,
            }
            for name, (host, more) in self.servers.items()
        ]
        for server in listed:
            for gone in [key for key, value in server.items() if value is ...]:
                del server[gone]
        return self._listed("servers", listed, asked)

    def _server_alone(self, uuid):
        """A server that is not listed, such as one of a cell that is down."""
        if uuid not in map(uuid_of, self.unlisted):
            return 404, {"itemNotFound": {"code": 404, "message": f"Instance {uuid} could not be found."}}
        server = {"id": uuid, "name": "away", "status": "UNKNOWN", "tenant_id": "project", "user_id": "user"}
        return 200, {"server": server}

    def _groups(self, asked):
        assert asked["all_projects"] == "True"
        listed = [
            {
                "id": uuid_of(name),
                "name": name,
                "policy": policy,
                "rules": rules,
                "members": [uuid_of(member) for member in members],
                "project_id": "p",
                "user_id": "u",
            }
            for name, (policy, rules, members) in sorted(self.groups.items())
        ]
        first = int(asked["offset"])
        return {"server_groups": listed[first : first + min(self.max_limit, int(asked["limit"]))]}


def tapped(ours, *hosts, cell="cell1"):
    """What the tap of a cell has published about hosts."""
    with open_log(ours.urls[cell]) as log:
        epoch = ours.state(cell).epoch
        voice = Voice(f"conductor/{cell}")
        for host in hosts:
            said = facts_of(host, authority="nova")
            inventory = events.thaw("HostInventory", said.inventory)._replace(root_uuid=uuid_of(host))
            said = said._replace(inventory=pack_oldest(inventory))
            log.append([record_of(voice.say(said), epoch=epoch, level=LEVEL)])
