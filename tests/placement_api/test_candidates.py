"""Allocation candidates: their order, limits and options, what is kept, and what is asked again behind a fence.

That the answers are Placement's own is tested in tests/against_nova.
"""

import itertools
import json

import pytest

from nova_sched.fit.providers import assignments
from nova_sched.fit.serving import ALL_TREES
from placement_api.candidates import find
from placement_api.candidates.find import Rules, candidates_of
from placement_api.candidates.query import Query
from placement_api.config import BREADTH_FIRST, DEPTH_FIRST
from rpc_api import events
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.levels import LEVEL
from tests.builders import (
    consumer,
    created,
    group,
    inventory_of,
    of,
    provider,
    put_aggregates,
    put_inventories,
    report,
    tree,
    uuid_of,
)
from tests.placement_api.in_process import OurPlacement
from tests.placement_api.regions import prepare, workers

SHARES = "MISC_SHARES_VIA_AGGREGATE"
OWNER = {"project_id": "p", "user_id": "u", "consumer_generation": None, "consumer_type": "INSTANCE"}


def made(name, parent=None, traits=(), aggregates=(), **inventories):
    """The calls that make a provider."""
    path, generation = f"/resource_providers/{uuid_of(name)}", 0
    body = {"uuid": uuid_of(name), "name": name} | ({"parent_provider_uuid": uuid_of(parent)} if parent else {})
    yield "POST", "/resource_providers", body
    for kind, value in (
        ("inventories", {one: {"total": total} for one, total in inventories.items()}),
        ("traits", list(traits)),
        ("aggregates", [uuid_of(aggregate) for aggregate in aggregates]),
    ):
        if value:
            yield "PUT", f"{path}/{kind}", {"resource_provider_generation": generation, kind: value}
            generation += 1


def held(name, provider_name, **amounts):
    """The call that gives a new consumer something."""
    allocations = {uuid_of(provider_name): {"resources": amounts}}
    return "PUT", f"/allocations/{uuid_of(name)}", {"allocations": allocations, **OWNER}


@pytest.fixture
def api(request):
    """An API with the options that a test names."""
    placement = OurPlacement(**getattr(request, "param", {}))
    placement.empty()
    yield placement
    placement.close()


def with_options(**options):
    return pytest.mark.parametrize("api", [options], indirect=True)


def names_of(api, query, **headers):
    """The providers of each candidate, by name, in the order of the answer."""
    status, body = api.raw("GET", f"/allocation_candidates?{query}", **headers)
    assert status == 200, body
    table = api.region.table
    return [
        "+".join(sorted(table.provider_names[table.row_of_uuid[uuid]] for uuid in one["allocations"]))
        for one in json.loads(body)["allocation_requests"]
    ]


def numa_hosts(api, hosts=3):
    for number in range(hosts):
        api.make(*made(f"h{number}", MEMORY_MB=64))
        api.make(*made(f"h{number}a", f"h{number}", VCPU=4), *made(f"h{number}b", f"h{number}", VCPU=4))


# --- order and limits ------------------------------------------------------------------------------------------------


def test_candidates_come_in_the_order_of_their_roots(api):
    numa_hosts(api)
    assert names_of(api, "resources=VCPU:1") == ["h0a", "h0b", "h1a", "h1b", "h2a", "h2b"]
    assert names_of(api, "resources=VCPU:1&limit=3") == ["h0a", "h0b", "h1a"]
    assert len(names_of(api, f"resources=VCPU:1&limit={10**30}")) == 6


@with_options(allocation_candidates_generation_strategy=BREADTH_FIRST)
def test_breadth_first_takes_one_of_each_root_in_turn(api):
    numa_hosts(api)
    api.make(*made("flat", VCPU=4))
    assert names_of(api, "resources=VCPU:1") == ["h0a", "h1a", "h2a", "flat", "h0b", "h1b", "h2b"]
    assert names_of(api, "resources=VCPU:1&limit=2") == ["h0a", "h1a"]


