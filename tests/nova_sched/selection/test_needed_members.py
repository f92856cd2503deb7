"""What a decision needs of the conductor's list of a server group: the request with less gives the same decision."""

from types import SimpleNamespace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from nova_sched.filters import BUILT_IN
from nova_sched.filters.nova_style import NovaStyleFilter
from nova_sched.projection.ledger import RUNNING
from nova_sched.projection.world import World
from nova_sched.request.server_group import breaks_named
from nova_sched.selection import needed_members
from nova_sched.selection.catalogue import BUILT_IN as CATALOGUE
from nova_sched.selection.needed_members import MAX_NAMED, as_evidence, may_lack_members, with_needed_members
from nova_sched.selection.policy import Policy
from tests.asked import Asked
from tests.builders import (
    claim,
    consumer,
    deleted,
    inventory_of,
    moved,
    of,
    report,
    request,
    rule,
    server_group,
    started,
    tree,
    uuid_of,
)


def host(name, *consumers):
    return report(name, *consumers, inventory=tree(name, inventories=(inventory_of("VCPU", 40),)))


def member(name, host, group="group", **facts):
    return claim(name, host, of(host, 1), rule=rule(group, "member", host, uuid_of(name), 0), **facts)


def cloud_of(*cell1, in_flight=(), cells=None, **facts):
    """Hosts a and b in cell1, c in cell2."""
    cells = {"cell1": (host("a"), host("b"), *cell1), "cell2": (host("c"), *(cells or ()))}
    cloud = Asked(cells=cells, **facts)
    for each in in_flight:
        cloud.in_flight.add(each)
    return cloud


def needed(cloud, asked, instance="vm-new"):
    world = World(cloud.table, cloud.projections, cloud.in_flight)
    return with_needed_members(asked, world, cloud.policy, uuid_of(instance))


MEMBERS = [
    # events in cell1, claims in flight, members that the conductor names, those that are needed
    ([], [], ["vm-1"], []),
    ([member("vm-1", "a")], [], ["vm-1"], []),
    ([claim("vm-1", "a")], [], ["vm-1"], ["vm-1"]),
    ([started("vm-1", "a")], [], ["vm-1"], ["vm-1"]),
    ([started("vm-1", "a"), deleted("vm-1", "a")], [], ["vm-1"], []),
    ([member("vm-1", "a", "another")], [], ["vm-1"], ["vm-1"]),
    ([member("vm-1", "a"), started("vm-1", "b")], [], ["vm-1"], ["vm-1"]),
    ([member("vm-1", "a"), started("vm-1", "b"), deleted("vm-1", "b")], [], ["vm-1"], []),
    ([member("vm-1", "a"), moved("a", "vm-1", "migration")], [], ["vm-1"], []),
    ([member("vm-1", "a"), moved("a", "vm-1", "migration"), started("vm-1", "b")], [], ["vm-1"], ["vm-1"]),
    ([], [member("vm-1", "a")], ["vm-1"], []),
    ([], [member("vm-1", "a", "another")], ["vm-1"], ["vm-1"]),
    ([], [claim("migration", "a", instance="vm-1")], ["vm-1", "vm-2"], ["vm-1"]),
    ([started("vm-1", "a")], [], ["vm-2"], []),
]


@pytest.mark.parametrize("events, in_flight, named, wanted", MEMBERS)
def test_members(events, in_flight, named, wanted):
    cloud = cloud_of(*events, in_flight=in_flight)
    found = needed(cloud, request(server_group=server_group("anti-affinity", members=named, hosts=["a"])))
    assert found.server_group == server_group("anti-affinity", members=wanted)


HOSTS = [
    # policy, events in cell1, hosts that the conductor names, the instance, those that are needed
    ("anti-affinity", [], ["a"], "vm-new", []),
    ("affinity", [], ["a"], "vm-new", ["a"]),
    ("affinity", [], ["a", "b", "a"], "vm-new", ["a", "b"]),
    # A host that only the request names is not the group's, but for the instance itself.
    ("affinity", [member("vm-1", "a")], ["a", "b"], "vm-new", []),
    ("affinity", [member("vm-1", "a"), member("vm-2", "b")], ["a", "b"], "vm-1", ["a"]),
    ("affinity", [member("vm-1", "a")], ["a", "b"], "vm-1", ["a", "b"]),
    ("affinity", [member("vm-1", "a")], ["gone"], "vm-new", []),
    ("affinity", [], ["gone", "lost"], "vm-new", ["gone"]),
    ("affinity", [], ["gone", "a"], "vm-new", ["a"]),
    ("affinity", [], [], "vm-new", []),
]


@pytest.mark.parametrize("policy, events, named, instance, wanted", HOSTS)
def test_hosts(policy, events, named, instance, wanted):
    asked = request(server_group=server_group(policy, hosts=named))
    found = needed(cloud_of(*events), asked, instance)
    assert found.server_group == server_group(policy, hosts=wanted)


def test_a_request_without_a_group_stays_as_it_is():
    assert needed(cloud_of(), request()) == request()


