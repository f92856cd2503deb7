"""The audit of Placement's API writes: it agrees with the fold, and sees wrong answers and wrong states."""

import random

import pytest

from nova_sched.cli.main import replay
from nova_sched.projection import allocations, writes
from nova_sched.replay.verify.audit import Audit, CellAudit, taken_out
from rpc_api import events
from rpc_api.levels import LEVEL
from tests import builders
from tests.against_nova.ledger_answers import state_of
from tests.against_nova.ledger_writes import PROVIDERS, Writer
from tests.builders import (
    REQUEST,
    Cell,
    claim,
    consumer,
    consumer_put,
    created,
    facts_of,
    inventory_of,
    of,
    provider,
    providers_reported,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    report,
    rule,
    tree,
    uuid_of,
)
from tests.nova_sched.projection.test_writes import (
    DISK_GB,
    FAST,
    WRITES,
    changed,
    dropped,
    gone,
    ledger,
    named,
    reshaped,
)
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import at_generation

POOL, VOLUME = map(uuid_of, ("pool", "volume"))


class Audited:
    """A cell with its audit, which checks each event after it was folded."""

    def __init__(self, *published, cell=None):
        self.cell = Cell() if cell is None else cell
        self.audit = Audit()
        self.audit.begin("cell1", self.cell.projection)
        self.cell.projection.writes = []
        for data in published:
            self.say(data)

    @property
    def of(self):
        return self.audit.cells["cell1"]

    def say(self, data, by=None, plant=lambda projection: None):
        """Fold an event, plant a fault in the state, and audit the record."""
        self.cell.projection.quarantine.clear()
        before = len(self.cell.outcomes)
        self.cell.say(data, by=by)
        plant(self.cell.projection)
        position, record = self.cell.records[-1]
        outcomes, aside = self.cell.outcomes[before:], taken_out(self.cell.projection)
        self.audit.record("cell1", position, record, outcomes, aside, self.cell.projection)

    def breaches(self):
        """All sentences, of the whole state too."""
        self.audit.end("cell1", self.cell.projection)
        of = self.of
        return [*of.over_commitments, *of.group_breaches, *of.write_breaches]


# --- it agrees with the fold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, wanted", [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_it_comes_to_the_same_answer(data, wanted):
    audited = Audited(cell=ledger())
    audited.say(data)
    assert audited.breaches() == []
    counts = audited.audit.counts
    assert (counts["writes"], counts["writes_refused"]) == (wanted == "ok", wanted != "ok")


def test_a_whole_log():
    audit = Audit()
    audit.fold("cell1", [(at, record) for at, record in read(ledger_story.told())])
    of = audit.cells["cell1"]
    assert not (of.over_commitments or of.group_breaches or of.write_breaches)
    assert (audit.counts["writes"], audit.counts["writes_refused"], audit.counts["claims"]) == (13, 5, 1)
    assert of.providers["b"] == [uuid_of("root-b")] and of.waiting.keys() == {uuid_of("root-c")}


def read(written):
    with written.log.read_from(0) as reader:
        return [(record.position, builders.codec.decode_record(record.payload)) for record in reader.read(100_000, 5)]


