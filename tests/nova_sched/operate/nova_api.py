"""The part of Nova's API that operators' commands ask, as a server of its own, with a Keystone beside it.

Answers, codes and error bodies are those of a nova-api of release 34 (microversion 2.53 and 2.61). A test changes
``services``, ``servers`` and ``flavors``, and reads ``asked``.
"""

import json
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.placement_api.keystone import PASSWORD, REGION, SERVICE_TOKEN, Keystone

NAMESPACE = uuid.UUID("0e3ab7c4-3c6e-4d39-a6c2-0f54bb1cf9f1")
PAGE = 2
_FAULTS = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest"}


def service(host, status="enabled", state="up", reason=None):
    """A nova-compute of a host."""
    return {
        "id": str(uuid.uuid5(NAMESPACE, host)),
        "binary": "nova-compute",
        "host": host,
        "zone": "nova",
        "status": status,
        "state": state,
        "updated_at": "2026-11-30T12:00:00.000000",
        "disabled_reason": reason,
        "forced_down": False,
    }


def server(number, host, status="ACTIVE", task=None, project="project"):
    """A server on a host, as servers/detail shows it to an administrator."""
    return {
        "id": str(uuid.UUID(int=number)),
        "name": f"server-{number}",
        "status": status,
        "tenant_id": project,
        "user_id": "user",
        "OS-EXT-SRV-ATTR:host": host,
        "OS-EXT-STS:task_state": task,
    }


def flavor(name, vcpus=2, ram=2048, disk=20, **extra_specs):
    """A flavor, as flavors/detail shows it from 2.61 on."""
    return {
        "id": f"id-of-{name}",
        "name": name,
        "vcpus": vcpus,
        "ram": ram,
        "disk": disk,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "swap": "",
        "extra_specs": extra_specs,
    }


class NovaApi:
    """A server on a free port. ``fault`` is (status, message) with which everything is answered, None if it works."""

    def __init__(self, *services, servers=(), flavors=()):
        self.services = list(services)
        self.servers = list(servers)
        self.flavors = list(flavors)
        self.fault = None
        #: (method, path, microversion, body) of each call.
        self.asked = []
        self.keystone = Keystone({})
        nova = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                nova._answer(self, json.loads(body) if body else None)

            do_GET = do_PUT = do_DELETE = _any

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.keystone.services["compute"] = f"http://127.0.0.1:{self._server.server_port}/v2.1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self):
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.keystone.close()

    @property
    def credentials(self):
        """The OS_ variables of an administrator."""
        return {
            "OS_AUTH_URL": f"{self.keystone.url}/v3",
            "OS_USERNAME": "placement",
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": "service",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": REGION,
        }

    def _answer(self, request, body):
        version = request.headers.get("OpenStack-API-Version", "compute 2.1").split()[1]
        self.asked.append((request.command, request.path, version, body))
        status, answer = self._found(request, body, version)
        data = b"" if answer is None else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _found(self, request, body, version):
        if request.headers.get("X-Auth-Token") != SERVICE_TOKEN:
            return fault(401, "The request you have made requires authentication.")
        if self.fault is not None:
            return fault(*self.fault)
        place = urlsplit(request.path)
        path, query = place.path.removeprefix("/v2.1"), parse_qs(place.query)
        of_service = re.fullmatch(r"/os-services/([0-9a-f-]{36})", path)
        if of_service:
            return self._service(request.command, of_service[1], body)
        if path == "/os-services":
            hosts = query.get("host")
            return 200, {"services": [one for one in self.services if not hosts or one["host"] in hosts]}
        if path == "/servers/detail":
            mine = [one for one in self.servers if one["OS-EXT-SRV-ATTR:host"] in query["host"]]
            return self._page(mine, query, "servers")
        of_server = re.fullmatch(r"/servers/([0-9a-f-]{36})", path)
        if of_server:
            one = next((one for one in self.servers if one["id"] == of_server[1]), None)
            if one is None:
                return fault(404, f"Instance {of_server[1]} could not be found.")
            return 200, {"server": one}
        if path == "/flavors/detail":
            shown = [dict(one) for one in self.flavors]
            for one in shown if tuple(map(int, version.split("."))) < (2, 61) else ():
                del one["extra_specs"]
            return self._page(shown, query, "flavors")
        return fault(404, "The resource could not be found.")

    def _service(self, method, uuid_, body):
        found = next((one for one in self.services if one["id"] == uuid_), None)
        if found is None:
            return fault(404, f"Compute service {uuid_} could not be found.")
        if method == "PUT":
            if body.get("status") == "enabled" and "disabled_reason" in body:
                return fault(400, "Specifying disabled_reason when status is enabled is invalid.")
            found.update(status=body["status"], disabled_reason=body.get("disabled_reason"))
            return 200, {"service": found}
        if any(one["OS-EXT-SRV-ATTR:host"] == found["host"] for one in self.servers):
            return fault(
                409, "Unable to delete compute service that is hosting instances. Migrate or delete them first."
            )
        self.services.remove(found)
        return 204, None

    def _page(self, listed, query, name):
        ids, marker = [one["id"] for one in listed], query.get("marker", [None])[0]
        if marker is not None and marker not in ids:
            return fault(400, f"marker [{marker}] not found")
        start = 0 if marker is None else ids.index(marker) + 1
        return 200, {name: listed[start : start + PAGE]}


def fault(status, message):
    """An error as nova-api sends it."""
    return status, {_FAULTS.get(status, "computeFault"): {"code": status, "message": message}}
