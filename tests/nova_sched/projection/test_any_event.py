"""No event that can be decoded makes the fold raise or leaves the state half changed, whatever is in it."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from rpc_api import codec, digest, events
from rpc_api.events.fields import MAX_AMOUNT
from rpc_api.levels import LEVEL
from rpc_api.packing import pack
from tests import drawn, invariants
from tests.builders import (
    AT_NS,
    EPOCH,
    Cell,
    Voice,
    claim,
    consumer,
    inventory_of,
    moved,
    of,
    provider,
    record_of,
    report,
    started,
    tree,
    uuid_of,
)

HOSTS = ("host-1", "host-2", "")
AGENTS = st.sampled_from(("compute_agent/host-1", "compute_agent/host-2"))
CLASSES = st.sampled_from(("VCPU", "MEMORY_MB", "CUSTOM_X"))
AMOUNTS = st.sampled_from((0, 1, 2, 3, 8, MAX_AMOUNT))

INVENTORIES = st.builds(
    events.Inventory,
    CLASSES,
    AMOUNTS,
    AMOUNTS,
    st.integers(1, 3),
    AMOUNTS,
    st.integers(1, 3),
    st.sampled_from((5e-324, 0.5, 1.0, 16.0, 3.4e38)),
)


def providers(size):
    """Providers of a tree, mostly in order."""
    return st.tuples(
        *(
            st.builds(
                events.Provider,
                st.sampled_from(drawn.UUIDS),
                st.sampled_from(HOSTS),
                st.just(-1) if number == 0 else st.integers(0, number - 1),
                st.lists(INVENTORIES, max_size=2, unique_by=lambda one: one.resource_class).map(tuple),
                st.sampled_from(((), ("HW_X",), ("HW_X", "HW_Y"))),
                st.sampled_from(((), drawn.UUIDS[:1])),
            )
            for number in range(size)
        )
    )


TREES = st.integers(1, 3).flatmap(providers).map(lambda its: tree("host-1")._replace(providers=its))
ALLOCATIONS = st.lists(
    st.builds(events.Allocation, st.sampled_from(drawn.UUIDS[:3]), CLASSES, AMOUNTS), max_size=3
).map(tuple)
CONSUMERS = st.lists(drawn.frozen("Consumer", allocations=ALLOCATIONS), max_size=3).map(tuple)


@st.composite
def reports(draw):
    consumers = draw(CONSUMERS)
    return draw(
        drawn.frozen(
            "HostReported",
            host=st.sampled_from(HOSTS),
            inventory=TREES.map(pack),
            consumers=st.just(pack([consumers])),
            consumers_digest=st.sampled_from((0, digest.consumers_digest(consumers), 5)),
        )
    )


ANYTHING = (
    st.sampled_from(sorted(events.EVENTS)).flatmap(drawn.frozen)
    | reports()
    | drawn.frozen("ClaimProposed", host=st.sampled_from(HOSTS), allocations=ALLOCATIONS)
    | drawn.frozen(
        "InstanceStarted", host=st.sampled_from(HOSTS), consumer=drawn.frozen("Consumer", allocations=ALLOCATIONS)
    )
    | drawn.frozen("InstanceDeleted", host=st.sampled_from(HOSTS))
    | drawn.frozen("AllocationMoved", host=st.sampled_from(HOSTS))
)

BEGINNING = [report("host-1", inventory=tree("host-1", provider("child", inventory_of(), parent=0))), report("host-2")]


def producers_of(data):
    """A producer that may say it, mostly: of a host its own agent."""
    agents = AGENTS if "compute_agent" in data.schema.ROLES else st.nothing()
    return agents | st.sampled_from(sorted(f"{role}/a" for role in data.schema.ROLES))


SAID = st.lists(
    ANYTHING.flatmap(lambda data: st.tuples(st.just(data), producers_of(data), st.integers(1, 2))), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(SAID)
@example([(started("vm-1", "host-1", *[of("host-1", MAX_AMOUNT)] * 3), "compute_agent/host-1", 1)] * 4)
@example(
    [
        (claim("vm-1", "host-1", instance="vm-2"), "scheduler/a", 1),
        (moved("host-1", "vm-1", "vm-2"), "conductor/a", 1),
        (started("vm-1", "host-1"), "compute_agent/host-1", 1),
        (started("vm-2", "host-1"), "compute_agent/host-1", 1),
    ]
)
def test_any_events_after_each_other(said):
    """Everything holds after each event; what was set aside left no trace; all again gives the same."""
    voices, payloads = {}, []
    projection = Projection("cell1")
    for data, by, epoch in [*((data, f"compute_agent/{data.host}", 1) for data in BEGINNING), *said]:
        voice = voices.setdefault((by, epoch), Voice(by, epoch))
        # An event that came later is set aside until the log is pinned.
        level = min(max(projection.level, data.schema.LEVEL), LEVEL)
        payloads.append(record_of(voice.say(data), level=level))
        position = len(payloads) - 1
        before, aside = state_digest(projection), projection.counts["set-aside"]
        projection.fold([(position, codec.decode_record(payloads[-1]))])
        invariants.check(projection)
        if projection.counts["set-aside"] != aside:
            assert state_digest(projection) == before
    again = Projection("cell1")
    again.fold([(position, codec.decode_record(payload)) for position, payload in enumerate(payloads)])
    assert state_digest(again) == state_digest(projection)


@settings(max_examples=150, deadline=None)
@given(SAID, ANYTHING.filter(lambda data: type(data).__name__ != "HostReported"))
def test_an_event_of_a_stranger_leaves_no_trace(said, strange):
    digests = []
    for extra in ([], [codec.make_event(strange, "stranger/a", 1, 1, AT_NS)]):
        projection = Projection("cell1")
        voices, batch = {}, []
        for data, by, epoch in [*((data, f"compute_agent/{data.host}", 1) for data in BEGINNING), *said]:
            batch.append(voices.setdefault((by, epoch), Voice(by, epoch)).say(data))
        batch[2:2] = extra
        level = max(event.data.schema.LEVEL for event in (*batch, *extra, codec.make_event(strange, "x", 1, 1, 0)))
        projection.use_level(level)
        projection.fold([(0, codec.decode_record(record_of(*batch, level=level)))])
        digests.append(state_digest(projection))
    assert digests[0] == digests[1]


def test_sums_of_the_largest_amounts_are_exact():
    """As many as a record takes: the columns are 64 bits, and nothing wraps."""
    cell = Cell(report("host", inventory=tree("host", inventories=[inventory_of("VCPU", MAX_AMOUNT, ratio=3.4e38)])))
    many = [of("host", MAX_AMOUNT)] * 2000
    for number in range(3):
        cell.say(started(f"vm-{number}", "host", *many))
    assert cell.used("host") == 6000 * MAX_AMOUNT
    assert cell.say(claim("vm", "host", of("host", 1))) == "accepted"
    cell.say(report("host", consumer("vm-0", *many)))
    assert cell.used("host") == 2000 * MAX_AMOUNT + 1


def test_a_log_of_another_kind_of_event_first():
    cell = Cell()
    assert cell.append([codec.SetAside("unknown-type", "from the future", b"")], epoch="any epoch") == "unknown-type"
    assert cell.projection.epoch is None
    assert cell.say(report("host")) == "ok"
    assert cell.projection.epoch == EPOCH
    assert cell.projection.hosts["host"].rows == {uuid_of("host"): 0}