HOSTS = [
    ("a host gets its tree", [created("h"), facts_of("h", authority="nova")]),
    ("a host waits", [facts_of("h", authority="nova"), created("h"), put(consumer_put("vm"))]),
    (
        "a tree leaves and comes again",
        [
            created("h"),
            put_inventories("h", inventory_of()),
            facts_of("h", authority="nova"),
            put(consumer_put("vm", of("h", 2))),
            facts_of("h", root="h2", authority="nova"),
            created("h2"),
            facts_of("h", authority="nova"),
        ],
    ),
    (
        "a host of Nova is removed, and its providers stay",
        [
            created("h"),
            put_inventories("h", inventory_of()),
            facts_of("h", authority="nova"),
            put(consumer_put("vm", of("h", 2))),
            events.HostRemoved("h", "gone"),
            put(consumer_put("vm", of("h", 8))),
        ],
    ),
    ("the root of a host goes", [created("h"), facts_of("h", authority="nova"), gone("h"), created("h")]),
    ("its tree comes first", [providers_reported("a"), facts_of("a"), claim("vm", "a")]),
    ("its tree comes later", [facts_of("a"), providers_reported("a"), claim("vm", "a"), providers_reported("a")]),
    (
        "the authority passes there and back",
        [
            report("a"),
            claim("vm", "a"),
            events.AuthorityPassed("a", "nova"),
            put(consumer_put("vm", of("a", 3))),
            put_inventories("a", inventory_of(total=20)),
            events.AuthorityPassed("a", "agent"),
            report("a", consumer("vm", of("a", 3))),
        ],
    ),
    (
        "a child of the API stays in the tree of an agent",
        [
            report("a", inventory=tree("a", provider("kid", inventory_of(), parent=0))),
            created("card", "kid"),
            put_inventories("card", inventory_of("CUSTOM_GPU", 2)),
            named("ClassCreated", "CUSTOM_GPU"),
            put_inventories("card", inventory_of("CUSTOM_GPU", 2)),
            report("a"),
            claim("vm", "a", of("a", 1), of("card", 1, "CUSTOM_GPU")),
        ],
    ),
    (
        "use of what is not there is of the provider that comes",
        [
            report("a", consumer("vm", of("a", 1), of("late", 3))),
            created("late", "a"),
            put_inventories("late", inventory_of()),
            gone("late"),
        ],
    ),
    (
        "a log that becomes a ledger",
        [events.LevelPinned(2), report("b"), claim("vm", "b"), events.LevelPinned(LEVEL), claim("vm-2", "b")],
    ),
    (
        "a host moves under another name",
        [created("h"), created("top"), put(consumer_put("vm")), changed("h", parent="top"), changed("h", "h3")],
    ),
    (
        "a move of an instance",
        [
            created("h"),
            put_inventories("h", inventory_of()),
            facts_of("h", authority="nova"),
            put(consumer_put("vm", of("h", 2))),
            put(consumer_put("vm"), consumer_put("migration", of("h", 2))),
            dropped("migration"),
        ],
    ),
    (
        "a resize on the same host, and its revert",
        [
            created("h"),
            put_inventories("h", inventory_of()),
            facts_of("h", authority="nova"),
            claim("vm", "h")._replace(rule=events.GroupRule(uuid_of("old"), "spread", "h", uuid_of("vm"), 1)),
            put(consumer_put("vm"), consumer_put("migration", of("h", 1))),
            claim("vm", "h", attempt="2")._replace(
                rule=events.GroupRule(uuid_of("new"), "spread", "h", uuid_of("vm"), 1)
            ),
            put(consumer_put("migration"), consumer_put("vm", of("h", 1))),
        ],
    ),
]


@pytest.mark.parametrize("said", [row[1] for row in HOSTS], ids=[row[0] for row in HOSTS])
def test_hosts_and_their_trees(said):
    pinned = [] if type(said[0]) is events.LevelPinned else [events.LevelPinned(LEVEL)]
    audited = Audited(*pinned)
    for data in said:
        nova = type(data) is events.HostReported and not audited.cell.projection.level < LEVEL and is_of_nova(data)
        audited.say(data, by="conductor/c" if nova else None)
        assert audited.breaches() == []
    again = CellAudit.beginning(audited.cell.projection)
    again.compare_all(audited.cell.projection)
    assert again.write_breaches == [] and again.generations == audited.of.generations


def is_of_nova(data):
    return events.thaw("HostInventory", data.inventory).authority == "nova"


