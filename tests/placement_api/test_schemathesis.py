"""Requests that schemathesis draws from the description of the API, valid ones and invalid ones.

Each answer fits the description, none is an error of the server, and a refused request changes nothing. Half of the
uuids, names and generations of a drawn request are replaced by those of providers and consumers that there are: nothing
else would be reached.
"""

import json
import os
import random
import re
import time

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from jsonschema import Draft202012Validator, FormatChecker
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from placement_api import openapi, routes
from placement_api.region import Region
from tests.against_nova.ledger_answers import state_of
from tests.placement_api.client import CLASSES, HEADERS, PROJECT, TRAITS, World, client_of
from tests.placement_api.regions import uuid_of

#: Requests of each operation: of each mode (valid, invalid) in ``make test``, and in ``make test-long``.
EXAMPLES, EXAMPLES_LONG = 15, 500
#: Microversions of which requests are drawn; the others in the long test.
VERSIONS = ((1, 39),)
VERSIONS_LONG = ((1, 39), (1, 28), (1, 12), (1, 6), (1, 0))
VERSION_HEADER = "OpenStack-API-Version"
UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [f"{method} {path}" for path, methods in routes.ROUTES.items() for method in methods]


class Service:
    """The API over a log in memory."""

    def __init__(self):
        self.region = Region.in_memory()
        self.client = client_of(self.region)
        self.described = {}

    def operation(self, label, version):
        """The operation of a description; None if the microversion does not have it."""
        if version not in self.described:
            schema = schemathesis.openapi.from_dict(openapi.describe(version), config=SchemathesisConfig())
            schema.app = self.client.app
            self.described[version] = {found.ok().label: found.ok() for found in schema.get_all_operations()}
        return self.described[version].get(label)

    @property
    def position(self):
        """The position of the log: only a record after it changes the state."""
        (projection,) = self.region.projections()
        return projection.position

    def state(self):
        """All that clients can read."""
        (projection,) = self.region.projections()
        with self.region.lock:
            return state_of(projection)


@pytest.fixture(scope="module")
def service():
    found = Service()
    yield found
    found.region.close()


# --- names that there are -------------------------------------------------------------------------------------------


class Known:
    """Replaces parts of a drawn request by what there is in a world; ``chance`` draws."""

    def __init__(self, chance, state, world):
        self._chance = chance
        self._providers = world.providers
        self._consumers = tuple(map(uuid_of, world.consumers))
        self._aggregates = (uuid_of(world.pool), uuid_of("rack"))
        self._state = state

    def _mostly(self, values, drawn):
        return self._chance.choice(values) if self._chance.random() < 0.9 else drawn

    def _of_path(self, name, drawn):
        values = {
            "uuid": self._providers,
            "consumer_uuid": self._consumers,
            "resource_class": CLASSES,
            "name": (*CLASSES, *TRAITS, "CUSTOM_NEW"),
        }
        return self._mostly(values[name], drawn)

    def _generation(self, uuid, drawn):
        known = self._state["providers"].get(uuid) or self._state["consumers"].get(uuid)
        return self._mostly((None if known is None else known["generation"],), drawn)

    def _of_body(self, value, key, uuid):
        """A value under a key of a body; ``uuid`` is that of the provider or consumer that it is about."""
        if key in ("resource_provider_generation", "consumer_generation"):
            return self._generation(uuid, value)
        if key in ("uuid", "parent_provider_uuid"):
            return self._mostly(self._providers, value)
        if key == "resource_class":
            return self._mostly(CLASSES, value)
        if isinstance(value, dict):
            found = {}
            # The consumers of a body are outside of the providers, except in the inventories of a reshape.
            consumers = key is None or (key == "allocations" and uuid is None)
            for inner, drawn in value.items():
                name = self._name(key, inner, self._consumers if consumers else self._providers)
                found[name] = self._of_body(drawn, name, name if UUID.fullmatch(name) else uuid)
            return found
        if isinstance(value, list):
            names = TRAITS if key == "traits" else self._aggregates
            return [
                self._mostly(names, inner) if isinstance(inner, str) else self._of_body(inner, key, uuid)
                for inner in value
            ]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._mostly((1, 2, 4, 16), value)
        return value

    def _name(self, key, inner, uuids):
        if UUID.fullmatch(inner):
            return self._mostly(uuids, inner)
        return self._mostly(CLASSES, inner) if key in ("inventories", "resources") else inner

    def _of_query(self, name, drawn):
        """The value of a parameter; ``drawn`` for one without values that make sense."""
        values = {
            "resources": ("VCPU:1", "VCPU:2,MEMORY_MB:64", "CUSTOM_GOLD:1", "DISK_GB:10,VCPU:1"),
            "required": ("CUSTOM_FAST", "!CUSTOM_FAST", "in:CUSTOM_FAST,HW_CPU_X86_AVX2"),
            "root_required": ("CUSTOM_FAST", "!CUSTOM_FAST"),
            "member_of": (self._aggregates[0], f"in:{','.join(self._aggregates)}", f"!{self._aggregates[1]}"),
            "in_tree": self._providers,
            "uuid": self._providers,
            "project_id": (PROJECT,),
            "associated": ("true", "false"),
            "name": ("startswith:CUSTOM_", "in:CUSTOM_FAST,CUSTOM_NEW"),
            "limit": ("1", "3"),
        }
        known = values.get(re.sub(r"(resources|required|member_of|in_tree)[\w-]{1,64}", r"\1", name))
        return drawn if known is None else self._mostly(known, drawn)

    def _query_of(self, case):
        drawn = case.query or {}
        if case.path == "/allocation_candidates" and self._chance.random() < 0.7:
            # A suffix must be that of a group with resources, which few drawn ones are.
            plain = ("limit", "required", "member_of", "in_tree", "root_required")
            drawn = {"resources": "", **{name: value for name, value in drawn.items() if name in plain}}
        return {name: self._of_query(name, value) for name, value in drawn.items()}

    def replace_in(self, case):
        """Replace parts of a drawn request."""
        case.query = self._query_of(case)
        case.path_parameters = {
            name: self._of_path(name, drawn) for name, drawn in (case.path_parameters or {}).items()
        }
        of_path = case.path_parameters.get("uuid") or case.path_parameters.get("consumer_uuid")
        case.body = self._of_body(case.body, None, of_path)
        headers = {**(case.headers or {}), "X-Roles": HEADERS["X-Roles"]}
        if self._chance.random() < 0.95:
            headers["X-Auth-Token"] = HEADERS["X-Auth-Token"]
        if self._chance.random() < 0.9:
            headers[VERSION_HEADER] = wanted_version(case.operation)
        case.headers = headers


