"""The alternates of several instances of one request, beside nova's own scheduler."""

import random

import pytest

from nova_sched.selection.policy import Policy
from tests.against_nova.conftest import running_peer
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud

pytestmark = pytest.mark.nova

VCPUS = 10


@pytest.fixture(scope="module")
def nova():
    yield from running_peer("nova", "nova_alternates.py")


def ours(hosts, instances, policy, count):
    """The hosts of each instance, the chosen one first."""
    cells = tuple(sorted({cell for _, cell, _ in hosts}))
    cloud = TinyCloud(cells=cells, policy=Policy(weighers=(("CPUWeigher", 1.0),)))
    for name, cell, vcpus in hosts:
        cloud.host(name, cell=cell, vcpus=vcpus)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, *instances, vcpus=VCPUS, group=policy and server_group(policy), alternates=count)
    cloud.settle()
    return [[one.host for one in of] for of in ask.future.result(0)]


def drawn(seed):
    """Hosts with room for all, of which no two ever have equally much left; instances, policy, alternates."""
    draw = random.Random(seed)
    digits = draw.sample(range(VCPUS), draw.randint(3, 9))
    hosts = [(f"h{digit}", f"cell{draw.randint(1, 2)}", 10 * draw.randint(10, 13) + digit) for digit in digits]
    policy = draw.choice([None, None, "anti-affinity", "affinity"])
    most = len(hosts) if policy == "anti-affinity" else 6
    return hosts, [f"vm{number}" for number in range(draw.randint(1, most))], policy, draw.randint(0, 4)


@pytest.mark.parametrize("seed", range(60))
def test_they_are_novas(nova, seed):
    hosts, instances, policy, count = drawn(seed)
    answer = nova.ask("alternates", hosts, list(map(uuid_of, instances)), VCPUS, policy, count)
    assert ours(hosts, instances, policy, count) == answer.get("answer"), (hosts, policy, answer)
