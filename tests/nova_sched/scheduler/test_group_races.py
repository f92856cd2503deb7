"""Four schedulers race for server groups, and each has read another part of the logs: no policy is broken, every
request is answered, the log holds what was answered, and no request is decided again and again."""

import random
from collections import Counter

import pytest

from nova_sched.request.server_group import name_of_members
from rpc_api.errors import NoHostFound
from tests.builders import consumer, of, server_group
from tests.engines import TinyCloud, hosts_of

#: Decisions for each instance, those included that lose a race.
DECISIONS_MAX = 4
SEEDS = [pytest.param(range(60), id="60"), pytest.param(range(60, 2000), id="2000", marks=pytest.mark.long)]
FORMS = ("with uuid", "without uuid", "either")


def unnamed(policy, *names, limit=1):
    """A group without uuid, as it is read from a request."""
    named = server_group(policy, limit, members=names)
    return named._replace(uuid=name_of_members(named.members))


class Race:
    """Groups that grow: each request names the members that there are, and no scheduler has read all of the logs."""

    def __init__(self, seed, form, cells):
        self.draw = random.Random(seed)
        self.form, self.seed = form, seed
        self.tiny = TinyCloud(cells)
        for cell in cells:
            for number in range(self.draw.randint(2, 6)):
                self.tiny.host(f"{cell}-{number}", cell, vcpus=self.draw.choice((4, 8, 40)))
        self.engines = [self.tiny.engine(f"s{seed}-{number}") for number in range(4)]
        self.groups = [
            (f"group {number}", self.draw.choice(("affinity", "anti-affinity")), self.draw.choice((1, 1, 2)), [])
            for number in range(self.draw.randint(1, 3))
        ]
        self.asked = []

    def run(self):
        for step in range(self.draw.randint(3, 12)):
            group = self.draw.choice(self.groups)
            names = [f"vm {self.seed} {step} {number}" for number in range(self.draw.choice((1, 1, 1, 2, 3)))]
            group[-1].extend(names)
            self.asked.append(
                (
                    group,
                    self.tiny.ask(
                        self.draw.choice(self.engines),
                        *names,
                        group=self._said(*group),
                        vcpus=self.draw.choice((1, 2)),
                        alternates=self.draw.choice((0, 2)),
                    ),
                )
            )
            for _ in range(self.draw.randint(0, 4)):
                self.tiny.deliver(
                    self.draw.choice(list(self.tiny.engines)),
                    self.draw.choice(list(self.tiny.logs)),
                    self.draw.randint(1, 3),
                )
        self.tiny.settle()
        return self

    def _said(self, name, policy, limit, members):
        has_uuid = self.form == FORMS[0] or (self.form == FORMS[2] and self.draw.random() < 0.5)
        return (
            server_group(policy, limit, name=f"{self.seed} {name}", members=members)
            if has_uuid
            else unnamed(policy, *members, limit=limit)
        )

    def check_answers(self):
        """What was answered is what the log holds; what was refused had no host."""
        held = {
            entry.instance_uuid: entry.host
            for cell in self.tiny.cells
            for host in self.engines[0].world.projections[cell].hosts.values()
            for entry in host.entries.values()
        }
        answered = {}
        for _, ask in self.asked:
            fault = ask.future.exception(0)
            if fault is None:
                answered.update(zip([instance.uuid for instance in ask.instances], hosts_of(ask), strict=True))
                assert all(len({one.host for one in of_one}) == len(of_one) for of_one in ask.future.result(0))
            else:
                assert isinstance(fault, NoHostFound) and "claims were refused" not in fault.summary
        assert answered == held
        decisions = sum(len(self.tiny.events(cell, "DecisionMade")) for cell in self.tiny.logs)
        assert decisions <= DECISIONS_MAX * sum(len(ask.instances) for _, ask in self.asked)

    def check_policies(self):
        for group in self.groups:
            hosts = Counter(
                host
                for one, ask in self.asked
                if one is group and ask.future.exception(0) is None
                for host in hosts_of(ask)
            )
            _, policy, limit, _ = group
            assert len(hosts) <= 1 if policy == "affinity" else all(count <= limit for count in hosts.values()), (
                f"{policy} {limit}: {hosts}"
            )


