"""``Selection.allocation_request`` from the RequestSpec to the JSON: one of the allocation requests that the real nova
gets of the real Placement for the same RequestSpec, which Placement takes back, and of which nova's conductor finds the
providers of each port and device. On random provider trees, flavors, ports and devices."""

import json
import random

import pytest

from nova_sched.request.from_spec import request_from
from nova_sched.scheduler.endpoint import allocation_request
from nova_sched.scheduler.placing import Placed
from rpc_api import errors
from rpc_api.objects.request_group import RequestGroup, RequestLevelParams
from tests.against_nova.conftest import running_peer
from tests.against_nova.test_fit import AGGREGATES, CLASSES, TRAITS, assignments, random_cloud
from tests.builders import request_spec, uuid_of

pytestmark = pytest.mark.nova

#: Clouds of a run, and the least that they show: hosts that fit, those with ports or devices, requests that nova and
#: Placement refuse and we do not place.
RUNS = [
    pytest.param(7, 4, (40, 20, 4), id="4 clouds"),
    pytest.param(8, 40, (400, 200, 40), id="40 clouds", marks=pytest.mark.long),
]
REQUESTS = 60


@pytest.fixture(scope="module")
def peer():
    yield from running_peer("nova", "nova_candidates.py")


def random_spec(draw, number):
    asked = request_spec(uuid_of(f"vm {number}"), draw.choice((0, 1, 1, 2)), draw.choice((0, 1, 1, 2)), 0)
    asked.scheduler_hints, asked.requested_resources = {}, []
    extra = {}
    for suffix in draw.sample(("", "1", "_A", "-b_2"), draw.choice((0, 0, 1, 1, 2))):
        for one in draw.sample(CLASSES, draw.choice((1, 1, 2))):
            extra[f"resources{suffix}:{one}"] = str(draw.choice((0, 1, 1, 2)))
        if draw.random() < 0.3:
            extra[f"trait{suffix}:{draw.choice(TRAITS)}"] = draw.choice(("required", "forbidden"))
    if draw.random() < 0.6:
        extra["group_policy"] = draw.choice(("none", "none", "isolate"))
    asked.flavor.extra_specs = extra
    for port in range(draw.choice((0, 1, 1, 2, 3))):
        asked.requested_resources.append(
            RequestGroup(
                requester_id=draw.choice(
                    (
                        uuid_of(f"port {port}"),
                        f"device_profile_{port}{uuid_of('port')}",
                        f"{uuid_of('pci')}-{port}",
                        f"{uuid_of('pci')}-{port}",
                    )
                ),
                resources={one: draw.choice((1, 1, 2)) for one in draw.sample(CLASSES[1:], draw.choice((1, 1, 2)))},
                required_traits={trait for trait in TRAITS if draw.random() < 0.1},
                forbidden_traits=set(),
                aggregates=[[draw.choice(AGGREGATES)]] if draw.random() < 0.1 else [],
                forbidden_aggregates=set(),
                in_tree=None,
                provider_uuids=[],
            )
        )
    suffixes = [resource.requester_id for resource in asked.requested_resources]
    asked.request_level_params = RequestLevelParams(
        root_required={trait for trait in TRAITS if draw.random() < 0.05},
        root_forbidden=set(),
        same_subtree=[suffixes] if len(suffixes) > 1 and draw.random() < 0.3 else [],
    )
    return asked


def ours(projection, asked):
    """Root -> the text of an allocation_request, of the hosts that fit; None for a request that is refused."""
    try:
        request = request_from(asked, "req-1", [asked.instance_uuid])
    except errors.UsageError:
        return None
    return {
        root: allocation_request(
            Placed("vm", "cell1", "h", "h", root, "nova", found.allocations, found.mappings, None, None)
        )
        for root, found in assignments(projection, request).items()
    }


def allocated(text):
    return json.loads(text)["allocations"]


def in_order(request):
    return {**request, "mappings": {suffix: sorted(of) for suffix, of in request["mappings"].items()}}


@pytest.mark.parametrize("seed, clouds, shown", RUNS)
def test_an_allocation_request_is_one_of_placements(peer, seed, clouds, shown):
    draw = random.Random(seed)
    fit = of_ports = refused = 0
    for _ in range(clouds):
        projection, facts = random_cloud(draw)
        assert "error" not in peer.ask("load", facts, TRAITS, CLASSES)
        for number in range(REQUESTS):
            asked = random_spec(draw, number)
            primitive, found = asked.obj_to_primitive(), ours(projection, asked)
            reply = peer.ask("candidates", primitive)
            theirs = reply.get("answer", {"candidates": [], "errors": [reply.get("message")]})
            if theirs["errors"]:
                refused += 1
                # Placement takes no group without resources: see docs/differences.
                without = "0" in asked.flavor.extra_specs.values()
                assert without or not any(map(allocated, (found or {}).values())), (theirs["errors"], primitive, found)
                continue
            wanted = [in_order(one) for one in theirs["candidates"]]
            assert bool(found) == bool(wanted), (asked.flavor.extra_specs, primitive, facts, found, wanted[:2])
            for text in (found or {}).values():
                assert in_order(json.loads(text)) in wanted, (asked.flavor.extra_specs, text, wanted)
                status, answer = peer.ask("claim", text, "1.36")["answer"]
                assert status == 204, (text, answer)
                mapped = peer.ask("mapped", primitive, text)["answer"]
                assert mapped == {
                    suffix: json.loads(text)["mappings"][suffix]
                    for suffix in (resource.requester_id for resource in asked.requested_resources)
                }
                of_ports += bool(asked.requested_resources)
            fit += len(found or ())
    assert all(count > least for count, least in zip((fit, of_ports, refused), shown, strict=True)), (
        fit,
        of_ports,
        refused,
    )
