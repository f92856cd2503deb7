"""A claim is checked before it is published: a host that the log would refuse is not claimed, and the next one is.

The rows of the table are those of docs/design/0025, point 4.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection.ledger import RUNNING
from nova_sched.replay.verify.decisions import replay
from nova_sched.scheduler.asks import HOST_REFUSALS_MAX, refusals_max
from nova_sched.selection.claim_rules import ClaimRules
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.errors import CellsUnreachable, LogUnavailable, NoHostFound
from tests.builders import claim, consumer, moved, of, rule, server_group, started, uuid_of
from tests.engines import TinyCloud, hosts_of
from tests.nova_sched.replay.tiny import Logs

NO_COMPUTE_FILTER = Policy(enabled_filters=("AllHostsFilter",))
SPREAD_ONLY_BY_THE_LOG = Policy(enabled_filters=("ComputeFilter",))
EVERYTHING = ("a", "b", "c")


def member(name, host, policy="together", limit=0):
    """An instance that runs on a host under a rule of the group."""
    return consumer(name, of(host, 1), rule=rule("group", policy, host, uuid_of(name), limit))


def affinity(*members, hosts=()):
    return server_group("affinity", members=members, hosts=hosts)


def spread(*members, hosts=()):
    return server_group("anti-affinity", members=members, hosts=hosts)


def cloud(a=(), b=(), c=(), *, second_cell=(), policy=None, vcpus=None, status=None):
    """Hosts a, b and c with what they run; those of ``second_cell`` are in cell2. 8 VCPUs unless ``vcpus`` says so."""
    tiny = TinyCloud(("cell1", "cell2") if second_cell else ("cell1",), policy=policy)
    for name, consumers in (("a", a), ("b", b), ("c", c)):
        tiny.host(
            name,
            "cell2" if name in second_cell else "cell1",
            vcpus=(vcpus or {}).get(name, 8),
            consumers=consumers,
            **(status or {}).get(name, {}),
        )
    return tiny


def asked(tiny, level, name="new", *, group=None, anchor=None, fence=None, migrates=None, **fields):
    """Ask one scheduler for a host; returns (its host or None, number of decisions). ``migrates`` is the host on which
    the instance's allocations belong to its migration; ``anchor`` the (cell, host) of the group."""
    if level > 1:
        tiny.pin(level)
    if migrates:
        tiny.append("cell1", "conductor/c", moved(migrates, name, "migration"))
    if anchor:
        tiny.append("cell0", "scheduler/other", events.GroupAnchored(uuid_of("group"), *anchor, 0))
    engine = tiny.engine("s")
    if fence:
        number = engine.world.projections["cell0"].anchors[uuid_of("group")][2]
        tiny.append(fence, "scheduler/other", events.GroupFenced(uuid_of("group"), number))
        tiny.settle()
    ask = tiny.ask(engine, name, group=group, vcpus=1, **fields)
    tiny.settle()
    fault = ask.future.exception(0)
    assert fault is None or isinstance(fault, NoHostFound), fault
    assert engine.counts["conflicts"] == 0, "with one scheduler no claim is refused"
    return None if fault else hosts_of(ask)[0], engine.counts["decisions"]


def split(**facts):
    """An affinity group whose members are on two hosts, as after a live migration to a host that was forced."""
    return cloud([member("m1", "a")], [member("m2", "b")], **facts)