@pytest.mark.parametrize("cells", [("cell1",), ("cell1", "cell2")], ids=["one cell", "two cells"])
@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("seeds", SEEDS)
def test_groups_in_one_form(form, cells, seeds):
    for seed in seeds:
        race = Race(seed, form, cells).run()
        race.check_answers()
        race.check_policies()


@pytest.mark.parametrize("seeds", SEEDS)
def test_groups_in_both_forms_are_answered(seeds):
    """A request that does not name a later member cannot know it by another name: see docs/design/0018."""
    for seed in seeds:
        Race(seed, FORMS[2], ("cell1",)).run().check_answers()


def test_several_instances_at_once_follow_a_member_that_came_before_them():
    """Each of them breaks the policy with the claims of the others, until all are given back."""
    moved = 0
    for number in range(20):
        tiny = TinyCloud()
        for host in range(4):
            tiny.host(f"h{host}", vcpus=8)
        first, second = tiny.engine("s1"), tiny.engine("s2")
        names = [f"vm {number} {one}" for one in range(3)]
        # Another name of the group: its first member is gone when the second request is made.
        one = tiny.ask(first, f"first {number}", group=unnamed("affinity", f"gone {number}", f"first {number}"))
        several = tiny.ask(second, *names, group=unnamed("affinity", f"first {number}", *names))
        tiny.settle()
        assert {*hosts_of(one), *hosts_of(several)} == {*hosts_of(one)}
        moved += len(tiny.events("cell1", "ClaimReleased")) == 3
        assert len(tiny.events("cell1", "DecisionMade")) <= 4 * DECISIONS_MAX
    assert moved > 5


def test_a_claim_that_is_about_to_be_given_back_gives_the_group_no_host():
    """b follows a; c, whose scheduler knows both, must not stay where b was."""
    for number in range(20):
        tiny = TinyCloud()
        for host in range(2):
            tiny.host(f"h{host}")
        one, two, three = (tiny.engine(f"s{number}-{each}") for each in range(3))
        a, b, c = (f"{name} {number}" for name in "abc")
        asks = [
            tiny.ask(one, a, group=unnamed("affinity", "gone", a), vcpus=1),
            tiny.ask(two, b, group=unnamed("affinity", a, b), vcpus=1),
        ]
        tiny.settle(f"s{number}-2")
        asks.append(tiny.ask(three, c, group=unnamed("affinity", a, b, c), vcpus=1))
        tiny.settle()
        assert len({hosts_of(ask)[0] for ask in asks}) == 1


def test_an_affinity_group_whose_hosts_the_log_and_the_filters_see_differently():
    """A member that runs without a claim is on a host where the log lets no other member go."""
    tiny = TinyCloud()
    group = server_group("affinity", members=("runs", "claimed"))
    tiny.host("h0")
    engine = tiny.engine("s")
    assert hosts_of(_settled(tiny, tiny.ask(engine, "claimed", group=group))) == ["h0"]
    tiny.host("h1", vcpus=100, consumers=(consumer("runs", of("h1", 1)),))
    tiny.settle()
    asks = [_settled(tiny, tiny.ask(engine, f"new {number}", group=group, vcpus=1)) for number in range(4)]
    assert [hosts_of(ask) for ask in asks[:2]] == [["h0"]] * 2
    assert all(isinstance(ask.future.exception(0), NoHostFound) for ask in asks[2:])
    assert len(tiny.events("cell1", "DecisionMade")) == 3
    assert engine.counts["conflicts"] == 0


def _settled(tiny, ask):
    tiny.settle()
    return ask
