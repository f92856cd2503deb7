"""A physical function and its virtual functions: two devices below level 2, one device from there on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.filters import BUILT_IN, HostView
from nova_sched.fit.pci import place
from nova_sched.projection import snapshot
from nova_sched.projection.devices import Capacity, HostDevices, guest_of
from nova_sched.projection.digest import state_digest
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.selection.policy import Policy
from rpc_api import digest, events
from rpc_api.packing import pack
from tests.builders import Cell, claim, inventory_of, pci, pool, released, report, request, tree

PIN = events.LevelPinned(2)


def card(address, virtual=4, kind="type-VF", **tags):
    """The pools of a card: its physical function, and its virtual functions."""
    return (
        pool(1, product_id="1521", dev_type="type-PF", address=address, **tags),
        pool(virtual, dev_type=kind, address=address, **tags),
    )


PF, VF = card("81")
OTHER_PF, OTHER_VF = card("82")
VDPA_PF, VDPA = card("83", kind="vdpa")
PLAIN = pool(2, dev_type="type-PCI", address="81")
NO_ADDRESS = pool(1, product_id="1521", dev_type="type-PF"), pool(4, dev_type="type-VF")
POOLS = (PF, VF, OTHER_PF, OTHER_VF, VDPA_PF, VDPA, PLAIN, *NO_ADDRESS)
DEVICES = report("host", inventory=tree("host", inventories=[inventory_of(total=99)], pci_pools=POOLS))


def asking(name, *taken):
    """A claim of devices: pools, or (pool, count)."""
    taken = [one if isinstance(one[0], events.PCIPool) else (one, 1) for one in taken]
    uses = tuple(events.PCIUse(digest.pool_key(of), count, None) for of, count in taken)
    return claim(name, "host")._replace(guest=pack(events.Guest((), uses, {})))


def text(of):
    return f"PCI {of.vendor_id}:{of.product_id}"


#: What is in use, what is claimed then, and the outcome of the claim from level 2 on. Below it each is accepted.
CLAIMS = {
    "a virtual function after one": ([VF], [VF], "accepted"),
    "the last virtual functions": ([VF], [(VF, 3)], "accepted"),
    "the physical function after a virtual one": ([VF], [PF], text(PF)),
    "a virtual function after the physical one": ([PF], [VF], text(VF)),
    "the physical function after a VDPA device": ([VDPA], [VDPA_PF], text(VDPA_PF)),
    "a VDPA device after the physical function": ([VDPA_PF], [VDPA], text(VDPA)),
    "both at once": ([], [PF, VF], text(VF)),
    "both at once, the virtual one first": ([], [VF, PF], text(PF)),
    "functions of two cards": ([PF], [OTHER_VF], "accepted"),
    "both of two cards at once": ([], [PF, OTHER_VF], "accepted"),
    "another device at the same address": ([PF, VF], [PLAIN], "accepted"),
    "no address: nothing is known of the card": ([NO_ADDRESS[0]], [NO_ADDRESS[1]], "accepted"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_on_both_sides_of_a_pin(name):
    used, wanted, outcome = CLAIMS[name]
    for pin, expected in (((), "accepted"), ((PIN,), outcome)):
        cell = Cell(*pin, DEVICES)
        for number, one in enumerate(used):
            cell.say(asking(f"vm-{number}", one))
        assert cell.say(asking("vm", *wanted)) == expected
    # The capacities are written again at the pin.
    cell = Cell(DEVICES, *(asking(f"vm-{number}", one) for number, one in enumerate(used)), PIN)
    assert cell.say(asking("vm", *wanted)) == outcome


def test_a_card_is_free_again_when_its_last_function_is():
    cell = Cell(PIN, DEVICES, asking("a", VF), asking("b", VF))
    cell.say(released("a"))
    assert cell.say(asking("c", PF)) == text(PF)
    cell.say(released("b"))
    assert cell.say(asking("c", PF)) == "accepted"
    assert cell.say(asking("d", VF)) == text(VF)
    cell.say(released("c"))
    assert cell.say(asking("d", VF)) == "accepted"


def test_a_card_of_which_both_are_in_use_at_the_pin_gives_nothing_more():
    cell = Cell(DEVICES, asking("a", VF), asking("b", PF))
    assert cell.say(asking("c", VF)) == "accepted"
    cell.say(PIN)
    assert cell.say(asking("d", VF)) == text(VF)
    cell.say(released("b"))
    assert cell.say(asking("d", VF)) == "accepted"


def test_a_snapshot_keeps_the_rule():
    cell = Cell(DEVICES, PIN, asking("a", VF))
    loaded = snapshot.load(snapshot.dump(cell.projection))
    cell.say(asking("b", PF))
    loaded.fold(cell.records[-1:])
    assert state_digest(loaded) == state_digest(cell.projection) and len(loaded.consumers) == 1


# --- decisions -------------------------------------------------------------------------------------------------------


def passes(table, *asked):
    hosts, found = HostView(table, table.roots()), True
    for refusal in BUILT_IN["PciPassthroughFilter"].refusals(hosts, request(pci=asked), Policy(), None):
        found &= not refusal.hosts.any()
    return found


ANY_VF = pci(request_id="vf", address="81", dev_type="type-VF")
THE_PF = pci(request_id="pf", address="81", dev_type="type-PF")


@pytest.mark.parametrize(
    "used, asked, before, after",
    [
        ([], [ANY_VF], True, True),
        ([], [THE_PF], True, True),
        ([VF], [THE_PF], True, False),
        ([PF], [ANY_VF], True, False),
        ([VF], [ANY_VF], True, True),
        ([], [ANY_VF, THE_PF], True, False),
        ([], [THE_PF, ANY_VF], True, False),
        ([], [THE_PF, pci(request_id="other", address="82", dev_type="type-VF")], True, True),
    ],
)
def test_the_filter_agrees_with_the_claims(used, asked, before, after):
    cell = Cell(DEVICES, *(asking(f"vm-{number}", one) for number, one in enumerate(used)))
    assert passes(cell.projection.table, *asked) is before
    cell.say(PIN)
    assert passes(cell.projection.table, *asked) is after


def test_plenty_of_devices_is_not_enough_if_one_request_takes_from_the_other():
    """Two physical functions at one address: no agent reports that, and filter and claims must agree on it, too."""
    many = pool(3, product_id="1521", dev_type="type-PF", address="9"), pool(3, dev_type="type-VF", address="9")
    cell = Cell(PIN, report("host", inventory=tree("host", pci_pools=many)))
    asked = [pci(request_id="pf", dev_type="type-PF"), pci(request_id="vf", dev_type="type-VF")]
    assert place(cell.projection.table.devices(0), asked) is None
    assert not passes(cell.projection.table, *asked)


def test_two_cells_of_one_table_have_a_rule_each():
    table = HostTable()
    cells = [Cell(cell=name, table=table) for name in ("cell1", "cell2")]
    for cell, host in zip(cells, "ab", strict=True):
        cell.say(report(host, inventory=tree(host, pci_pools=POOLS)))
        cell.say(asking("vm", VF)._replace(host=host, allocations=()))
    cells[1].say(PIN)
    hosts = HostView(table, table.roots())
    refused = [
        refusal.hosts.tolist()
        for refusal in BUILT_IN["PciPassthroughFilter"].refusals(hosts, request(pci=(THE_PF,)), Policy(), None)
    ]
    assert [any(column) for column in zip(*refused, strict=True)] == [False, True]


def test_claims_in_flight_count():
    cell = Cell(PIN, DEVICES)
    in_flight = InFlight(cell.projection.table)
    in_flight.add(asking("vm", VF))
    assert not passes(cell.projection.table, THE_PF) and passes(cell.projection.table, ANY_VF)


# --- any cards -------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from(("type-PF", "type-VF", "vdpa"))
ADDRESSES = st.sampled_from(("81", "82", None))
SPECS = st.fixed_dictionaries({}, optional={"dev_type": KINDS, "address": ADDRESSES.filter(bool)})


@st.composite
def pools(draw):
    made = {}
    for _ in range(draw(st.integers(1, 6))):
        tags = {"dev_type": draw(KINDS), "trusted": draw(st.sampled_from(("true", "false")))}
        address = draw(ADDRESSES)
        one = pool(draw(st.integers(1, 3)), **tags, **({"address": address} if address else {}))
        made.setdefault(digest.pool_key(one), one)
    return tuple(made.values())


@given(pools(), st.lists(st.lists(st.tuples(SPECS, st.integers(0, 3)), min_size=1, max_size=3), max_size=6))
@settings(max_examples=400, deadline=None)
def test_a_fit_is_a_claim_that_is_accepted_and_no_card_is_given_twice(pools, instances):
    cell = Cell(PIN, report("host", inventory=tree("host", inventories=[inventory_of(total=99)], pci_pools=pools)))
    devices = HostDevices(Capacity((), pools, card_is_one_device=True))
    for number, asked in enumerate(instances):
        requests = [pci(count, request_id=f"{place}", **spec) for place, (spec, count) in enumerate(asked)]
        uses = place(devices, requests)
        assert passes(cell.projection.table, *requests) == (uses is not None)
        if uses is not None:
            packed = pack(events.Guest((), uses, {}))
            assert cell.say(claim(f"vm-{number}", "host")._replace(guest=packed)) == "accepted"
            devices = devices.with_guests([guest_of(packed)])
        for address in ("81", "82"):
            used = {
                kind: sum(
                    devices.pool_uses[place]
                    for place, one in enumerate(pools)
                    if one.tags.get("address") == address and (one.tags["dev_type"] == "type-PF") == (kind == "whole")
                )
                for kind in ("whole", "parts")
            }
            assert not (used["whole"] and used["parts"])