TABLE = {
    # what happens: (cloud, request, hosts that may be chosen and decisions, the same at level 2 if it differs)
    "a new member of a split group": (
        lambda: split(),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: ((), 1), 2: (("a", "b"), 1)},
    ),
    "the same, and no hosts are named": (
        lambda: split(),
        {"group": affinity("m1", "m2")},
        {1: ((), 1), 2: (("a", "b"), 1)},
    ),
    "m1 of a split group moves to the other": (
        lambda: split(),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: ((), 1), 2: (("b",), 1)},
    ),
    "m1 of a split group is resized, and may stay": (
        lambda: split(),
        {"name": "m1", "migrates": "a", "group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: ((), 1), 2: (("a", "b"), 1)},
    ),
    "one of two members must leave": (
        lambda: cloud([member("m1", "a"), member("m2", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", "m2", hosts=("a",))},
        {1: ((), 1)},
    ),
    "the only member must leave, and its host is named": (
        lambda: cloud([member("m1", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1", hosts=("a",))},
        {1: ((), 1)},
    ),
    "the only member must leave, and no host is named": (
        lambda: cloud([member("m1", "a")]),
        {"name": "m1", "migrates": "a", "ignore_hosts": ("a",), "group": affinity("m1")},
        {1: ((), 1), 2: (("b", "c"), 1)},
    ),
    "the only member is resized in place": (
        lambda: cloud([member("m1", "a")], vcpus={"b": 64}),
        {"name": "m1", "migrates": "a", "group": affinity("m1", hosts=("a",))},
        {1: (("a",), 1)},
    ),
    "a member runs without a claim, another one with it": (
        lambda: cloud([consumer("m1", of("a", 1))], [member("m2", "b")], vcpus={"a": 64}),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: (("b",), 1), 2: (("a", "b"), 1)},
    ),
    "the same, and the host of the other one is full": (
        lambda: cloud([consumer("m1", of("a", 1))], [member("m2", "b")], vcpus={"b": 1}),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: ((), 1), 2: (("a",), 1)},
    ),
    "the request names a host that the group left": (
        lambda: cloud((), [member("m2", "b")], vcpus={"a": 64}),
        {"group": affinity("m2", hosts=("a", "b"))},
        {1: (("b",), 1)},
    ),
    "forced, and outside of the affinity group": (
        lambda: cloud([member("m1", "a")]),
        {"group": affinity("m1", hosts=("a",)), "force_hosts": ("b",)},
        {1: (("b",), 1)},
    ),
    "forced, and full by anti-affinity": (
        lambda: cloud([member("m1", "a", "spread", 1)]),
        {"group": spread("m1", hosts=("a",)), "force_hosts": ("a",)},
        {1: (("a",), 1)},
    ),
    "anti-affinity without its filter": (
        lambda: cloud([member("m1", "a", "spread", 1)], vcpus={"a": 64}, policy=SPREAD_ONLY_BY_THE_LOG),
        {"group": spread("m1", hosts=("a",))},
        {1: (("b", "c"), 1)},
    ),
    "affinity without its filter": (
        lambda: cloud([member("m1", "a")], vcpus={"b": 64}, policy=SPREAD_ONLY_BY_THE_LOG),
        {"group": affinity("m1", hosts=("a",))},
        {1: (("a",), 1)},
    ),
    "the best host is down, and no filter looks": (
        lambda: cloud(vcpus={"a": 64, "b": 32}, status={"a": {"forced_down": True}}, policy=NO_COMPUTE_FILTER),
        {"alternates": 2},
        {1: (("b",), 1)},
    ),
    "the best host is disabled, and no filter looks": (
        lambda: cloud(vcpus={"a": 64, "b": 32}, status={"a": {"disabled": True}}, policy=NO_COMPUTE_FILTER),
        {},
        {1: (("b",), 1)},
    ),
    "all hosts are down, and no filter looks": (
        lambda: cloud(status={name: {"forced_down": True} for name in EVERYTHING}, policy=NO_COMPUTE_FILTER),
        {},
        {1: ((), 1)},
    ),
    "forced to a host that is down": (
        lambda: cloud(status={"a": {"forced_down": True}}),
        {"force_hosts": ("a",)},
        {1: (("a",), 1)},
    ),
    "anti-affinity: m1 is resized in place": (
        lambda: cloud([member("m1", "a", "spread", 1)], vcpus={"a": 64}),
        {"name": "m1", "migrates": "a", "group": spread("m1", hosts=("a",))},
        {1: (("a",), 1)},
    ),
    "two cells: members in both": (
        lambda: split(second_cell=("b",)),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: (("a", "b"), 2), 2: (("a", "b"), 1)},
    ),
    "two cells: members on two hosts of one": (
        lambda: split(second_cell=("c",), vcpus={"c": 64}),
        {"group": affinity("m1", "m2", hosts=("a", "b"))},
        {1: ((), 1), 2: (("a", "b"), 1)},
    ),
    "two cells: the anchor is in the cell without members": (
        lambda: cloud((), [member("m2", "b")], second_cell=("b",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "group": affinity("m2", hosts=("b",))},
        {1: (("b",), 1)},
    ),
    "two cells: the same, and the group is fenced off there": (
        lambda: cloud((), [member("m2", "b")], second_cell=("b",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "fence": "cell1", "group": affinity("m2", hosts=("b",))},
        {1: (("b",), 2), 2: (("b",), 1)},
    ),
    "two cells: anchor and member are on two hosts of one": (
        lambda: cloud((), [member("m2", "b")], second_cell=("c",), vcpus={"a": 64}),
        {"anchor": ("cell1", "a"), "group": affinity("m2", hosts=("b",))},
        {1: (("b",), 1)},
    ),
    "two cells: the anchor's host is full, and there is no member": (
        lambda: cloud(second_cell=("b", "c"), vcpus={"a": 0}),
        {"anchor": ("cell1", "a"), "group": affinity()},
        {1: (("b", "c"), 3)},
    ),
    "two cells: forced outside of the anchor's cell": (
        lambda: cloud(second_cell=("b",)),
        {"anchor": ("cell1", "a"), "group": affinity(), "force_hosts": ("b",)},
        {1: (("b",), 1)},
    ),
    "two cells: forced, and no anchor yet": (
        lambda: cloud(second_cell=("b",)),
        {"group": affinity(), "force_hosts": ("b",)},
        {1: (("b",), 1)},
    ),
}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_table_of_the_design(row, level):
    made, request, answers = row
    hosts, decisions = answers.get(level, answers[1])
    host, count = asked(made(), level, **request)
    assert (host in hosts) if hosts else host is None, host
    assert count == decisions


@pytest.mark.parametrize("pinned, hosts", [("cell1", ("a", "b")), ("cell2", ())])
def test_the_level_of_each_cell_counts_for_its_hosts(pinned, hosts):
    tiny = split(second_cell=("c",), vcpus={"c": 64})
    tiny.pin(2, "cell0", pinned)
    host, count = asked(tiny, 1, group=affinity("m1", "m2", hosts=("a", "b")))
    assert (host in hosts) if hosts else host is None
    assert count == 1


CLOSED = {
    # what happens: (cells that are closed, policy, request, the answer: a host or None for CellsUnreachable)
    "forced to a host of a closed cell": (("cell2",), None, {"force_hosts": ("b",)}, None),
    "forced to hosts of both cells": (("cell2",), None, {"force_hosts": ("a", "b")}, "a"),
    "forced to a host of the other cell": (("cell2",), None, {"force_hosts": ("a",)}, "a"),
    "no filter looks at the state of cells": (("cell2",), NO_COMPUTE_FILTER, {}, "a"),
    "the same, with alternates": (("cell1",), NO_COMPUTE_FILTER, {"alternates": 2}, "b"),
    "the same, and no cell is open": (("cell1", "cell2"), NO_COMPUTE_FILTER, {}, None),
    "the same, and the open cell has no room": (("cell2",), NO_COMPUTE_FILTER, {"vcpus": 9}, None),
    "forced, and in an affinity group": (("cell2",), None, {"force_hosts": ("b",), "group": affinity()}, None),
}


def with_closed_cells(closed, policy=None):
    """A cloud with host a in cell1, and hosts b and more in cell2, and its engine, which cannot reach some cells."""
    tiny = TinyCloud(("cell1", "cell2"), policy=policy)
    tiny.host("a", vcpus=4)
    for number, name in enumerate(("b", "b1", "b2")):
        tiny.host(name, "cell2", vcpus=64 - number)
    engine = tiny.engine("s")
    engine.publish_policy()
    tiny.settle()
    for cell in closed:
        engine.on_fault(cell, LogUnavailable("down"))
    tiny.clock.seconds += 10
    engine.on_tick()
    return tiny, engine


@pytest.mark.parametrize("closed, policy, request_, wanted", CLOSED.values(), ids=CLOSED)
def test_nothing_is_claimed_in_a_closed_cell(closed, policy, request_, wanted):
    tiny, engine = with_closed_cells(closed, policy)
    ask = tiny.ask(engine, "new", **{"vcpus": 1, **request_})
    if wanted is None:
        assert isinstance(ask.future.exception(0), CellsUnreachable)
        assert "cell unreachable" in str(ask.future.exception(0))
    tiny.settle()
    assert wanted is None or hosts_of(ask) == [wanted]
    assert engine.counts["decisions"] == 1
    assert not any(tiny.events(cell, "ClaimProposed") for cell in closed)
    with Logs(tiny) as logs, logs.source() as source:
        (made,) = replay(source.logs)
        assert made.difference is None


def test_a_claim_by_force_works_when_its_cell_is_open_again():
    tiny, engine = with_closed_cells(("cell2",))
    with pytest.raises(CellsUnreachable):
        tiny.ask(engine, "first", force_hosts=("b",)).future.result(0)
    engine.on_fault("cell2", None)
    tiny.settle()
    ask = tiny.ask(engine, "second", force_hosts=("b",))
    tiny.settle()
    assert hosts_of(ask) == ["b"]


def test_a_companion_that_leaves_costs_a_decision():
    tiny = split(vcpus={"b": 1})
    tiny.pin(2)
    engine = tiny.engine("s")
    tiny.append("cell1", "compute_agent/a", events.InstanceDeleted("a", uuid_of("m1")))
    ask = tiny.ask(engine, "new", group=affinity("m1", "m2", hosts=("a", "b")), vcpus=1)
    assert tiny.events("cell1", "ClaimProposed")[-1].companion == uuid_of("m1")
    tiny.settle()
    assert isinstance(ask.future.exception(0), NoHostFound)
    assert (engine.counts["decisions"], engine.counts["conflicts"]) == (2, 1)


def test_an_alternate_has_a_companion_of_its_own():
    tiny = split()
    tiny.pin(2)
    ask = tiny.ask(tiny.engine("s"), "new", group=affinity("m1", "m2"), vcpus=1, alternates=2)
    tiny.settle()
    assert {one.host: one.companion for one in ask.future.result(0)[0]} == {"a": uuid_of("m1"), "b": uuid_of("m2")}


def test_without_the_check_claims_are_refused(monkeypatch):
    monkeypatch.setattr(ClaimRules, "refusal_on", lambda *arguments: None)
    with pytest.raises(AssertionError, match="no claim is refused"):
        asked(split(), 1, group=affinity("m1", "m2"))


# --- races ----------------------------------------------------------------------------------------------------------


class Unlucky:
    """A scheduler whose claims on a host are refused, because each comes behind a loss that it has not read, and the
    host is back when it decides again."""

    def __init__(self, *hosts):
        self.tiny = TinyCloud()
        for number, host in enumerate(hosts):
            self.tiny.host(host, vcpus=64 - number)
        self.engine = self.tiny.engine("s")

    def lose(self, host):
        self.tiny.append("cell1", "conductor/c", events.HostLost(host, "x"))

    def see(self, host, then_lose=None):
        """The host is back, it or another one is lost, and all is read but this last loss."""
        self.tiny.append("cell1", "conductor/c", events.HostSeen(host))
        unread = len(self.tiny.logs["cell1"]) - self.tiny._read["s", "cell1"]
        self.lose(then_lose or host)
        self.tiny.deliver("s", "cell1", unread)


def test_a_host_that_has_refused_two_claims_of_an_instance_is_left_out():
    unlucky = Unlucky("a", "b")
    unlucky.lose("a")
    ask = unlucky.tiny.ask(unlucky.engine, "vm")
    for refused in range(1, HOST_REFUSALS_MAX + 1):
        unlucky.see("a")
        assert unlucky.engine.counts["conflicts"] == refused
    unlucky.tiny.settle()
    assert hosts_of(ask) == ["b"]
    assert [claim.host for claim in unlucky.tiny.events("cell1", "ClaimProposed")] == ["a", "a", "b"]


def test_a_request_fails_after_so_many_refused_claims():
    hosts = [f"h{number:02}" for number in range(20)]
    unlucky = Unlucky(*hosts)
    unlucky.lose(hosts[0])
    ask = unlucky.tiny.ask(unlucky.engine, "vm")
    while not ask.future.done():
        claimed = unlucky.tiny.events("cell1", "ClaimProposed")[-1].host
        following = hosts[(hosts.index(claimed) + 1) % len(hosts)]
        # The second refusal of a host: the next claim is on the following one.
        second = unlucky.engine.counts["conflicts"] % HOST_REFUSALS_MAX == HOST_REFUSALS_MAX - 1
        unlucky.see(claimed, following if second else claimed)
    fault = ask.future.exception(0)
    assert isinstance(fault, NoHostFound) and fault.summary == (
        f"{refusals_max(1)} claims of the request were refused, the last on h10 for down; other requests took each "
        "host first, so ask again when there are fewer of them"
    )
    assert len(unlucky.tiny.events("cell1", "ClaimProposed")) == refusals_max(1) == 22


# --- groups, moves and forced hosts in any order ---------------------------------------------------------------------


class Life:
    """Schedulers over some cells, and instances of two groups that come, move, go, and are put on hosts by operators.

    ``asks`` are those that are not checked yet: (ask, hosts on which Nova's filters would let it or None for any, hosts
    with other members of its group, host that it is to leave).
    """

    def __init__(self, level, cells=("cell1",), schedulers=1):
        self.tiny = TinyCloud(cells)
        self.level = level
        if level > 1:
            self.tiny.pin(level)
        self.cell_of = {f"h{number}": cells[number % len(cells)] for number in range(4)}
        for number, (host, cell) in enumerate(self.cell_of.items()):
            self.tiny.host(host, cell, vcpus=(3, 5, 5, 40)[number])
        self.engines = [self.tiny.engine(f"s{number}") for number in range(schedulers)]
        self.members = {"affinity": [], "anti-affinity": []}
        #: Name -> policy of its group.
        self.policy_of = {}
        #: Name -> (source, migration) of what moves.
        self.moving = {}
        self.asks, self.numbers = [], itertools.count()

    # What the log knows.

    def entries(self, name):
        """All entries of an instance."""
        projections = self.engines[0].world.projections
        return [
            entry
            for cell in self.tiny.cells
            for host in projections[cell].hosts.values()
            for entry in host.entries.values()
            if entry.instance_uuid == uuid_of(name)
        ]

    def host_of(self, name):
        """The host on which Nova has the instance, or None."""
        found = [entry.host for entry in self.entries(name) if entry.consumer_uuid == uuid_of(name)]
        return found[-1] if found else self.moving.get(name, (None,))[0]

    def hosts_of_group(self, policy):
        return tuple(sorted({host for name in self.members[policy] if (host := self.host_of(name))}))

    def some(self, number, among):
        among = sorted(among)
        return among[number % len(among)] if among else None

    # What happens.

    def new(self, one, other, flag):
        """A new instance, sometimes on a host that is named by force; ``flag``: others are asked for before it is
        placed."""
        policy = ("affinity", "anti-affinity")[one % 2]
        name = f"vm-{next(self.numbers)}"
        if not flag:
            self.settle()
        self.policy_of[name] = policy
        forced = (self.some(other, self.cell_of),) if other % 5 == 0 else ()
        self.ask(name, one, named=other % 3 > 0, force_hosts=forced)

    def ask(self, name, number, named=True, **fields):
        policy = self.policy_of[name]
        if name not in self.members[policy]:
            self.members[policy].append(name)
        hosts = self.hosts_of_group(policy) if named else ()
        group = server_group(policy, 1, name=policy, members=self.members[policy], hosts=hosts)
        engine = self.engines[number % len(self.engines)]
        ask = self.tiny.ask(engine, name, group=group, vcpus=1, alternates=number % 3, **fields)
        nova = others = None
        if policy == "affinity" and not fields.get("force_hosts"):
            nova = set(hosts) or None
            # Until a move ends, its instance is on both hosts. The only member may go anywhere.
            others = {member: {entry.host for entry in self.entries(member)} for member in self.members[policy]}
            mine = others.pop(name)
            others = set().union(*others.values()) and mine.union(*others.values())
        self.asks.append((ask, nova, others, fields.get("ignore_hosts", ())))

    def move(self, one, other, flag):
        """An instance is to move (``flag``), or to be resized where it may stay."""
        self.settle()
        claimed = {name for name in self.policy_of if any(entry.rule for entry in self.entries(name))}
        name = self.some(one, claimed - self.moving.keys())
        if name is None:
            return
        source, migration = self.host_of(name), f"migration-{next(self.numbers)}"
        self.say(source, moved(source, name, migration), by="conductor/c")
        self.moving[name] = source, migration
        self.settle()
        self.ask(name, one, named=other % 3 > 0, ignore_hosts=(source,) if flag else ())

    def end_move(self, one, other, flag):
        """A move ends: its source is given back, or the instance goes back if it found no host."""
        self.settle()
        name = self.some(one, self.moving)
        if name is None:
            return
        source, migration = self.moving.pop(name)
        if any(entry.consumer_uuid == uuid_of(name) for entry in self.entries(name)):
            self.release(entry for entry in self.entries(name) if entry.consumer_uuid == uuid_of(migration))
        else:
            self.say(source, moved(source, migration, name), by="conductor/c")
            self.settle()

    def delete(self, one, other, flag):
        self.settle()
        name = self.some(one, self.policy_of.keys() - self.moving.keys())
        if name is not None:
            self.release(self.entries(name))
            self.members[self.policy_of.pop(name)].remove(name)

    def start(self, one, other, flag):
        """An instance runs, perhaps where no scheduler has put it: an operator forced a live migration."""
        self.settle()
        name = self.some(one, {name for name in self.policy_of if self.entries(name)} - self.moving.keys())
        if name is None:
            return
        source, policy = self.host_of(name), self.policy_of[name]
        host = self.some(other, self.cell_of) if flag else source
        if self.cell_of[host] != self.cell_of[source]:
            return
        kept = rule(policy, "together" if policy == "affinity" else "spread", host, uuid_of(name), 1)
        self.say(host, started(name, host, rule=kept if other % 2 else None))
        self.settle()
        self.release(entry for entry in self.entries(name) if entry.host != host)

    def release(self, entries):
        for entry in list(entries):
            if entry.state == RUNNING:
                self.say(entry.host, events.InstanceDeleted(entry.host, entry.instance_uuid))
            else:
                self.say(entry.host, events.ClaimReleased(entry.consumer_uuid, entry.claim_uuid, "x"), by="conductor/c")
        self.settle()

    def status(self, one, other, flag):
        host = self.some(one, self.cell_of)
        self.settle()
        self.say(host, events.HostLost(host, "x") if flag else events.HostSeen(host), by="conductor/c")
        self.settle()

    def say(self, host, data, by=None):
        self.tiny.append(self.cell_of[host], by or f"compute_agent/{host}", data)

    def settle(self):
        """All is read, and what was asked for is answered as it must be."""
        self.tiny.settle()
        # Some waited until others, that were asked for later, were on a host that was named by force.
        placed = {host for ask, *_ in self.asks for host in ask.request.force_hosts}
        for ask, nova, others, ignored in self.asks:
            fault = ask.future.exception(0)
            assert fault is None or isinstance(fault, NoHostFound), fault
            if fault is None:
                if others:
                    assert hosts_of(ask)[0] in others | placed, "it adds a host to the group"
                placed.add(hosts_of(ask)[0])
            elif self.level > 1 and nova is not None:
                assert not [host for host in nova if self.has_room(host) and host not in ignored], "Nova would place it"
        self.asks.clear()

    def has_room(self, host):
        table = self.engines[0].world.table
        row = table.row_of_host[host]
        return not table.down[row] and table.free[table.classes.get("VCPU"), row] >= 1

    @property
    def counts(self):
        return sum((engine.counts for engine in self.engines), Counter())


WHAT = ("new", "new", "new", "move", "move", "end_move", "delete", "start", "status")
STEPS = st.lists(
    st.tuples(st.sampled_from(WHAT), st.integers(0, 29), st.integers(0, 29), st.booleans()), min_size=4, max_size=24
)


LEVELS = st.sampled_from((1, 2))


@given(LEVELS, STEPS)
@settings(max_examples=100, deadline=None)
def test_with_one_scheduler_no_claim_is_refused(level, steps):
    life = Life(level)
    for what, *how in steps:
        getattr(life, what)(*how)
    life.settle()
    assert life.counts["conflicts"] == 0


@given(LEVELS, STEPS)
@settings(max_examples=100, deadline=None)
def test_with_one_scheduler_no_claim_is_refused_in_two_cells(level, steps):
    life = Life(level, ("cell1", "cell2"))
    for what, *how in steps:
        getattr(life, what)(*how)
    life.settle()
    assert life.counts["conflicts"] == 0


@given(LEVELS, STEPS)
@settings(max_examples=100, deadline=None)
def test_four_schedulers_and_two_cells_decide_few_times(level, steps):
    life = Life(level, ("cell1", "cell2"), 4)
    for what, *how in steps:
        before = life.counts["decisions"]
        getattr(life, what)(*how[:2], how[2] and what != "new")
        life.settle()
        assert life.counts["decisions"] - before <= 3
    assert life.counts["conflicts"] == 0


def cloud_of_sizes(multiplier, level=1):
    """Hosts with 20, 8 and 4 VCPU, and an engine that weighs by those that are free."""
    tiny = cloud(vcpus={"a": 20, "b": 8, "c": 4}, policy=Policy(weighers=(("CPUWeigher", multiplier),)))
    if level > 1:
        tiny.pin(level)
    return tiny, tiny.engine("s")


@pytest.mark.parametrize("level", [1, 2])
def test_a_claim_in_flight_that_the_log_will_refuse_is_no_member(level):
    """Another scheduler placed the group on b first, which we have read; our own claim on a is under way and lost."""
    tiny, ours = cloud_of_sizes(1.0, level)
    first = rule("group", "together", "b", uuid_of("first"), 0)
    tiny.append("cell1", "scheduler/other", claim("first", "b", of("b", 1), rule=first))
    lost = tiny.ask(ours, "lost", group=affinity("first", "lost"), vcpus=1)
    tiny.deliver("s", "cell1", 1)
    next_one = tiny.ask(ours, "next", group=affinity("first", "lost", "next"), vcpus=1)
    tiny.settle()
    assert hosts_of(lost) == hosts_of(next_one) == ["b"]
    assert (ours.counts["conflicts"], ours.counts["decisions"]) == (1, 3)


def test_claims_in_flight_count_as_members():
    """Two requests of a new affinity group, before the first claim is read back."""
    tiny, ours = cloud_of_sizes(-1.0)
    asks = [tiny.ask(ours, name, group=affinity("one", "two"), vcpus=1) for name in ("one", "two")]
    tiny.settle()
    assert hosts_of(asks[0]) == hosts_of(asks[1]) and ours.counts["conflicts"] == 0