def agents_event(rng, projection):
    """(Event, producer) about one of two hosts of agents, of which consumers also use providers of the API."""
    host, name = rng.choice("xy"), f"i{rng.randrange(4)}"
    uses = [of(host, rng.randrange(1, 4))]
    pools = [uuid for uuid in PROVIDERS if uuid in projection.trees]
    if pools and rng.random() < 0.4:
        uses.append(events.Allocation(rng.choice(pools), rng.choice(["VCPU", "DISK_GB"]), rng.randrange(1, 5)))
    kids = [provider(f"{host}-kid", inventory_of(total=rng.randrange(4, 9)), parent=0)][: rng.randrange(2)]
    running = [consumer(f"i{number}", of(host, 1)) for number in range(4) if rng.random() < 0.3]
    agent = f"compute_agent/{host}"
    return rng.choice(
        [
            (report(host, *running, inventory=tree(host, *kids)), agent),
            (claim(name, host, *uses, attempt=rng.random()), None),
            (claim(name, host, *uses, attempt=rng.random()), None),
            (builders.started(name, host, of(host, 2)), agent),
            (builders.deleted(name, host), agent),
            (builders.moved(host, name, f"m{rng.randrange(2)}"), None),
            (events.AuthorityPassed(host, rng.choice(["agent", "nova"])), "operator/o"),
            (providers_reported(host, tree(host, *kids)), agent),
            (facts_of(host), agent),
            (events.HostRemoved(host, "gone"), agent),
            (put(consumer_put(name, *uses)), None),
            (created(f"child-{rng.randrange(5)}", host), None),
        ]
    )


@pytest.mark.parametrize("seed, agents", [(1, 0.0), (2, 0.4), (3, 0.4), (4, 0.8)])
def test_at_random(seed, agents, monkeypatch):
    """Two implementations of the rules agree on each write, each generation and all that is held."""
    monkeypatch.setattr(builders.invariants, "check", lambda projection: None)  # It is slow, and not asked about here.
    rng, writer = random.Random(seed), Writer(seed)
    audited = Audited(events.LevelPinned(LEVEL))
    for number in range(250):
        if rng.random() < agents:
            data, by = agents_event(rng, audited.cell.projection)
        else:
            data, by = writer.write(state_of(audited.cell.projection)).event, None
            by = "conductor/c" if type(data) in (events.HostReported, events.HostRemoved) else None
        audited.say(data, by=by)
        assert not audited.of.write_breaches and not audited.of.over_commitments
        if number == 120:
            assert audited.breaches() == []
            audited = Audited(cell=audited.cell)
    assert audited.breaches() == [] and audited.audit.counts["writes"] > 5


# --- what it is there for ------------------------------------------------------------------------------------------


def judged(state, data, reason):
    """What the audit says of a write after a state, if the fold had given this answer."""
    audited = Audited(cell=state)
    event = audited.cell.voice("placement/one").say(data)
    audited.of.written(99, event, reason)
    return audited.of


def with_inventory(name, inventory):
    cell = ledger()
    cell.say(put_inventories(name, inventory))
    return cell


def agents_consumer():
    cell = ledger()
    cell.say(claim("vm", "host"))
    return cell