@with_options(max_allocation_candidates=2)
def test_no_more_candidates_are_made_than_the_option_allows(api):
    api.make(*(call for number in range(4) for call in made(f"f{number}", VCPU=1)))
    assert names_of(api, "resources=VCPU:1") == ["f0", "f1"]
    assert names_of(api, "resources=VCPU:1&limit=1") == ["f0"]
    numa_hosts(api)
    assert names_of(api, "resources=VCPU:2") == ["h0a", "h0b"]


@with_options(randomize_allocation_candidates=True)
def test_a_random_sample_follows_from_the_id_of_the_request(api):
    api.make(*(call for number in range(12) for call in made(f"f{number}", VCPU=1)))

    def sample(number, query="resources=VCPU:1&limit=5"):
        return names_of(api, query, HTTP_X_OPENSTACK_REQUEST_ID=f"req-{uuid_of(str(number))}")

    assert len({tuple(sample(0)) for _ in range(10)}) == 1, "the same id, the same sample"
    samples = {tuple(sample(number)) for number in range(10)}
    assert len(samples) > 1 and all(len(set(one)) == 5 for one in samples)
    every = names_of(api, "resources=VCPU:1")
    assert sorted(every) == sorted(f"f{number}" for number in range(12))


def test_very_many_candidates_are_not_made_for_a_small_limit(api):
    api.make(*made("h", VCPU=8))
    api.make(*(call for number in range(12) for call in made(f"pf{number}", "h", SRIOV_NET_VF=16)))
    groups = "&".join(f"resources{number}=SRIOV_NET_VF:1" for number in range(1, 13))
    assert len(names_of(api, f"{groups}&group_policy=none&limit=100")) == 100


@pytest.mark.parametrize(
    "query", ["resources=VCPU:1", "resources1=VCPU:1&resources2=VCPU:1&group_policy=none&limit=99"]
)
def test_more_candidates_than_fit_into_memory_are_refused(api, monkeypatch, query):
    monkeypatch.setattr(find, "MOST_ASSIGNMENTS", 5)
    numa_hosts(api)
    status, answer = api.call("GET", f"/allocation_candidates?{query}")
    assert status == 400 and "more than 5 candidates" in answer["errors"][0]["detail"]
    assert len(names_of(api, "resources=VCPU:1&limit=5")) == 5
    # Those that are trees of one provider are few bytes each.
    api.make(*(call for number in range(9) for call in made(f"f{number}", DISK_GB=1)))
    assert len(names_of(api, "resources=DISK_GB:1")) == 9


@with_options(max_allocation_candidates=6)
def test_an_operator_may_allow_more(api, monkeypatch):
    monkeypatch.setattr(find, "MOST_ASSIGNMENTS", 5)
    numa_hosts(api, 4)
    assert len(names_of(api, "resources=VCPU:1")) == 6


# --- while others go on ----------------------------------------------------------------------------------------------


def during(monkeypatch, number, call):
    """Call a function when a search has found a number of candidates."""
    found, real = itertools.count(1), find.assignments

    def watched(candidates):
        for one in candidates:
            if next(found) == number:
                call()
            yield one

    monkeypatch.setattr(find, "assignments", lambda *arguments: watched(real(*arguments)))


def test_the_search_does_not_keep_others_waiting(api, monkeypatch):
    """Requests and the fold need the lock of the table; here a write is answered in the middle of a search."""
    numa_hosts(api, 1)
    statuses = []
    during(monkeypatch, 2, lambda: statuses.append(api.call(*held("vm", "h0a", VCPU=1))[0]))
    assert names_of(api, "resources1=VCPU:1&resources2=VCPU:1&group_policy=none")[:1] == ["h0a"]
    assert statuses == [204]