class Theirs:
    """A filter of a deployer."""

    def host_passes(self, host_state, spec_obj):
        return len(spec_obj.instance_group.members) == 2


@pytest.mark.parametrize("more, kept", [(0, True), (MAX_NAMED - 2, True), (MAX_NAMED - 1, False)])
def test_classes_of_deployers_see_a_list_of_up_to_1000(more, kept):
    catalogue = CATALOGUE._replace(filters={**BUILT_IN, "Theirs": NovaStyleFilter("Theirs", Theirs())})
    cloud = cloud_of(policy=Policy(enabled_filters=("Theirs",), catalogue=catalogue))
    group = server_group("anti-affinity", members=["vm-1", "vm-2", *(f"more-{number}" for number in range(more))])
    assert needed(cloud, request(server_group=group)).server_group.members == (group.members if kept else ())
    assert bool(cloud.decide(needed(cloud, request(server_group=group))).candidates) == (not more)


@pytest.mark.parametrize(
    "number, left, lacks", [(0, 0, False), (MAX_NAMED - 1, 999, False), (MAX_NAMED, 1000, True), (1001, 1000, True)]
)
@pytest.mark.parametrize("of_what", ["members", "hosts"])
def test_evidence_has_a_limit(of_what, number, left, lacks):
    asked = request(server_group=server_group("affinity", **{of_what: [f"h{each}" for each in range(number)]}))
    found = as_evidence(asked)
    assert getattr(found.server_group, of_what) == getattr(asked.server_group, of_what)[:left]
    assert may_lack_members(found) is lacks
    assert as_evidence(request()) == request() and not may_lack_members(request())


# --- the property ----------------------------------------------------------------------------------------------------

HOST_NAMES = ("a", "b", "c")
INSTANCES = ("vm-1", "vm-2", "vm-3", "vm-4")
hosts, instances = st.sampled_from(HOST_NAMES), st.sampled_from(INSTANCES)
groups = st.sampled_from(("group", "group", "another", None))


def drawn_claim(draw):
    name, where, group = draw(instances), draw(hosts), draw(groups)
    consumer = draw(st.sampled_from((name, name, "migration")))
    attempt = draw(st.sampled_from(("", "again")))
    domain, partition = draw(st.sampled_from((where, "rack"))), draw(st.sampled_from((uuid_of(name), "p1", "p2")))
    of_group = None if group is None else rule(group, "member", domain, partition, 0)
    return claim(consumer, where, of(where, 1), instance=name, rule=of_group, attempt=attempt)


def drawn_event(draw):
    name, where = draw(instances), draw(hosts)
    return draw(
        st.sampled_from(
            (
                started(name, where),
                started(name, where, rule=rule("group", "member", where, "p3", 0)),
                deleted(name, where),
                moved(where, name, "migration"),
                host(where, consumer(name)),
            )
        )
    )


@st.composite
def worlds(draw):
    """(cloud, request): instances that entered the logs in many ways, claims in flight, and what a conductor names."""
    cell_of = {"a": "cell1", "b": "cell1", "c": draw(st.sampled_from(("cell1", "cell2")))}
    cells = {"cell1": [], "cell2": []}
    for name in HOST_NAMES:
        cells[cell_of[name]].append(host(name))
    for _ in range(draw(st.integers(0, 8))):
        data = drawn_claim(draw) if draw(st.booleans()) else drawn_event(draw)
        cells[cell_of[data.host]].append(data)
    cloud = Asked(
        cells=cells,
        policy=Policy(
            weighers=(("ServerGroupSoftAffinityWeigher", 1.0), ("ServerGroupSoftAntiAffinityWeigher", 1.0)),
            enabled_filters=("ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter"),
        ),
    )
    for each in {
        each.claim_uuid: each for each in (drawn_claim(draw) for _ in range(draw(st.integers(0, 2))))
    }.values():
        cloud.in_flight.add(each)
    group = server_group(
        draw(st.sampled_from(("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity", "fault-domain"))),
        draw(st.integers(1, 2)),
        partition=draw(st.sampled_from((None, "p1", "p2"))),
        members=draw(st.lists(st.sampled_from((*INSTANCES, "vm-unknown", "migration")), unique=True)),
        hosts=draw(st.lists(st.sampled_from((*HOST_NAMES, "gone")))),
    )
    return cloud, request(server_group=group)


def naive(cloud, asked, instance):
    """(Host -> instances, domain -> partitions of other instances) of the group, from all entries one by one."""
    group = asked.server_group
    entries = [
        entry
        for projection in cloud.projections.values()
        for uuid, entries in projection.consumers.items()
        for entry in entries
        if uuid in group.members or (entry.rule and entry.rule.group_uuid == group.uuid)
    ] + [
        entry
        for entry in cloud.in_flight.claims.values()
        if entry.instance_uuid in group.members or (entry.rule and entry.rule.group_uuid == group.uuid)
    ]
    by_host, domains = {}, {}
    for entry in entries:
        by_host.setdefault(entry.host, set()).add(entry.instance_uuid)
        if entry.rule is not None and entry.instance_uuid != uuid_of(instance):
            domains.setdefault(entry.rule.domain, set()).add(entry.rule.partition)
    others = {host for host, those in by_host.items() if those - {uuid_of(instance)}}
    return SimpleNamespace(
        by_host=by_host,
        affinity=(others | {host for host in group.hosts if not others or host in by_host}) or None,
        taken={
            domain for domain, those in domains.items() if group.partition not in those and len(those) >= group.limit
        },
    )