#: The law, the state, a write that breaks it, and words of the sentence about it if it was accepted.
PLANTED = [
    (
        "capacity",
        lambda: with_inventory("disk", inventory_of(DISK_GB, 10, max_unit=50)),
        put(consumer_put("one", of("disk", 11, DISK_GB))),
        f"capacity: DISK_GB of {uuid_of('disk')} comes to 11, capacity 10, before 0",
    ),
    (
        "capacity of all consumers together",
        ledger,
        put(consumer_put("one", of("pool", 30, DISK_GB)), consumer_put("two", of("pool", 25, DISK_GB))),
        f"capacity: DISK_GB of {POOL} comes to 95",
    ),
    ("step", ledger, put(consumer_put("one", of("pool", 4, DISK_GB))), f"4 DISK_GB is not within the units of {POOL}"),
    ("largest", ledger, put(consumer_put("volume", of("pool", 55, DISK_GB))), "55 DISK_GB is not within the units"),
    ("no inventory", ledger, put(consumer_put("one", of("pool", 1))), f"{POOL} has no inventory of VCPU"),
    ("no provider", ledger, put(consumer_put("one", of("nowhere", 1))), "is not there"),
    ("consumer's generation", ledger, at_generation("volume", None, of("pool", 5, DISK_GB)), "expected None"),
    (
        "consumer's generation",
        ledger,
        at_generation("volume", 7, of("pool", 5, DISK_GB)),
        "is 1, the client expected 7",
    ),
    ("provider's generation", ledger, put_inventories("pool", generation=0), "is 2, the client expected 0"),
    ("provider's generation", ledger, put_traits("pool", FAST, generation=0), "is 2, the client expected 0"),
    ("provider's generation", ledger, put_aggregates("pool", "agg", generation=0), "is 2, the client expected 0"),
    ("provider's generation", ledger, reshaped([("pool", 0, [])]), "is 2, the client expected 0"),
    ("unique name", ledger, created("other")._replace(name="disk"), "another provider has its name"),
    ("unique name", ledger, changed("pool", "disk"), "another provider has its name"),
    ("unique uuid", ledger, created("pool")._replace(name="new"), "another provider has its uuid"),
    ("loop", ledger, changed("pool", parent="disk"), "a loop: it would be above itself"),
    ("loop", ledger, created("shelf", "shelf"), "a loop: it is its own parent"),
    ("parent", ledger, created("shelf", "nowhere"), "is not there"),
    ("leaves its parent", ledger, changed("disk", may_move=False), "it may not leave its parent"),
    ("authority", ledger, put(consumer_put("one", of("host", 1))), "the agent of host says what is held there"),
    ("authority over what it holds", agents_consumer, put(consumer_put("vm")), "the agent of host says"),
    ("authority", agents_consumer, dropped("vm"), "the agent of host says what is held there"),
    ("reported", ledger, put_inventories("host", inventory_of(DISK_GB)), "the agent reports"),
    ("reported", ledger, changed("host", "new"), "the agent reports"),
    ("used", ledger, gone("pool"), "it has children"),
    ("used", agents_consumer, gone("host"), "in use: somebody holds of it"),
    ("used", ledger, put_inventories("pool"), f"in use: DISK_GB of {POOL}"),
    ("used", ledger, put_inventories("pool", inventory_of(DISK_GB), kind="remove"), f"in use: DISK_GB of {POOL}"),
    (
        "used",
        ledger,
        reshaped([("pool", 2, []), ("disk", 3, [inventory_of(DISK_GB, 100)])]),
        f"in use: DISK_GB of {POOL}",
    ),
    ("kind", ledger, put_inventories("pool", inventory_of(DISK_GB), kind="add"), "an inventory that is added is there"),
    ("kind", ledger, put_inventories("pool", inventory_of(), kind="change"), "an inventory that is named is not there"),
    ("class", ledger, put_inventories("pool", inventory_of("CUSTOM_NEW")), "there is no class CUSTOM_NEW"),
    ("class", ledger, named("ClassCreated", "CUSTOM_IOPS"), "CUSTOM_IOPS is there"),
    ("class", ledger, named("ClassDeleted", "CUSTOM_IOPS"), "has an inventory of it"),
    ("trait", ledger, put_traits("pool", "CUSTOM_NEW"), "there is no trait CUSTOM_NEW"),
    ("trait", ledger, named("TraitDeleted", FAST), "has it"),
    ("nothing", ledger, dropped("one"), "holds nothing"),
]


@pytest.mark.parametrize("state, data, told", [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED])
def test_what_was_wrongly_accepted(state, data, told):
    (sentence,) = judged(state(), data, None).write_breaches
    kind = data.schema.__name__
    assert sentence.startswith(f"position 99: {kind} of placement/one, {REQUEST[0]}, was accepted, although ")
    assert told in sentence


@pytest.mark.parametrize(
    "data", [row[1] for row in WRITES if row[2] == "ok"], ids=[row[0] for row in WRITES if row[2] == "ok"]
)
def test_what_was_wrongly_refused(data):
    (sentence,) = judged(ledger(), data, "for no reason").write_breaches
    assert sentence.endswith("was refused (for no reason), and nothing is in its way")


def generation_of(name, change):
    def plant(projection):
        projection.table.generation[projection.trees[uuid_of(name)].rows[uuid_of(name)]] += change

    return plant