@pytest.mark.parametrize("strategy", [BREADTH_FIRST, DEPTH_FIRST])
def test_each_tree_is_shown_as_it_was_at_one_moment(api, monkeypatch, strategy):
    api.conf.set_override("allocation_candidates_generation_strategy", strategy, "placement_api")
    numa_hosts(api)

    def change():
        # The first host is searched, the others are not.
        api.make(held("vm", "h0b", VCPU=4), held("other", "h1b", VCPU=4))
        api.make(*(("DELETE", f"/resource_providers/{uuid_of(name)}", None) for name in ("h1a", "h2a", "h2b", "h2")))
        # Their rows are used again.
        api.make(*(call for number in range(4) for call in made(f"new{number}", VCPU=4)))

    during(monkeypatch, 1, change)
    status, answer = api.call("GET", "/allocation_candidates?resources1=VCPU:2&resources2=VCPU:1&group_policy=none")
    assert status == 200
    providers = {frozenset(one["allocations"]) for one in answer["allocation_requests"]}
    a, b = uuid_of("h0a"), uuid_of("h0b")
    assert providers == {frozenset((a,)), frozenset((b,)), frozenset((a, b))}
    summaries = answer["provider_summaries"]
    assert summaries.keys() == {uuid_of("h0"), a, b} and summaries[b]["resources"]["VCPU"]["used"] == 0


# --- trees of one provider -------------------------------------------------------------------------------------------

GROUPS = [
    group(VCPU=2),
    group(VCPU=2, required=["HW_CPU_X86_AVX"]),
    group(VCPU=1, MEMORY_MB=8, forbidden=["HW_CPU_X86_AVX"]),
    group("1", VCPU=1, any_traits=[["HW_CPU_X86_AVX", "STORAGE_DISK_SSD"]]),
    group(VCPU=1, member_of=[["left", "right"], ["left"]]),
    group(VCPU=1, not_member_of=["left"]),
    group(VCPU=1, in_tree="f3"),
    group(VCPU=1, in_tree="nobody"),
]


@pytest.mark.parametrize("asked", GROUPS)
def test_columns_and_the_search_find_the_same(api, asked):
    for number in range(6):
        traits = [trait for bit, trait in enumerate(("HW_CPU_X86_AVX", "STORAGE_DISK_SSD")) if number >> bit & 1]
        aggregates = ["left"] * (number % 2) + ["right"] * (number % 3 == 0)
        api.make(*made(f"f{number}", traits=traits, aggregates=aggregates, VCPU=1 + number % 3, MEMORY_MB=8))
    table, query = api.region.table, Query((asked,), "none", (), (), (), None)
    found = candidates_of(api.region, query, Rules("", -1, True, None)).candidates
    rows = [row for row in range(6) if next(assignments(table, row, query, ALL_TREES), None) is not None]
    assert found == [table.uuids[row] for row in rows]
    assert found or asked.in_tree == uuid_of("nobody")


# --- hosts and their aggregates --------------------------------------------------------------------------------------


def say(api, name, event):
    """Another producer writes an event into the log."""
    appender = Appender(api.region._kept_open, api.region.new_roots.projection.epoch)
    producer = Producer(appender, name)
    producer.level = LEVEL
    producer.wait(producer.publish(event))
    appender.close()
    api.region.fence()


def test_hosts_that_agents_report_are_there(api):
    children = provider("h/0", inventory_of("CUSTOM_GPU", 2), parent=0)
    api.make(("PUT", "/resource_classes/CUSTOM_GPU", None))
    say(api, "compute_agent/h", report("h", inventory=tree("h", children)))
    say(api, "conductor/c", events.AggregateUpdated(uuid_of("of Nova"), "of Nova", ("h",), {}))
    assert names_of(api, "resources=VCPU:1,CUSTOM_GPU:1") == ["h+h/0"]
    assert names_of(api, f"resources=VCPU:1&member_of={uuid_of('of Nova')}") == [], "Placement does not know it"
    used = "provider_summaries", uuid_of("h"), "resources", "VCPU", "used"
    assert found(api, "resources=VCPU:1", *used) == 0
    say(api, "compute_agent/h", report("h", consumer("vm", of("h", 3)), inventory=tree("h", children)))
    assert found(api, "resources=VCPU:1", *used) == 3


