"""A client of the API in this process, and a small world that it writes."""

import json
from typing import NamedTuple

import webob
from oslo_config import cfg

from placement_api import config
from placement_api.app import make_app
from tests.placement_api.regions import uuid_of

#: What a client of the newest microversion sends.
HEADERS = {
    "X-Auth-Token": "admin",
    # A reshape is for services only.
    "X-Roles": "admin,service",
    "OpenStack-API-Version": "placement 1.39",
    "Accept": "application/json",
}

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "CUSTOM_GOLD")
TRAITS = ("HW_CPU_X86_AVX2", "STORAGE_DISK_SSD", "CUSTOM_FAST")
AMOUNTS = {"VCPU": 2, "MEMORY_MB": 512}
PROJECT, USER = "project", "user"


class Answer(NamedTuple):
    """``body`` is read if it is JSON, and bytes if not."""

    status: int
    body: object
    headers: object

    @property
    def detail(self) -> str:
        """The sentence of an error."""
        return self.body["errors"][0]["detail"]


class Client:
    """Asks a WSGI application."""

    def __init__(self, app):
        self.app = app

    def ask(self, method, path, body=None, **headers):
        """The answer to a request: ``body`` is sent as JSON unless it is bytes."""
        request = webob.Request.blank(path, method=method, headers={**HEADERS, **headers})
        if body is not None:
            request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.content_type = "application/json"
        response = request.get_response(self.app)
        found = response.body
        if response.content_type == "application/json" and found:
            found = json.loads(found)
        return Answer(response.status_code, found, response.headers)

    def do(self, method, path, body=None, **headers):
        """The body of an answer that has no error."""
        answer = self.ask(method, path, body, **headers)
        assert answer.status < 300, answer
        return answer.body

    def provider(self, name, uuid, **inventories):
        """Create a provider with inventories, class -> total."""
        self.do("POST", "/resource_providers", {"name": name, "uuid": uuid})
        inventories = {resource_class: inventory(total) for resource_class, total in inventories.items()}
        body = {"resource_provider_generation": 0, "inventories": inventories}
        self.do("PUT", f"/resource_providers/{uuid}/inventories", body)

    def put(self, consumer, generation, by_provider) -> Answer:
        """Write what a consumer holds: ``by_provider`` is provider uuid -> {class: amount}."""
        return self.ask("PUT", f"/allocations/{consumer}", holding(generation, by_provider))

    def held(self, consumer) -> dict:
        """Provider uuid -> {class: amount} that a consumer holds."""
        found = self.do("GET", f"/allocations/{consumer}")["allocations"]
        return {provider: one["resources"] for provider, one in found.items()}

    def generation(self, consumer):
        """The generation of a consumer; None if it holds nothing."""
        return self.do("GET", f"/allocations/{consumer}").get("consumer_generation")


def config_of(**options):
    """The configuration of an API without tokens."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    for name, value in {"auth_strategy": config.NOAUTH, **options}.items():
        conf.set_override(name, value, "placement_api")
    return conf


def client_of(region, **options):
    """A client of a region."""
    return Client(make_app(config_of(**options), region))


def inventory(total, **more):
    """An inventory as a body has it."""
    return {"total": total, **more}


def allocations(consumer_generation, amounts_by_provider):
    """What one consumer holds, as a body has it: name of a provider -> amounts."""
    return holding(consumer_generation, {uuid_of(name): amounts for name, amounts in amounts_by_provider.items()})


def holding(consumer_generation, by_provider):
    """What one consumer holds, as a body has it: uuid of a provider -> amounts."""
    return {
        "allocations": {uuid: {"resources": amounts} for uuid, amounts in by_provider.items()},
        "project_id": PROJECT,
        "user_id": USER,
        "consumer_generation": consumer_generation,
        "consumer_type": "INSTANCE",
    }


class World:
    """Two hosts, one with two NUMA nodes, storage that they share, and two of three consumers.

    Names have a prefix, so that a region can have several worlds.
    """

    def __init__(self, prefix=""):
        self.hosts = (f"{prefix}host-1", f"{prefix}host-2")
        self.children = (f"{prefix}numa-1", f"{prefix}numa-2")
        self.storage, self.pool = f"{prefix}storage", f"{prefix}pool"
        self.consumers = tuple(f"{prefix}vm-{number}" for number in (1, 2, 3))

    @property
    def providers(self):
        """The uuids of all providers."""
        return tuple(map(uuid_of, (*self.hosts, *self.children, self.storage)))

    def write(self, client):
        """Write it, by a client."""
        for path in ("/resource_classes/CUSTOM_GOLD", "/traits/CUSTOM_FAST"):
            client.do("PUT", path)
        for name in (*self.hosts, self.storage):
            client.do("POST", "/resource_providers", {"name": name, "uuid": uuid_of(name)})
        for name in self.children:
            body = {"name": name, "uuid": uuid_of(name), "parent_provider_uuid": uuid_of(self.hosts[0])}
            client.do("POST", "/resource_providers", body)
        host = {
            "VCPU": inventory(8, allocation_ratio=4.0),
            "MEMORY_MB": inventory(4096, reserved=512),
            "CUSTOM_GOLD": inventory(2),
        }
        child = {"VCPU": inventory(4), "MEMORY_MB": inventory(2048, step_size=4)}
        of_all = {self.storage: {"DISK_GB": inventory(1000)}}
        of_all |= dict.fromkeys(self.hosts, host) | dict.fromkeys(self.children, child)
        for name, inventories in of_all.items():
            path = f"/resource_providers/{uuid_of(name)}"
            body = {"resource_provider_generation": 0, "inventories": inventories}
            client.do("PUT", f"{path}/inventories", body)
            client.do("PUT", f"{path}/traits", {"resource_provider_generation": 1, "traits": ["CUSTOM_FAST"]})
            body = {"resource_provider_generation": 2, "aggregates": [uuid_of(self.pool)]}
            client.do("PUT", f"{path}/aggregates", body)
        for name, consumer in zip(self.hosts, self.consumers, strict=False):
            held = {name: AMOUNTS, self.storage: {"DISK_GB": 20}}
            client.do("PUT", f"/allocations/{uuid_of(consumer)}", allocations(None, held))