def consumers_generation(name, change):
    def plant(projection):
        projection.holders[uuid_of(name)].generation += change

    return plant


def without(name):
    return lambda projection: allocations.take_out(projection, uuid_of(name))


def renamed(projection):
    projection.table.provider_names[projection.trees[POOL].rows[POOL]] = "lake"


BOTH = put(consumer_put("one", of("pool", 5, DISK_GB)), consumer_put("two", of("pool", 5, DISK_GB)))
TOO_MUCH = put(consumer_put("volume"), consumer_put("two", of("pool", 95, DISK_GB)))
STATES = [
    ("twice", put_inventories("pool", inventory_of(DISK_GB, 90)), generation_of("pool", 1), "generation 4, wanted 3"),
    ("not at all", put_traits("pool", FAST), generation_of("pool", -1), "generation 2, wanted 3"),
    ("of a provider of an allocation", BOTH, generation_of("pool", -1), "generation 2, wanted 3"),
    ("of a refused write", put_traits("pool", "CUSTOM_NO"), generation_of("pool", 1), "generation 3, wanted 2"),
    ("of the old provider", dropped("volume"), lambda projection: None, None),
    ("of a consumer", BOTH, consumers_generation("one", 1), "has the generation 2, wanted 1"),
    ("of a consumer", at_generation("volume", 1), lambda projection: None, None),
    ("not all", BOTH, without("two"), f"the consumer {uuid_of('two')} holds nothing, wanted 5 DISK_GB of {POOL}"),
    ("not nothing", TOO_MUCH, without("volume"), f"holds nothing, wanted 40 DISK_GB of {POOL}"),
    ("a name", changed("pool"), renamed, "has the name lake, wanted pool"),
]


@pytest.mark.parametrize("data, plant, told", [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_what_a_write_left_wrongly(data, plant, told):
    audited = Audited(cell=ledger())
    audited.say(data, plant=plant)
    found = audited.of.write_breaches
    assert bool(found) is (told is not None) and (told is None or any(told in sentence for sentence in found))


def test_what_an_overage_may_become():
    """Less than before is accepted above the capacity; the same on another provider is not."""
    cell = ledger()
    cell.say(put_inventories("pool", inventory_of(DISK_GB, 20, max_unit=50)))
    assert judged(cell, put(consumer_put("volume", of("pool", 30, DISK_GB))), None).write_breaches == []
    assert judged(cell, put(consumer_put("other", of("pool", 1, DISK_GB))), None).write_breaches


def test_terms_of_a_write():
    """A group that two consumers of one write break together: each alone would not."""
    cell = Cell(events.LevelPinned(LEVEL), created("h"), put_inventories("h", inventory_of()))
    cell.say(facts_of("h", authority="nova"), by="conductor/c")

    def member(name):
        terms = events.ClaimTerms("h", uuid_of(name), rule(partition=name, domain="h"), None, None)
        return consumer_put(name, of("h", 1), terms=terms)

    one = judged(cell, put(member("vm-1")), None)
    assert not one.group_breaches and not one.write_breaches
    (sentence,) = judged(cell, put(member("vm-2"), member("vm-3")), None).group_breaches[:1]
    assert "2 partitions in h, limit 1" in sentence


# --- the command ------------------------------------------------------------------------------------------------------


def verified(capsys):
    log = ledger_story.told()
    code = replay(["--log", f"cell1={log.log.url}", "--no-cache", "replay", "--verify"])
    return code, capsys.readouterr().out.splitlines()


def test_verify(capsys):
    code, lines = verified(capsys)
    assert code == 0 and "1 claim accepted, 0 refused; 13 writes accepted, 5 refused; 0 laws broken, 0 gaps" in lines


def test_verify_finds_a_fault_of_the_fold(capsys, monkeypatch):
    """A fold that does not look at the room."""
    monkeypatch.setattr(writes, "misfit", lambda *of: None)
    code, lines = verified(capsys)
    assert code == 1
    assert any(
        line.startswith("broken law: cell1 position 8: AllocationsPut of placement/one, req-large, was accepted")
        for line in lines
    )