def test_a_provider_that_an_agent_reports_begins_to_share(api):
    disk = provider("h/disk", inventory_of("DISK_GB", 8), parent=0, aggregates=("rack",))
    api.make(*made("other", aggregates=["rack"], MEMORY_MB=8))
    for _ in range(2):
        for traits, wanted in (((), []), ((SHARES,), ["h/disk+other"])):
            say(api, "compute_agent/h", report("h", inventory=tree("h", disk._replace(traits=traits), inventories=())))
            assert names_of(api, "resources=MEMORY_MB:1,DISK_GB:1") == wanted


def test_a_sharing_provider_serves_trees_of_other_logs(tmp_path):
    urls = {cell: f"sqlite:///{tmp_path}/{cell}.db" for cell in ("cell1", "cell2")}
    for cell, url in urls.items():
        prepare(url, cell)
    api = OurPlacement()
    with workers(urls, count=1) as (region,):
        api.over(region)
        api.make(("PUT", "/traits/CUSTOM_HERE", None))
        api.make(
            *made("disk", traits=[SHARES], aggregates=["rack"], DISK_GB=8), *made("here", aggregates=["rack"], VCPU=1)
        )
        there = region.logs["cell2"]
        assert there.write(created("there")).reason is None
        assert there.write(put_inventories("there", inventory_of("VCPU", 1))).reason is None
        assert there.write(put_aggregates("there", "rack")).reason is None
        assert names_of(api, "resources=VCPU:1") == ["here", "there"]
        assert names_of(api, "resources=VCPU:1,DISK_GB:1") == ["disk+here", "disk+there"]
        assert names_of(api, "resources=VCPU:1&required=!CUSTOM_HERE") == ["here", "there"]
        (_, over_both) = found(api, "resources=VCPU:1,DISK_GB:1", "allocation_requests")
        api.make(("PUT", f"/allocations/{uuid_of('vm')}", {**over_both, **OWNER}))
        assert names_of(api, "resources=VCPU:1,DISK_GB:1") == ["disk+here"]


@pytest.mark.parametrize("strategy", [BREADTH_FIRST, DEPTH_FIRST])
def test_the_first_provider_begins_to_share_during_a_search(api, monkeypatch, strategy):
    api.conf.set_override("allocation_candidates_generation_strategy", strategy, "placement_api")
    api.make(*made("a", DISK_GB=8, VCPU=4), *made("a/1", parent="a", VCPU=4))
    api.make(*made("b", aggregates=["rack"], VCPU=4), *made("b/1", parent="b", DISK_GB=8))
    api.make(*made("disk", aggregates=["rack"], DISK_GB=8))
    path = f"/resource_providers/{uuid_of('disk')}/traits"
    share = "PUT", path, {"resource_provider_generation": 2, "traits": [SHARES]}
    during(monkeypatch, 1, lambda: api.make(share))
    wanted = ["a", "a+a/1", "b+b/1", "b+disk"]
    assert sorted(names_of(api, "resources=VCPU:1,DISK_GB:1")) == wanted
    assert found(api, "resources=VCPU:1,DISK_GB:1", "provider_summaries").keys() >= {uuid_of("disk")}


def test_a_provider_that_is_gone_may_be_given_back(api):
    """Another log commits its part later than the log of the provider is read again."""
    api.make(*made("h", VCPU=4))
    region = api.region
    with region.lock:
        (summary,) = region.summaries.of([0], {(uuid_of("gone"), "VCPU"): 1})
    assert uuid_of("h").encode() in summary


