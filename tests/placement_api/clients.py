"""A client of the API in the same process, without a socket."""

import json
from typing import NamedTuple

import webob
from oslo_config import cfg

from placement_api import config
from placement_api.app import make_app

NEWEST = "1.39"


class Answer(NamedTuple):
    status: int
    body: object
    headers: object

    @property
    def detail(self) -> str:
        """The sentence of an error."""
        return self.body["errors"][0]["detail"]


def conf_of(**options):
    """A configuration of an API that believes each token, with options of [placement_api]."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    for name, value in {"auth_strategy": "noauth2", **options}.items():
        conf.set_override(name, value, config.GROUP.name)
    return conf


class Client:
    """Sends requests of an administrator to the application of a region."""

    def __init__(self, region, version=NEWEST, **options):
        self._application = make_app(conf_of(**options), region)
        self._version = version

    def __call__(self, method, path, body=None, version=None, **headers) -> Answer:
        request = webob.Request.blank(path, method=method)
        request.headers["X-Auth-Token"] = "admin"
        request.headers["X-Roles"] = "admin,service"
        request.headers["OpenStack-API-Version"] = f"placement {version or self._version}"
        request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        if body is not None:
            request.content_type, request.body = "application/json", json.dumps(body).encode()
        answer = request.get_response(self._application)
        return Answer(answer.status_int, json.loads(answer.body) if answer.body else None, answer.headers)

    def provider(self, name, uuid, **inventories):
        """Create a provider with inventories, class -> total."""
        assert self("POST", "/resource_providers", {"name": name, "uuid": uuid}).status == 200
        body = {
            "resource_provider_generation": 0,
            "inventories": {resource_class: {"total": total} for resource_class, total in inventories.items()},
        }
        assert self("PUT", f"/resource_providers/{uuid}/inventories", body).status == 200

    def put(self, consumer, generation, allocations, **more) -> Answer:
        """Write what a consumer holds: ``allocations`` are provider uuid -> {class: amount}."""
        body = {
            "allocations": {provider: {"resources": amounts} for provider, amounts in allocations.items()},
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": generation,
            "consumer_type": "INSTANCE",
            **more,
        }
        return self("PUT", f"/allocations/{consumer}", body)

    def held(self, consumer) -> dict:
        """Provider uuid -> {class: amount} that a consumer holds."""
        body = self("GET", f"/allocations/{consumer}").body
        return {provider: one["resources"] for provider, one in body["allocations"].items()}

    def generation(self, consumer):
        """The generation of a consumer; None if it holds nothing."""
        return self("GET", f"/allocations/{consumer}").body.get("consumer_generation")
