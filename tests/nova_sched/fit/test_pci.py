"""Which PCI devices an instance gets, one row a case, and what must hold for any pools and requests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.fit import pci as placing
from nova_sched.fit.pci import name_of, place, serving, supports
from nova_sched.fit.providers import allocate
from nova_sched.projection.devices import Capacity, HostDevices, fault_of
from rpc_api import events
from rpc_api.digest import pool_key
from tests.builders import Cell, group, inventory_of, pci, pool, provider, report, request, tree, uuid_of

R = uuid_of("r")


def host(*pools, sockets=(), used=None):
    """HostDevices with NUMA nodes 0, 1, ... on these sockets; ``used`` is a count for each pool."""
    cells = tuple(
        events.HostNUMACell(number, socket, (number,), (), (), 1024, ()) for number, socket in enumerate(sockets)
    )
    devices = HostDevices(Capacity(cells, pools), pool_uses=used)
    return devices


VF = {"dev_type": "type-VF"}
NETS = host(pool(2, physical_network="a", **VF), pool(3, physical_network="b", **VF), pool(1, "10de", "1eb8"))
NEAR = host(
    pool(2, numa_node=0), pool(2, numa_node=1, a="x"), pool(2, numa_node=2, a="y"), pool(1, a="z"), sockets=(0, 0, 1)
)
KINDS = host(
    pool(1, dev_type="type-PF"),
    pool(2, **VF, remote_managed="True"),
    pool(3, dev_type="vdpa"),
    pool(4, live_migratable="true"),
    pool(5, live_migratable="false"),
    pool(6, **VF, remote_managed="false"),
)
ASSIGNED = host(pool(4, rp_uuid="p0", x="1"), pool(2, rp_uuid="p1"), pool(1, rp_uuid="p2", product_id="2222"), pool(3))

ROWS = [
    # what is tried, host, requests, cells, mappings, devices taken by the number of their pool (None: refused)
    ("nothing", NETS, [], None, None, {}),
    ("on no devices", None, [pci()], None, None, None),
    ("nothing on no devices", None, [], None, None, {}),
    ("by product", NETS, [pci(vendor_id="10de", product_id="1eb8")], None, None, {2: 1}),
    ("letters' case", NETS, [pci(vendor_id="10DE", physical_network=None)], None, None, {2: 1}),
    ("other product", NETS, [pci(vendor_id="10de", product_id="1520")], None, None, None),
    ("a network", NETS, [pci(3, None, physical_network="B")], None, None, {1: 3}),
    ("too many of a network", NETS, [pci(4, None, physical_network="b")], None, None, None),
    ("of several pools", NETS, [pci(4, vendor_id="8086")], None, None, {0: 2, 1: 2}),
    ("pools that say least come first", NETS, [pci(2)], None, None, {2: 1, 0: 1}),
    ("a spec cannot name a node", NEAR, [pci(numa_node="0")], None, None, None),
    ("but no node", NEAR, [pci(numa_node=None)], None, None, {3: 1}),
    (
        "what Placement looks at",
        NETS,
        [pci(vendor_id="10de", resource_class="X", traits="T", rp_uuid="?")],
        None,
        None,
        {2: 1},
    ),
    (
        "one after the other",
        NETS,
        [pci(1, None, physical_network="a"), pci(2, None, vendor_id="8086")],
        None,
        None,
        {0: 2, 1: 1},
    ),
    ("together too many", NETS, [pci(2, vendor_id="8086"), pci(1, physical_network="a")], None, None, None),
    ("none of some kind", NETS, [pci(0, vendor_id="8086")], None, None, {}),
    ("none of no kind", NETS, [pci(0, vendor_id="0000")], None, None, None),
    ("what is used", host(pool(2), pool(2, a="x"), used=(1, 2)), [pci(1)], None, None, {0: 1}),
    ("what is used up", host(pool(2), pool(2, a="x"), used=(1, 2)), [pci(2)], None, None, None),
    ("used more than there is", host(pool(2), pool(2, a="x"), used=(3, 0)), [pci(2)], None, None, {1: 2}),
    ("node, required", NEAR, [pci(2, numa_policy="required")], [1], None, {1: 2}),
    ("node, required, too many", NEAR, [pci(3, numa_policy="required")], [1], None, None),
    ("node, required of two", NEAR, [pci(3, numa_policy="required")], [1, 2], None, {1: 2, 2: 1}),
    ("node, legacy takes what says nothing", NEAR, [pci(3, numa_policy="legacy")], [1], None, {1: 2, 3: 1}),
    ("node, legacy is what goes without saying", NEAR, [pci(4)], [1], None, None),
    ("node, preferred goes on", NEAR, [pci(4, numa_policy="preferred")], [1], None, {1: 2, 3: 1, 0: 1}),
    ("node, preferred but there", NEAR, [pci(2, numa_policy="preferred")], [2], None, {2: 2}),
    ("socket, on the node", NEAR, [pci(2, numa_policy="socket")], [1], None, {1: 2}),
    ("socket, beside the node", NEAR, [pci(3, numa_policy="socket")], [1], None, {0: 2, 1: 1}),
    ("socket, too many", NEAR, [pci(3, numa_policy="socket")], [2], None, None),
    (
        "sockets that are not known",
        host(pool(2, numa_node=0), sockets=(None, 0)),
        [pci(1, numa_policy="socket")],
        [1],
        None,
        None,
    ),
    ("no guest node, no matter", NEAR, [pci(7, numa_policy="required")], None, None, {0: 2, 1: 2, 2: 2, 3: 1}),
    ("kinds that are asked for only", KINDS, [pci(15)], None, None, {3: 4, 4: 5, 5: 6}),
    ("kinds that are asked for only, too many", KINDS, [pci(16)], None, None, None),
    ("a physical function", KINDS, [pci(1, dev_type="type-PF")], None, None, {0: 1}),
    ("vdpa", KINDS, [pci(1, None, dev_type="vdpa")], None, None, {2: 1}),
    ("remote managed", KINDS, [pci(2, None, remote_managed="true")], None, None, {1: 2}),
    ("not remote managed", KINDS, [pci(1, None, remote_managed="false")], None, None, {5: 1}),
    ("live migratable", KINDS, [pci(4, live_migratable="true")], None, None, {3: 4}),
    ("not live migratable", KINDS, [pci(5, live_migratable="false")], None, None, {4: 5}),
    (
        "either of two specs",
        KINDS,
        [pci()._replace(count=5, spec=({"live_migratable": "true"}, {"dev_type": "type-PF"}))],
        None,
        None,
        {0: 1, 3: 4},
    ),
    ("no spec", KINDS, [pci()._replace(spec=())], None, None, None),
    ("assigned", ASSIGNED, [pci(2)], None, {"": ["h"], f"{R}-0": ["p0"], f"{R}-1": ["p1"]}, {0: 1, 1: 1}),
    ("assigned twice", ASSIGNED, [pci(2)], None, {f"{R}-0": ["p0"], f"{R}-1": ["p0"]}, {0: 2}),
    ("assigned to what does not match", ASSIGNED, [pci(1, product_id="1520")], None, {f"{R}-0": ["p2"]}, None),
    ("assigned to nobody", ASSIGNED, [pci(1)], None, {f"{R}-0": ["p9"]}, None),
    ("assigned more than there is", ASSIGNED, [pci(3)], None, {f"{R}-{n}": ["p1"] for n in range(3)}, None),
    ("assigned, but in part only", ASSIGNED, [pci(2)], None, {f"{R}-0": ["p0"], f"{R}-1": ["p9"]}, None),
    ("assigned to others", ASSIGNED, [pci(6)], None, {"": ["h"], "other-0": ["p0"]}, {3: 3, 1: 2, 2: 1}),
    ("ports are assigned nothing", ASSIGNED, [pci(4, None)], None, {f"{R}-0": ["p0"]}, {3: 3, 1: 1}),
    ("as it was assigned", ASSIGNED, [pci(2, rp_uuids="p0,p0")], None, {}, {0: 2}),
    (
        "assigned again",
        ASSIGNED,
        [pci(2, rp_uuids="p0,p0")],
        None,
        {"": ["h"], f"{R}-0": ["p1"], f"{R}-1": ["p1"]},
        {1: 2},
    ),
    (
        "two pools of a provider",
        host(pool(1, rp_uuid="p"), pool(1, rp_uuid="p", a="x")),
        [pci(1)],
        None,
        {f"{R}-0": ["p"]},
        None,
    ),
    (
        "two pools of a provider, one of them used up",
        host(pool(1, rp_uuid="p"), pool(1, rp_uuid="p", a="x"), used=(1, 0)),
        [pci(1)],
        None,
        {f"{R}-0": ["p"]},
        {1: 1},
    ),
    (
        "assigned one after the other",
        ASSIGNED,
        [pci(1, request_id="s"), pci(2)],
        None,
        {f"{uuid_of('s')}-0": ["p1"], f"{R}-0": ["p1"], f"{R}-1": ["p1"]},
        None,
    ),
]


@pytest.mark.parametrize(
    "devices, requests, cells, mappings, taken", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_place(devices, requests, cells, mappings, taken):
    uses = place(devices, requests, cells, mappings)
    found = uses if uses is None else {}
    for use in uses or ():
        number = devices.capacity.keys[use.pool]
        found[number] = found.get(number, 0) + use.count
    assert found == taken
    assert supports(devices, requests, cells, mappings) == (taken is not None)
    assert uses is None or not uses or devices.breach(events.Guest((), uses, {}), 1.0, 1.0) is None


def test_uses_name_their_requests_and_pools():
    uses = place(NETS, [pci(1, None, "port", physical_network="a"), pci(1, "gpu", "flavor", vendor_id="10de")])
    assert uses == (
        events.PCIUse(pool_key(NETS.pools[0]), 1, uuid_of("port")),
        events.PCIUse(pool_key(NETS.pools[2]), 1, uuid_of("flavor")),
    )


@pytest.mark.parametrize(
    "asked, name",
    [
        (pci(alias="gpu", vendor_id="10de", product_id="1eb8"), "gpu"),
        (pci(alias=None, vendor_id="10de", product_id="1eb8", physical_network="a"), "10de:1eb8"),
        (pci(alias=None, vendor_id="10de", physical_network="a"), "a"),
        (pci(alias=None), "device"),
        (pci(alias=None)._replace(spec=()), "device"),
    ],
)
def test_names(asked, name):
    assert name_of(asked) == name


# --- with the providers of Placement -------------------------------------------------------------------------------


def nics(*facts):
    """A host ``h`` with a provider for each NIC (name, product, devices, pool or not)."""
    pools = tuple(
        pool(count, product_id=product, rp_uuid=uuid_of(name)) for name, product, count, listed in facts if listed
    )
    children = (provider(name, inventory_of("CUSTOM_NIC", count), parent=0) for name, _, count, _ in facts)
    return Cell(report("h", inventory=tree("h", *children, pci_pools=pools))).projection.table


def assigned(table, *requests):
    groups = [group(f"{one.request_id}-{number}", CUSTOM_NIC=1) for one in requests for number in range(one.count)]
    devices = table.devices(0)
    found = allocate(
        table,
        0,
        request(*groups, group_policy="none"),
        serves=serving(devices, requests),
        accept=lambda one: supports(devices, requests, None, one.mappings),
    )
    if found is None:
        return None
    names = {uuid_of(name): name for name in ("a", "b", "c")}
    return sorted(names[uuids[0]] for uuids in found.mappings.values())


@pytest.mark.parametrize(
    "facts, requests, taken",
    [
        ([("a", "1111", 1, True), ("b", "2222", 1, True)], [pci(product_id="2222")], ["b"]),
        ([("a", "1111", 1, True), ("b", "2222", 1, True)], [pci(product_id="3333")], None),
        ([("a", "1111", 1, False), ("b", "1111", 3, True)], [pci(2, product_id="1111")], ["b", "b"]),
        ([("a", "1111", 1, True), ("b", "1111", 2, True)], [pci(3, product_id="1111")], ["a", "b", "b"]),
        ([("a", "1111", 1, True), ("b", "1111", 2, True)], [pci(4, product_id="1111")], None),
        (
            [("a", "1111", 1, True), ("b", "2222", 1, True)],
            [pci(1, request_id="x"), pci(1, product_id="1111")],
            ["a", "b"],
        ),
        ([("a", "1111", 1, False), ("b", "2222", 1, True)], [pci(1)], ["b"]),
    ],
)
def test_another_assignment_is_looked_for(facts, requests, taken):
    assert assigned(nics(*facts), *requests) == taken


def test_providers_that_have_other_devices_do_not_use_up_the_search():
    facts = [(f"n{number}", "1111", 4, True) for number in range(60)] + [("a", "2222", 8, True)]
    assert assigned(nics(*facts), pci(8, product_id="2222")) == ["a"] * 8


def test_groups_of_others_are_not_looked_at():
    assert serving(ASSIGNED, ()) is None
    serves = serving(ASSIGNED, (pci(1), pci(1, None, "port", physical_network="a")))
    assert serves("port-group", "anything") and serves(uuid_of("port"), "anything")
    assert serves(f"{R}-0", "p0") and not serves(f"{R}-0", "p9") and not serving(None, (pci(1),))(f"{R}-0", "p0")


# --- any pools and requests ----------------------------------------------------------------------------------------

NODES = st.sampled_from((None, 0, 1))
TAGS = st.fixed_dictionaries(
    {"dev_type": st.sampled_from(("type-PCI", "type-PF", "type-VF", "vdpa"))},
    optional={
        "physical_network": st.sampled_from(("a", "b")),
        "remote_managed": st.sampled_from(("true", "false")),
        "live_migratable": st.sampled_from(("true", "false")),
        "rp_uuid": st.sampled_from(("p0", "p1", "p2")),
    },
)
POOLS = st.lists(
    st.builds(
        lambda product, node, tags, count: events.PCIPool("8086", product, node, tags, count),
        st.sampled_from(("1", "2")),
        NODES,
        TAGS,
        st.integers(0, 4),
    ),
    max_size=6,
    unique_by=pool_key,
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "product_id": st.sampled_from(("1", "2")),
        "physical_network": st.just("a"),
        "dev_type": st.sampled_from(("type-PF", "vdpa")),
        "remote_managed": st.just("true"),
        "live_migratable": st.just("true"),
    },
)
REQUESTS = st.lists(
    st.builds(
        lambda count, spec, alias, number, policy: events.PCIRequest(
            count, (spec,), alias, uuid_of(str(number)), None, policy
        ),
        st.integers(0, 4),
        SPECS,
        st.sampled_from((None, "nic")),
        st.integers(0, 2),
        st.sampled_from((None, "required", "preferred", "legacy", "socket")),
    ),
    max_size=3,
)
MAPPINGS = st.none() | st.lists(st.sampled_from(("p0", "p1", "p2")), max_size=4).map(
    lambda uuids: {f"{uuid_of('0')}-{number}": [uuid] for number, uuid in enumerate(uuids)}
)


@settings(max_examples=300, deadline=None)
@given(POOLS, REQUESTS, st.none() | st.sets(st.integers(0, 1)), MAPPINGS, st.data())
def test_what_is_placed_fits_what_the_log_checks(pools, requests, cells, mappings, data):
    used = tuple(data.draw(st.integers(0, one.count + 1)) for one in pools)
    devices = host(*pools, sockets=(0, 1), used=used)
    uses = place(devices, requests, cells, mappings)
    if uses is None:
        return
    assert devices.breach(events.Guest((), uses, {}), 1.0, 1.0) is None
    for number in range(3):
        named = uuid_of(str(number))
        wanted = sum(one.count for one in requests if one.request_id == named)
        given_ = sum(use.count for use in uses if use.request_id == named)
        assert given_ == wanted or (mappings and number == 0)
    assert all(use.count > 0 for use in uses)
    # Fewer requests, or more devices, never fit worse where Placement assigns nothing.
    if not mappings and requests:
        assert place(devices, requests[:-1], cells) is not None
    assert placing.place_or_name(devices, requests, cells, mappings) == (uses, None)


def test_a_tag_that_stands_for_a_field_is_a_fault():
    inventory = tree("h", pci_pools=(pool(1, numa_node=0), pool(1)._replace(tags={"numa_node": "0"})))
    assert "a PCI pool has a tag with the name of one of its fields (count, numa_node, " in fault_of(inventory)
    assert fault_of(tree("h", pci_pools=(pool(1, numa_node=0), pool(1)))) is None