def test_aggregates_that_do_not_exist_are_not_kept(api):
    api.make(*made("h", aggregates=["rack"], VCPU=4))
    sizes = []
    for number in range(20):
        query = f"resources=VCPU:1&member_of={uuid_of(f'unknown {number}')}"
        assert names_of(api, query) == []
        assert api.call("GET", f"/resource_providers?{query}")[1]["resource_providers"] == []
        assert names_of(api, f"resources=VCPU:1&member_of=!{uuid_of(f'unknown {number}')}") == ["h"]
        sizes.append(len(api.region.table._derived))
    assert sizes[-1] == sizes[0]
    assert names_of(api, f"resources=VCPU:1&member_of={uuid_of('rack')}") == ["h"]


def found(api, query, *path, version="1.39"):
    """What is at a path of the answer."""
    status, answer = api.call("GET", f"/allocation_candidates?{query}", version=version)
    assert status == 200, answer
    for key in path:
        answer = answer[key]
    return answer


# --- summaries -------------------------------------------------------------------------------------------------------


def test_summaries_follow_every_change(api):
    api.make(*made("h", VCPU=8), *made("child", "h", DISK_GB=4), *made("other", VCPU=8))
    of_h, path = ("provider_summaries", uuid_of("h")), f"/resource_providers/{uuid_of('h')}"

    def shown():
        return found(api, "resources=VCPU:1", *of_h)

    assert shown() == {
        "resources": {"VCPU": {"capacity": 8, "used": 0}},
        "traits": [],
        "parent_provider_uuid": None,
        "root_provider_uuid": uuid_of("h"),
    }
    api.make(held("vm", "h", VCPU=2))
    assert shown()["resources"]["VCPU"]["used"] == 2
    api.make(("DELETE", f"/allocations/{uuid_of('vm')}"))
    assert shown()["resources"]["VCPU"]["used"] == 0
    generation = api.call("GET", path)[1]["generation"]
    api.make(("PUT", f"{path}/traits", {"resource_provider_generation": generation, "traits": ["HW_CPU_X86_AVX"]}))
    assert shown()["traits"] == ["HW_CPU_X86_AVX"]
    body = {"resource_provider_generation": generation + 1, "inventories": {"VCPU": {"total": 5}}}
    api.make(("PUT", f"{path}/inventories", body))
    assert shown()["resources"]["VCPU"]["capacity"] == 5
    child = f"/resource_providers/{uuid_of('child')}"
    api.make(("PUT", child, {"name": "child", "parent_provider_uuid": uuid_of("other")}))
    summaries = found(api, "resources=VCPU:1&in_tree=" + uuid_of("other"), "provider_summaries")
    assert summaries[uuid_of("child")]["parent_provider_uuid"] == uuid_of("other")
    assert list(found(api, "resources=VCPU:1&in_tree=" + uuid_of("h"), "provider_summaries")) == [uuid_of("h")]


def test_a_row_that_is_used_again_has_no_old_summary(api):
    api.make(*made("first", VCPU=8))
    assert uuid_of("first") in found(api, "resources=VCPU:1", "provider_summaries")
    api.make(("DELETE", f"/resource_providers/{uuid_of('first')}"))
    api.make(*made("second", VCPU=8))
    assert list(found(api, "resources=VCPU:1", "provider_summaries")) == [uuid_of("second")]


def test_older_microversions_show_less(api):
    api.make(*made("h", VCPU=8, MEMORY_MB=64), *made("child", "h", DISK_GB=4))
    forms = [
        ("1.10", {uuid_of("h"): {"resources": {"VCPU": {"capacity": 8, "used": 0}}}}),
        ("1.17", {uuid_of("h"): {"resources": {"VCPU": {"capacity": 8, "used": 0}}, "traits": []}}),
    ]
    for version, wanted in forms:
        assert found(api, "resources=VCPU:1", "provider_summaries", version=version) == wanted
    of_h = found(api, "resources=VCPU:1", "provider_summaries", version="1.27")[uuid_of("h")]
    assert sorted(of_h["resources"]) == ["MEMORY_MB", "VCPU"] and sorted(of_h) == ["resources", "traits"]
    assert len(found(api, "resources=VCPU:1", "provider_summaries", version="1.29")) == 2
    listed = {"allocations": [{"resource_provider": {"uuid": uuid_of("h")}, "resources": {"VCPU": 1}}]}
    assert found(api, "resources=VCPU:1", "allocation_requests", version="1.11") == [listed]


