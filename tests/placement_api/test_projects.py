"""The use of projects: the index of consumers follows all that happens to them."""

import random

from nova_sched.projection import snapshot
from placement_api.projects import HoldersByProject, consumers_of
from placement_api.region import Region
from tests.placement_api.client import client_of, holding
from tests.placement_api.regions import uuid_of

PROJECTS, CONSUMERS = ("red", "green"), tuple(uuid_of(f"consumer {number}") for number in range(5))
PROVIDER = uuid_of("provider")


def recounted(projection):
    """Project -> its consumers, without the index."""
    found = {}
    for consumer_uuid, holder in projection.holders.items():
        found.setdefault(holder.project_id, set()).add(consumer_uuid)
    return found


def test_the_index_follows_writes():
    region = Region.in_memory()
    client = client_of(region)
    client.provider("provider", PROVIDER, VCPU=1000)
    (projection,) = region.projections()
    chance = random.Random(7)
    for _ in range(200):
        consumer, project = chance.choice(CONSUMERS), chance.choice(PROJECTS)
        amounts = chance.choice(({}, {PROVIDER: {"VCPU": chance.randint(1, 9)}}))
        body = {**holding(client.generation(consumer), amounts), "project_id": project}
        assert client.ask("PUT", f"/allocations/{consumer}", body).status == 204
        for name in PROJECTS:
            wanted = recounted(projection).get(name, set())
            with region.lock:
                assert set(consumers_of(projection, name)) == wanted
            used = sum(client.held(one)[PROVIDER]["VCPU"] for one in wanted)
            shown = client.do("GET", f"/usages?project_id={name}")["usages"]
            expected = {"INSTANCE": {"VCPU": used, "consumer_count": len(wanted)}} if wanted else {}
            assert shown == expected
    assert type(projection.holders) is HoldersByProject
    loaded = snapshot.load(snapshot.dump(projection))
    assert {name: set(consumers_of(loaded, name)) for name in recounted(loaded)} == recounted(projection)
    region.close()