def wanted_version(operation):
    """The header of the microversion that an operation is described for."""
    return f"placement {operation.schema.raw_schema['info']['version']}"


# --- what holds -----------------------------------------------------------------------------------------------------


def check_body(operation, response: Response):
    """The description says which bodies are accepted: no other is, and those are not refused for their form."""
    content = operation.definition.raw.get("requestBody")
    if content is None:
        return
    schema = content["content"]["application/json"]["schema"]
    try:
        sent = json.loads(response.request.body or b"")
    except (ValueError, TypeError):
        assert response.status_code >= 400
        return
    if response.status_code < 300:
        assert Draft202012Validator(schema).is_valid(sent)
    elif response.status_code == 400 and b"does not validate" in response.content:
        assert not Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(sent)


def draw(service, label, version, mode, examples, seed=None):
    """Send some requests of an operation; returns the statuses of the answers."""
    operation = service.operation(label, version)
    world = World(f"{label} {version} {mode.name} ")
    world.write(service.client)
    # No provider has it, so that it can be removed.
    service.client.do("PUT", "/traits/CUSTOM_NEW")
    statuses = {}
    before, position = service.state(), service.position

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seed is None,
        # A request that is sent again meets another state, so that nothing can be shrunk.
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), chance=strategies.integers(0, 2**32 - 1))
    def each(case, chance):
        nonlocal before, position
        Known(random.Random(chance), before, world).replace_in(case)
        response = case.call()
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        where = f"{case.as_curl_command()} is answered {response.status_code} {response.content[:500]}"
        assert response.status_code < 500, where
        if response.request.headers.get(VERSION_HEADER) == wanted_version(operation):
            case.validate_response(response, checks=CHECKS)
            check_body(operation, response)
        after = before if service.position == position else service.state()
        if response.status_code >= 400 or case.method == "GET":
            assert after == before, f"it changes the state: {where}"
        before, position = after, service.position

    if seed is not None:
        each = hypothesis.seed(seed)(each)
    each()
    return statuses


@pytest.mark.parametrize("label", OPERATIONS)
def test_each_answer_fits_the_description(service, label):
    statuses = {}
    for mode in GenerationMode:
        for version in VERSIONS:
            if service.operation(label, version) is not None:
                for status, count in draw(service, label, version, mode, EXAMPLES).items():
                    statuses[status] = statuses.get(status, 0) + count
    print(label, statuses)
    assert min(statuses) < 300, f"no request of {label} was accepted, so the test shows little: {statuses}"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("label", OPERATIONS)
def test_many_requests_of_several_microversions(service, label):
    seed = int(os.environ.get("FUZZ_SEED") or time.time() // 86_400)
    print(f"FUZZ_SEED={seed}")
    for mode in GenerationMode:
        for version in VERSIONS_LONG:
            if service.operation(label, version) is not None:
                draw(service, label, version, mode, EXAMPLES_LONG // len(VERSIONS_LONG), seed)