# --- names and fences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, status",
    [
        ("resources=CUSTOM_NONE:1", 400),
        ("resources=VCPU:1&required=CUSTOM_NONE", 400),
        ("resources=VCPU:1&root_required=CUSTOM_NONE", 400),
        ("resources=VCPU:1&resources1=CUSTOM_NONE:1", 400),
        # What is after a group that nothing can serve is not looked at.
        ("resources=VCPU:99&resources1=CUSTOM_NONE:1", 200),
        ("resources=VCPU:1&root_required=HW_CPU_X86_AVX&required=CUSTOM_NONE", 200),
        ("resources=VCPU:1&required=CUSTOM_NONE&member_of=" + uuid_of("nobody's"), 200),
        ("resources=VCPU:9007199254740993", 200),
        ("resources=VCPU:" + "9" * 100, 200),
        ("resources=VCPU:" + "9" * 5000, 400),
        ("resources=VCPU:1&limit=x&limit=1", 400),
        ("resources=VCPU:1&limit=0&limit=1", 400),
        ("resources=VCPU:9&limit=" + "9" * 30, 200),
    ],
)
def test_names_that_do_not_exist(api, query, status):
    api.make(*made("h", VCPU=8))
    found_status, answer = api.call("GET", f"/allocation_candidates?{query}")
    assert found_status == status, answer
    assert status == 400 or answer["allocation_requests"] == []


def test_nothing_is_said_to_be_there_only_behind_a_fence(api):
    fences, fence = [], api.region.fence
    api.region.fence = lambda: fences.append(1) or fence()
    api.make(*made("h", VCPU=8))
    assert names_of(api, "resources=VCPU:1") == ["h"] and not fences
    assert names_of(api, "resources=VCPU:9") == [] and len(fences) == 1
    assert api.call("GET", "/allocation_candidates?resources=CUSTOM_NONE:1")[0] == 400 and len(fences) == 2
    assert api.call("GET", "/allocation_candidates?resources=VCPU")[0] == 400 and len(fences) == 2


def test_lists_of_providers_by_their_indexes(api):
    numa_hosts(api, 2)
    api.make(*made("shared", traits=[SHARES], aggregates=["rack"], DISK_GB=8))

    def listed(query):
        answer = api.call("GET", f"/resource_providers?{query}")[1]
        return [one["name"] for one in answer["resource_providers"]]

    assert listed("") == ["h0", "h0a", "h0b", "h1", "h1a", "h1b", "shared"]
    assert listed("name=h0a") == ["h0a"] and listed("name=none") == []
    assert listed(f"name=h0a&uuid={uuid_of('h0b')}") == []
    assert listed(f"uuid={uuid_of('h1')}") == listed(f"uuid={uuid_of('h1').upper()}") == ["h1"]
    assert listed(f"in_tree={uuid_of('h1b')}") == ["h1", "h1a", "h1b"]
    assert listed(f"in_tree={uuid_of('h1b')}&name=h0") == []
    assert listed(f"member_of=in:{uuid_of('rack')},{uuid_of('none')}") == ["shared"]
    assert listed(f"member_of=!{uuid_of('rack')}&resources=MEMORY_MB:1") == ["h0", "h1"]
    assert listed(f"required={SHARES}") == ["shared"]
    assert "shared" not in listed(f"required=!{SHARES}")
    assert listed("resources=VCPU:4") == ["h0a", "h0b", "h1a", "h1b"]
    assert listed("resources=VCPU:4,MEMORY_MB:1") == []