@given(worlds(), st.sampled_from((*INSTANCES, "vm-new")), st.integers(0, 3))
def test_the_request_with_less_gives_the_same_decision(world, instance, seed):
    cloud, asked = world
    less = needed(cloud, asked, instance)
    assert {*less.server_group.members} <= {*asked.server_group.members}
    assert needed(cloud, less, instance) == less
    wanted = naive(cloud, asked, instance)
    for each in (asked, less):
        scope = cloud.scope(each, instance)
        assert {host: set(those) for host, those in scope.members_by_host.items()} == wanted.by_host
        assert scope.taken_domains() == wanted.taken
        if asked.server_group.policy != "affinity":
            continue
        rows = scope.affinity_rows(cloud.policy)
        assert (rows is None) == (wanted.affinity is None)
        assert rows is None or {*cloud.names(rows)} == wanted.affinity & {*HOST_NAMES}
    decided = [cloud.decide(each, instance, seed=seed, alternates=2) for each in (asked, less)]
    assert decided[0] == decided[1]


def test_the_limit_is_below_that_of_an_event():
    assert needed_members.MAX_NAMED * 40 < 64 * 1024


def breaks(group, claimed, position, consumers):
    """Whether a claim breaks the policy towards members under another name of the group, from its members one by
    one."""
    before = [
        entry
        for member in group.members
        if member != claimed.instance_uuid
        for entry in consumers.get(member, ())
        if entry.rule is not None and entry.position < position
    ]
    others = [entry for entry in before if entry.rule.group_uuid != claimed.rule.group_uuid]
    if group.policy == "affinity" and others:
        first = min(others, key=lambda entry: entry.position)
        running = {entry.host for entry in others if entry.state is RUNNING}
        return claimed.host not in {first.host, *group.hosts, *running}
    here = {entry.instance_uuid for entry in before if entry.host == claimed.host}
    return (
        group.policy == "anti-affinity"
        and len(here) >= group.limit
        and any(entry.host == claimed.host for entry in others)
    )


@given(worlds(), st.sampled_from((*INSTANCES, "vm-new")), hosts, st.integers(0, 12))
def test_a_claim_breaks_the_policy_towards_members_of_another_name(world, instance, where, position):
    cloud, asked = world
    projection = next(each for each in cloud.projections.values() if where in each.hosts)
    claimed = claim(instance, where, of(where, 1), rule=rule("group", "spread", where, uuid_of(instance), 1))
    wanted = breaks(asked.server_group, claimed, position, projection.consumers)
    event("it breaks the policy" if wanted else "it does not")
    assert breaks_named(asked.server_group, claimed, position, projection) == wanted


BROKEN = [
    # policy and limit, the host of the claim, its instance, what came before it, whether it breaks the policy
    ("anti-affinity", 1, "a", "vm-new", [member("vm-1", "a", "another")], True),
    ("anti-affinity", 1, "b", "vm-new", [member("vm-1", "a", "another")], False),
    ("anti-affinity", 2, "a", "vm-new", [member("vm-1", "a", "another")], False),
    ("anti-affinity", 2, "a", "vm-new", [member("vm-1", "a", "another"), member("vm-2", "a")], True),
    ("anti-affinity", 1, "a", "vm-new", [member("vm-1", "a")], False),
    ("anti-affinity", 1, "a", "vm-1", [member("vm-1", "a", "another")], False),
    ("anti-affinity", 1, "a", "vm-new", [claim("vm-1", "a")], False),
    ("affinity", 1, "b", "vm-new", [member("vm-1", "a", "another")], True),
    ("affinity", 1, "a", "vm-new", [member("vm-1", "a", "another")], False),
    ("affinity", 1, "b", "vm-new", [member("vm-1", "a")], False),
    ("soft-affinity", 1, "b", "vm-new", [member("vm-1", "a", "another")], False),
]


@pytest.mark.parametrize("policy, limit, where, instance, before, wanted", BROKEN)
def test_late_checks(policy, limit, where, instance, before, wanted):
    projection = cloud_of(*before).projections["cell1"]
    claimed = claim(instance, where, of(where, 1), rule=rule("group", "spread", where, uuid_of(instance), limit))
    group = server_group(policy, limit, members=["vm-1", "vm-2"])
    assert breaks_named(group, claimed, 100, projection) == wanted
    assert not breaks_named(group, claimed, 0, projection)
    assert not breaks_named(group, claimed._replace(rule=None), 100, projection)
